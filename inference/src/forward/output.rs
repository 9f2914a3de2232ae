//! What the forward pass gives: logits, all of them or the greatest.

use crate::kernel::{self, Arena, Crew, Lowered, Product, Wanted};
use crate::model::Model;
use crate::sampler::Candidates;
use crate::scratch::Scratch;

/// What a step has computed for the rows that want logits, before the output matrix: the caller says what it wants of these.
pub struct Output<'s> {
    pub(super) model: &'s Model,
    pub(super) crew: &'s Crew,
    /// How many there are.
    pub(super) rows: usize,
    pub(super) scratch: &'s mut Scratch,
}

impl<'s> Output<'s> {
    /// All logits, `[wanted row][vocabulary]`.
    pub fn logits(self) -> &'s mut [f32] {
        let Self { model, crew, rows, scratch } = self;
        let (isa, weights) = (model.isa(), model.weights());
        let Scratch { last, logits, logits_capacity, .. } = scratch;
        // Only now: few want them all, and they are a megabyte a row with a large vocabulary. Memory is taken as it is written.
        let logits = logits.get_or_insert_with(|| Arena::new(0).zeros(*logits_capacity * weights.vocabulary()));
        let logits = &mut logits[..rows * weights.vocabulary()];
        kernel::linear(crew, isa, last, [Product { weights: weights.head(), out: logits }]);
        if let Some(cap) = model.config().logit_cap {
            crew.chunks(logits, weights.vocabulary(), |_, logits| isa.cap(logits, cap));
        }
        logits
    }

    /// Looks for the likeliest tokens of all rows, without all logits: see [`kernel::search`]. One wish for each row. False if
    /// this model's cannot be found so.
    pub(crate) fn search(&mut self, wanted: &[Wanted], lowered: Lowered<'_>) -> bool {
        if self.model.config().logit_cap.is_some() {
            return false; // capped logits might be equal where others are not
        }
        let Scratch { last, search, .. } = &mut *self.scratch;
        kernel::search(self.crew, self.model.isa(), self.model.weights().head(), last, wanted, lowered, search);
        true
    }

    /// What [`Output::search`] has found for a row, if that is enough; the logits are the same as among all.
    pub(crate) fn found(&self, row: usize) -> Option<Candidates<'_>> {
        self.scratch.search.found(row)
    }
}

//! What a step does with its rows: the forward pass, the choice of tokens, and what is told of them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Scheduler;
use super::constraint::Constraint;
use super::plan::Plan;
use super::request::{Event, SequenceId};
use super::sequence::{Likeliest, Sequence};
use crate::cache::PageTable;
use crate::forward::{Output, Work, forward};
use crate::kernel::{Beside, Crew, Wanted};
use crate::model::Model;

/// Logits of a step from which on sequences choose on several threads: calling those takes as long as the greatest of so many
/// is looked for.
const CHOOSE_TOGETHER: usize = 1 << 14;

/// A sequence that chooses, and its rows of logits.
struct Choosing<'a> {
    sequence: &'a mut Sequence,
    logits: &'a mut [f32],
}

/// Lists that a step makes. Empty between steps; kept for their memory.
#[derive(Default)]
pub(super) struct Lists {
    tables: Vec<&'static PageTable>,
    choosing: Vec<Choosing<'static>>,
    lent: Vec<Lent>,
    /// Of each row, with its number in its sequence.
    likeliest: Vec<(Likeliest<'static>, usize)>,
    /// Of each row.
    wanted: Vec<Wanted>,
}

/// What one of the running sequences has lent: which tokens it may choose is found beside the forward pass.
struct Lent {
    /// Its place.
    sequence: usize,
    constraint: Mutex<Option<Constraint>>,
}

impl Lent {
    fn constraint(&self) -> MutexGuard<'_, Option<Constraint>> {
        self.constraint.lock().unwrap_or_else(PoisonError::into_inner) // after a panic, which goes on, none of it is used
    }
}

impl Scheduler {
    /// Computes the rows that are planned, and lets sequences choose, advance and end.
    pub(super) fn compute(&mut self, tell: &mut dyn FnMut(SequenceId, Event<'_>)) {
        let Plan { prompted, generated, guesses } = &self.plan;
        let (model, cache, scratch) = (&*self.model, &mut self.cache, &mut self.scratch);
        if !(generated.is_empty() && prompted.is_empty()) {
            let began = Instant::now();
            let mut lent = std::mem::take(&mut self.lists.lent);
            lend(&mut self.running, &mut lent);
            let look_ahead = |n: usize| lent[n].constraint().iter_mut().for_each(Constraint::look_ahead);
            let beside = Beside::new(lent.len(), &look_ahead);
            self.team.enter_beside(&beside, |crew| {
                // Prompts first: who waits for a first word gets it sooner, and the others get theirs at the step's end.
                for (work, rows) in [(Work::Prompt, prompted), (Work::Generation, generated)] {
                    if rows.is_empty() {
                        continue;
                    }
                    let mut tables = recycled(std::mem::take(&mut self.lists.tables));
                    tables.extend(self.running.iter().map(|sequence| &sequence.table));
                    let mut output = forward(model, crew, cache, &tables, work, rows, scratch);
                    self.lists.tables = recycled(tables);
                    beside.finish();
                    for lent in &lent {
                        // None the second time.
                        lent.constraint().take().map(|one| self.running[lent.sequence].constraint().insert(one));
                    }
                    if !search(model, &mut self.running, work, &mut output, &mut self.lists) {
                        choose(model, crew, &mut self.running, work, output.logits(), &mut self.lists.choosing);
                    }
                    let chose = |sequence: &&mut Sequence| chooses(sequence, work);
                    self.running.iter_mut().filter(chose).for_each(|sequence| sequence.advance(model, tell));
                }
            });
            lent.clear();
            self.lists.lent = lent;
            if prompted.is_empty() {
                self.pace.observe(generated.len(), *guesses, began.elapsed().as_secs_f32());
            }
        }
        self.running.iter_mut().for_each(|sequence| sequence.commit(cache));
        for sequence in self.running.extract_if(.., |sequence| sequence.ended) {
            sequence.leave(cache);
        }
    }
}

/// Takes from those who choose in this step what holds them to a grammar.
fn lend(running: &mut [Sequence], lent: &mut Vec<Lent>) {
    for (place, sequence) in running.iter_mut().enumerate().filter(|(_, sequence)| sequence.choices() > 0) {
        if let Some(constraint) = sequence.constraint().take() {
            lent.push(Lent { sequence: place, constraint: Mutex::new(Some(constraint)) });
        }
    }
}

/// Whether a sequence's rows were computed for `work`, and one of them is to be chosen from.
fn chooses(sequence: &Sequence, work: Work) -> bool {
    sequence.work() == work && sequence.choices() > 0
}

/// Lets the sequences choose whose rows were computed for `work`, from the likeliest tokens of each row. False if one
/// could not: one that takes all logits, for which the others wait, or one that turns out to.
fn search(model: &Model, running: &mut [Sequence], work: Work, output: &mut Output<'_>, lists: &mut Lists) -> bool {
    let mut likeliest: Vec<(Likeliest<'_>, usize)> = recycled(std::mem::take(&mut lists.likeliest));
    lists.wanted.clear();
    let searched = running.iter().filter(|sequence| chooses(sequence, work)).all(|sequence| {
        let Some(of_sequence) = sequence.likeliest() else { return false };
        likeliest.extend((0..sequence.choices()).map(|number| (of_sequence, number)));
        lists.wanted.extend((0..sequence.choices()).map(|_| of_sequence.wanted));
        true
    }) && output.search(&lists.wanted, &|row, token, logit| {
        let (of_sequence, number) = &likeliest[row];
        of_sequence.lowered(*number, token, logit)
    });
    lists.likeliest = recycled(likeliest);
    if !searched {
        return false;
    }
    let (mut row, mut all) = (0, true);
    for sequence in running.iter_mut().filter(|sequence| chooses(sequence, work)) {
        let rows = sequence.choices();
        sequence.choose_among(model, output, row);
        all &= sequence.has_chosen();
        row += rows;
    }
    all
}

/// Lets the sequences choose whose rows were computed for `work` and that have not chosen yet, from these logits.
fn choose(
    model: &Model,
    crew: &Crew,
    running: &mut [Sequence],
    work: Work,
    logits: &mut [f32],
    choosing: &mut Vec<Choosing<'static>>,
) {
    let (vocabulary, together) = (model.info().vocabulary_size, logits.len() >= CHOOSE_TOGETHER);
    let mut of_step = recycled(std::mem::take(choosing));
    let mut left = logits;
    for sequence in running.iter_mut().filter(|sequence| chooses(sequence, work)) {
        let own;
        (own, left) = left.split_at_mut(sequence.choices() * vocabulary);
        if !sequence.has_chosen() {
            of_step.push(Choosing { sequence, logits: own });
        }
    }
    let choose = |of: &mut [Choosing<'_>]| {
        of.iter_mut().for_each(|Choosing { sequence, logits }| sequence.choose(model, logits, vocabulary));
    };
    if together {
        crew.chunks(&mut of_step, 1, |_, one| choose(one));
    } else {
        choose(&mut of_step);
    }
    *choosing = recycled(of_step);
}

/// An empty list with the memory of one whose elements lived shorter or longer: collecting a list's own elements into one of
/// the same size is done in place.
fn recycled<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

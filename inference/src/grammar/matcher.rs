//! Where one sequence stands in its grammar.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::TokenParser;
use llguidance::api::StopReason;
use llguidance::toktrie::SimpleVob;

use super::error::GrammarFault;
use super::mask::Masks;

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// The tokens whose bits are set: token `i` is bit `i % 32` of word `i / 32`. At least one is.
    Tokens(&'a [u32]),
    /// Nothing: the text is complete.
    End,
}

/// Follows one sequence through its grammar.
pub struct Matcher {
    pub(super) parser: TokenParser,
    /// The parser has it, too.
    masks: Arc<Masks>,
    /// The tokens that text is made of, and those that end the model's turn.
    usable: Arc<SimpleVob>,
    /// What was allowed last.
    allowed: SimpleVob,
    /// Once there is one the parser is asked no more.
    fault: Option<GrammarFault>,
}

impl Matcher {
    pub(super) fn new(mut parser: TokenParser, masks: Masks, usable: Arc<SimpleVob>) -> Self {
        if parser.is_fresh() {
            parser.start_without_prompt();
        }
        Self { parser, masks: Arc::new(masks), usable, allowed: SimpleVob::new(), fault: None }.with_masks()
    }

    fn with_masks(mut self) -> Self {
        self.parser.bias_computer = Arc::clone(&self.masks) as _;
        self
    }

    /// A matcher at the same place that shares no state with this one.
    pub(super) fn separate(&self) -> Self {
        Self {
            parser: self.parser.deep_clone(),
            masks: Arc::new(self.masks.separate()),
            usable: Arc::clone(&self.usable),
            allowed: SimpleVob::new(),
            fault: self.fault,
        }
        .with_masks()
    }

    /// The tokens that may come next: of text, and where the text may end those that end the model's turn.
    ///
    /// # Errors
    /// [`GrammarFault`]; it stays so.
    pub fn allowed(&mut self) -> Result<Next<'_>, GrammarFault> {
        if self.is_complete() {
            return Ok(Next::End);
        }
        let (allowed, may_end) = self.ask(|parser| {
            let may_end = parser.is_accepting();
            match parser.compute_mask() {
                Ok(allowed) => Some((Some(allowed), may_end)),
                // What llguidance says when no token is left.
                Err(_) if parser.stop_reason() == StopReason::NoExtensionBias => Some((None, may_end)),
                Err(_) => None,
            }
        })?;
        let some = allowed.is_some_and(|allowed| {
            self.allowed = allowed;
            self.allowed.and(&self.usable);
            !self.allowed.is_zero()
        });
        match (some, may_end) {
            (true, _) => Ok(Next::Tokens(self.allowed.as_slice())),
            (false, true) => Ok(Next::End),
            (false, false) => Err(self.fail(GrammarFault::DeadEnd)),
        }
    }

    /// Goes on by a token that was allowed.
    ///
    /// # Errors
    /// [`GrammarFault`]; it stays so.
    pub fn accept(&mut self, token: u32) -> Result<(), GrammarFault> {
        self.ask(|parser| {
            parser.consume_token(token).ok()?;
            parser.check_stop().ok().map(|_| ())
        })
    }

    /// Whether nothing may follow: the text is complete.
    pub fn is_complete(&self) -> bool {
        self.fault.is_none() && self.parser.stopped() && self.parser.stop_reason().is_ok()
    }

    /// Asks llguidance, which panics where it finds that it contradicts itself.
    fn ask<T>(&mut self, question: impl FnOnce(&mut TokenParser) -> Option<T>) -> Result<T, GrammarFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let parser = &mut self.parser;
        let answer = catch_unwind(AssertUnwindSafe(|| question(parser)));
        answer.ok().flatten().ok_or_else(|| {
            let fault = match self.parser.stop_reason() {
                StopReason::LexerTooComplex | StopReason::ParserTooComplex => GrammarFault::TooComplex,
                _ => GrammarFault::Broken,
            };
            self.fail(fault)
        })
    }

    fn fail(&mut self, fault: GrammarFault) -> GrammarFault {
        *self.fault.get_or_insert(fault)
    }
}

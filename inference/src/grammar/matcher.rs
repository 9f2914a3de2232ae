//! Where one sequence stands in its grammar.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::TokenParser;
use llguidance::api::StopReason;
use llguidance::toktrie::SimpleVob;

use super::compile::Compiled;
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
    /// The same parser where it began. It shares the lexer, and so what that learns, and nothing else.
    origin: TokenParser,
    /// The parsers have it, too.
    masks: Arc<Masks>,
    /// The tokens that text is made of, and those that end the model's turn.
    usable: Arc<SimpleVob>,
    /// What is allowed at this place, if that is known.
    allowed: SimpleVob,
    seen: Seen,
    /// Once there is one the parser is asked no more.
    fault: Option<GrammarFault>,
    /// What it follows, to tell it what was learnt.
    grammar: Option<Compiled>,
}

/// What is known of the place that a sequence has come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Tokens,
    End,
}

impl Matcher {
    pub(super) fn new(mut parser: TokenParser, masks: Masks, usable: Arc<SimpleVob>) -> Self {
        if parser.is_fresh() {
            parser.start_without_prompt();
        }
        let masks = Arc::new(masks);
        parser.bias_computer = Arc::clone(&masks) as _;
        let (allowed, seen) = (SimpleVob::new(), Seen::Nothing);
        Self { origin: parser.clone(), parser, masks, usable, allowed, seen, fault: None, grammar: None }
    }

    /// A matcher at the beginning that knows what this one has learnt, and shares nothing that may change with it.
    ///
    /// # Panics
    /// If this one is not [sound](Matcher::is_sound).
    pub(super) fn separate(&self) -> Self {
        assert!(self.is_sound(), "a lexer may be broken after a fault");
        Self::new(self.origin.deep_clone(), self.masks.separate(), Arc::clone(&self.usable))
    }

    /// One that tells its grammar what it has learnt when it [leaves](Matcher::leave).
    pub(super) fn of(mut self, grammar: Compiled) -> Self {
        self.grammar = Some(grammar);
        self
    }

    /// Ends. What was learnt of the grammar on the way (which texts come to which state of its lexer) is kept for sequences
    /// that follow it later.
    pub fn leave(mut self) {
        if let Some(grammar) = self.grammar.take() {
            grammar.learn(self);
        }
    }

    /// Goes back to the beginning of the grammar.
    pub(super) fn restart(&mut self) {
        (self.parser, self.seen, self.fault) = (self.origin.clone(), Seen::Nothing, None);
    }

    /// Whether its lexer is as good as new.
    pub(super) fn is_sound(&self) -> bool {
        matches!(self.fault, None | Some(GrammarFault::DeadEnd)) && !self.parser.parser.lexer_stats().error
    }

    /// States that its lexer knows.
    ///
    /// # Panics
    /// It may, after a fault.
    pub(super) fn states(&self) -> usize {
        self.parser.parser.lexer_stats().num_states
    }

    /// The tokens that may come next: of text, and where the text may end those that end the model's turn.
    ///
    /// # Errors
    /// [`GrammarFault`]; it stays so.
    pub fn allowed(&mut self) -> Result<Next<'_>, GrammarFault> {
        self.look_ahead()?;
        Ok(if self.seen == Seen::Tokens { Next::Tokens(self.allowed.as_slice()) } else { Next::End })
    }

    /// Finds what [`Matcher::allowed`] then says at once. Most of what a grammar costs a token is here, and does not have to
    /// wait until it is asked.
    ///
    /// # Errors
    /// [`GrammarFault`]; it stays so.
    pub fn look_ahead(&mut self) -> Result<(), GrammarFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.seen == Seen::Nothing {
            self.seen = if !self.is_complete() && self.find_allowed()? { Seen::Tokens } else { Seen::End };
        }
        Ok(())
    }

    /// True if there are tokens that may come next, and false if the text is complete.
    fn find_allowed(&mut self) -> Result<bool, GrammarFault> {
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
        if !(some || may_end) {
            return Err(self.fail(GrammarFault::DeadEnd));
        }
        Ok(some)
    }

    /// Goes on by a token that was allowed.
    ///
    /// # Errors
    /// [`GrammarFault`]; it stays so.
    pub fn accept(&mut self, token: u32) -> Result<(), GrammarFault> {
        self.seen = Seen::Nothing;
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

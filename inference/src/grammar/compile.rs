//! From a grammar's text to something that sequences can follow.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use llguidance::api::{GrammarInit, GrammarWithLexer, ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{InferenceCapabilities, SimpleVob, TokEnv};
use llguidance::{Logger, ParserFactory};

use super::error::{GrammarError, GrammarFault};
use super::mask::{Masks, Trees};
use super::matcher::Matcher;
use super::words::{Sorted, Words};
use super::{Grammar, MAX_GRAMMAR_BYTES, rehearsal, schema};
use crate::tokenizer::Tokenizer;

/// Compiled grammars that are kept for the next request with the same one: most servers have a handful. Each takes a
/// megabyte or so.
pub const MAX_COMPILED: usize = 16;

/// States of a lexer that sequences begin with, at most: what earlier ones have learnt. Usual grammars have hundreds; strings of
/// bounded length ten for each character.
pub(super) const MAX_LEARNT_STATES: usize = 4_000;

/// States of a lexer that each sequence may come to beside those. One or two kilobytes each: some 30 MB a sequence at worst.
const MAX_OWN_STATES: usize = 16_000;

/// Bytes of stack for compiling. llguidance follows terminals that name each other, and nested schemas, by recursion;
/// with [`MAX_GRAMMAR_BYTES`] of them it takes less than this. Only what is used of it becomes memory.
const COMPILE_STACK: usize = 256 << 20;

/// llguidance's own limits. Its defaults let a lexer take half a gigabyte, and an ambiguous grammar seconds a token.
fn limits() -> ParserLimits {
    ParserLimits {
        // Places in rules at which a text may stand at once: an ambiguous grammar gets more of them with each token.
        max_items_in_row: 500,
        // Nodes of regular expressions. A hostile grammar reaches it in a tenth of a second; common ones need a hundredth.
        initial_lexer_fuel: 200_000,
        // The same, for one token: some milliseconds, which others that are generating have to wait.
        step_lexer_fuel: 50_000,
        // Places in rules that are tried for one token: some milliseconds, too.
        step_max_items: 20_000,
        max_lexer_states: MAX_LEARNT_STATES + MAX_OWN_STATES,
        // Symbols of all rules.
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

/// Compiles grammars for the tokens of one model. Can be shared between threads.
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    /// The tree of tokens: built for the first grammar, since most models are never given one.
    shared: OnceLock<Result<Shared, GrammarError>>,
    /// The last ones, the latest at the end.
    compiled: Mutex<Vec<(Grammar, Compiled)>>,
}

/// What all grammars of a model use.
struct Shared {
    tokens: TokEnv,
    trees: Arc<Trees>,
    factory: ParserFactory,
    usable: Arc<SimpleVob>,
}

/// A grammar that sequences can follow. Cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    /// Where every sequence begins: at the origin of the one that has learnt most.
    beginning: Arc<Mutex<Matcher>>,
    tokens: TokEnv,
}

impl Compiled {
    /// The state of a new sequence, which shares nothing with others that may change.
    pub fn matcher(&self) -> Matcher {
        let beginning = self.beginning();
        beginning.separate().of(self.clone())
    }

    /// Makes up some texts of the grammar, so that answers find its lexer prepared. Takes some 40 ms at most; may be
    /// left out, and done while sequences are following the grammar already.
    pub fn rehearse(&self) {
        rehearsal::rehearse(self, &self.tokens);
    }

    /// Later sequences begin with what one has learnt, if that is more than is known, and sound.
    pub(super) fn learn(&self, mut from: Matcher) {
        if from.is_sound() && (self.states() + 1..=MAX_LEARNT_STATES).contains(&from.states()) {
            from.restart(); // the rest of it is of no use
            *self.beginning() = from;
        }
    }

    /// States of its lexer that are known from the beginning.
    pub(super) fn states(&self) -> usize {
        self.beginning().states()
    }

    fn beginning(&self) -> MutexGuard<'_, Matcher> {
        self.beginning.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compiled")
    }
}

impl Grammars {
    /// For the tokens of `tokenizer`. Takes no time: see [`Grammars::prepare`].
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, shared: OnceLock::new(), compiled: Mutex::new(Vec::new()) }
    }

    /// Builds what all grammars need, unless it is there: some 40 ms for 49,152 tokens and 300 ms for 262,144, which the
    /// first grammar otherwise waits.
    ///
    /// # Errors
    /// [`GrammarError::Vocabulary`].
    pub fn prepare(&self) -> Result<(), GrammarError> {
        self.shared().map(|_| ())
    }

    /// Compiles a grammar, or finds it compiled. May be called on any thread, so that whoever gives a scheduler its requests
    /// need not keep it waiting: the scheduler then finds it.
    ///
    /// # Errors
    /// [`GrammarError`].
    pub fn compile(&self, grammar: &Grammar) -> Result<Compiled, GrammarError> {
        if let Some(found) = self.find(grammar)? {
            return Ok(found);
        }
        let shared = self.shared()?;
        let compiled = thread::scope(|scope| {
            let work = || compile(shared, grammar);
            let thread = thread::Builder::new().stack_size(COMPILE_STACK).spawn_scoped(scope, work);
            let thread = thread.map_err(|error| GrammarError::invalid(&format!("no thread to compile it: {error}")))?;
            thread.join().unwrap_or_else(|_| Err(GrammarError::invalid("compiling it failed")))
        })?;
        let mut kept = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MAX_COMPILED {
            kept.remove(0);
        }
        kept.push((grammar.clone(), compiled.clone()));
        Ok(compiled)
    }

    /// How many grammars are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.compiled.lock().unwrap().len()
    }

    /// A grammar that was compiled before, if it is kept still. Takes no time.
    ///
    /// # Errors
    /// [`GrammarError::Empty`] and [`GrammarError::TooLong`].
    pub fn find(&self, grammar: &Grammar) -> Result<Option<Compiled>, GrammarError> {
        match grammar.bytes() {
            0 => return Err(GrammarError::Empty),
            1..=MAX_GRAMMAR_BYTES => {}
            got => return Err(GrammarError::TooLong { got }),
        }
        let mut kept = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(known, _)| known == grammar);
        Ok(place.map(|place| {
            let found = kept.remove(place);
            let compiled = found.1.clone();
            kept.push(found);
            compiled
        }))
    }

    fn shared(&self) -> Result<&Shared, GrammarError> {
        let build = || {
            let words = Arc::new(Words::new());
            let tokens: TokEnv = Arc::<Words>::clone(&words);
            let factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &[]);
            let mut factory = factory.map_err(|error| GrammarError::invalid(&error.to_string()))?;
            factory.set_stderr_log_level(0);
            let Sorted { trie, trees, usable } = Sorted::new(&self.tokenizer)?;
            words.show(trie);
            Ok(Shared { tokens, trees: Arc::new(trees), factory, usable: Arc::new(usable) })
        };
        self.shared.get_or_init(build).as_ref().map_err(Clone::clone)
    }
}

fn compile(shared: &Shared, grammar: &Grammar) -> Result<Compiled, GrammarError> {
    let grammar = match grammar {
        Grammar::JsonSchema(text) => TopLevelGrammar::from_json_schema(schema::read(text)?),
        Grammar::Regex(pattern) => TopLevelGrammar::from_regex(complete(pattern)?),
        Grammar::Lark(rules) => TopLevelGrammar::from_lark(without_schemas(rules)?.to_owned()),
        Grammar::LarkWithSchemas { rules, schemas } => with_schemas(without_schemas(rules)?, schemas)?,
    };
    let parser = shared.factory.create_parser_from_init_ext(
        GrammarInit::Serialized(grammar),
        Logger::new(0, 0),
        InferenceCapabilities::default(),
        limits(),
    );
    let parser = parser.map_err(|error| GrammarError::invalid(&error.to_string()))?;
    let masks = Masks::new(Arc::clone(&shared.trees), Arc::clone(&shared.tokens));
    let mut beginning = Matcher::new(parser, masks, Arc::clone(&shared.usable));
    beginning.look_ahead().map_err(|fault| match fault {
        GrammarFault::DeadEnd => GrammarError::Impossible,
        other => GrammarError::invalid(&other.to_string()),
    })?;
    Ok(Compiled { beginning: Arc::new(Mutex::new(beginning)), tokens: Arc::clone(&shared.tokens) })
}

/// llguidance passes over a backslash with nothing behind it.
fn complete(pattern: &str) -> Result<&str, GrammarError> {
    let backslashes = pattern.len() - pattern.trim_end_matches('\\').len();
    if backslashes % 2 == 1 {
        return Err(GrammarError::invalid(
            "the regular expression ends with a backslash, which needs something behind it",
        ));
    }
    Ok(pattern)
}

/// The rules, and behind them the schemas by their names.
fn with_schemas(rules: &str, schemas: &[String]) -> Result<TopLevelGrammar, GrammarError> {
    let mut all = TopLevelGrammar::from_lark(rules.to_owned());
    for (number, text) in schemas.iter().enumerate() {
        let schema = GrammarWithLexer::from_json_schema(schema::read(text)?);
        all.grammars.push(GrammarWithLexer { name: Some(format!("schema{number}")), ..schema });
    }
    Ok(all)
}

/// A schema within a grammar would not be looked at by [`schema::read`].
fn without_schemas(rules: &str) -> Result<&str, GrammarError> {
    if rules.contains("%json") {
        return Err(GrammarError::invalid("a grammar cannot contain a JSON schema (%json); send the schema by itself"));
    }
    Ok(rules)
}

//! Which tokens may come next.
//!
//! llguidance's own way is to try all words, byte for byte, along the tree of their bytes. Here whole shapes of words are
//! tried first: where a grammar comes to the same place with all characters of a class, one of them stands for all, and the
//! words that have the exceptions are tried themselves.

use std::sync::{Arc, Mutex, PoisonError};

use llguidance::earley::{BiasComputer, ParserRecognizer};
use llguidance::toktrie::{Recognizer, SimpleVob, TokEnv, TokTrie};

use super::shapes::{Class, Grain, Shapes};
use super::tree::Tree;
use super::turn::{Most, NO_BYTE, Turn, Turns, most_alike};

/// The tokens of a model that text is made of, as grammars look at them.
pub(super) struct Trees {
    /// Those whose words are whole characters.
    whole: Tree,
    coarse: Shapes,
    medium: Shapes,
    fine: Shapes,
    /// The others: few.
    broken: Tree,
}

impl Trees {
    /// Sorts words, in the order of their bytes. `empty` has room for all tokens.
    pub(super) fn new(words: &[(&[u8], u32)], empty: &SimpleVob) -> Self {
        let (whole, broken): (Vec<_>, Vec<_>) = words.iter().partition(|(word, _)| std::str::from_utf8(word).is_ok());
        let whole = Tree::new(&whole);
        let shapes = |grain| Shapes::new(&whole, grain, empty);
        let [coarse, medium, fine] = [Grain::Coarse, Grain::Medium, Grain::Fine].map(shapes);
        Self { coarse, medium, fine, broken: Tree::new(&broken), whole }
    }
}

/// Finds masks for one sequence.
pub(super) struct Masks {
    trees: Arc<Trees>,
    tokens: TokEnv,
    turns: Mutex<Turns>,
}

impl Masks {
    pub(super) fn new(trees: Arc<Trees>, tokens: TokEnv) -> Self {
        Self { trees, tokens, turns: Mutex::default() }
    }

    /// The same for a sequence whose lexer is a copy of this one's.
    pub(super) fn separate(&self) -> Self {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { trees: Arc::clone(&self.trees), tokens: Arc::clone(&self.tokens), turns: Mutex::new(turns) }
    }
}

impl BiasComputer for Masks {
    fn compute_bias(&self, recognizer: &mut ParserRecognizer<'_>, start: &[u8]) -> SimpleVob {
        let mut mask = self.trie().alloc_token_set();
        if !start.is_empty() {
            // Bytes that are prescribed: there are none, as `Words` never says that it knows the tokens of a text.
            self.trie().add_bias(recognizer, &mut mask, start);
            return mask;
        }
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        recognizer.trie_started("mask");
        let mut search = Search { trees: &self.trees, recognizer, turns: &mut turns, mask: &mut mask };
        search.run();
        recognizer.trie_finished();
        mask
    }

    fn trie(&self) -> &TokTrie {
        self.tokens.tok_trie()
    }
}

/// The search for the tokens of one mask. Every method leaves the recognizer where it was.
struct Search<'a, 'r> {
    trees: &'a Trees,
    recognizer: &'a mut ParserRecognizer<'r>,
    turns: &'a mut Turns,
    mask: &'a mut SimpleVob,
}

/// Shapes are not fine enough: the grammar tells characters of a coarse class apart.
struct TooCoarse;

impl Search<'_, '_> {
    fn run(&mut self) {
        if self.recognizer.lexer().lexer_spec().has_stop {
            // The end of such a lexeme is looked at again as the beginning of the next: one byte cannot stand for others.
            self.trees.whole.walk(self.recognizer, self.mask);
        } else {
            let found = [&self.trees.coarse, &self.trees.medium, &self.trees.fine].into_iter().any(|shapes| {
                self.mask.set_all(false);
                self.behind(shapes, None).is_ok()
            });
            assert!(found, "fine shapes have no coarse classes");
        }
        self.trees.broken.walk(self.recognizer, self.mask);
    }

    /// Allows what may follow behind a shape.
    fn behind(&mut self, shapes: &Shapes, shape: Option<u32>) -> Result<(), TooCoarse> {
        let own = shape.map(|shape| (shape, shapes.class(shape)));
        let mut longer = false;
        for child in shapes.children(shape) {
            let taken = match shapes.class(child) {
                Class::Byte(byte) => self.alike(shapes, child, &[byte])?,
                class => self.many(shapes, child, class)?,
            };
            // The longest shape that is allowed has the tokens of the shorter ones.
            longer |= taken && own.is_some_and(|(_, class)| class.is_coarse() && class == shapes.class(child));
        }
        if let Some((shape, _)) = own.filter(|_| !longer) {
            shapes.allow(shape, self.mask);
        }
        Ok(())
    }

    /// Allows a shape and what may follow, if the recognizer takes the bytes of one of its last characters: then it is true.
    fn alike(&mut self, shapes: &Shapes, shape: u32, one: &[u8]) -> Result<bool, TooCoarse> {
        let mut taken = 0;
        while taken < one.len() && self.recognizer.try_push_byte(one[taken]) {
            taken += 1;
        }
        let result = if taken == one.len() { self.behind(shapes, Some(shape)) } else { Ok(()) };
        self.recognizer.pop_bytes(taken);
        result.map(|()| taken == one.len())
    }

    /// Allows a shape that ends with a class of many characters, as far as they are allowed, and what may follow. True if one
    /// of them stood for the others.
    fn many(&mut self, shapes: &Shapes, shape: u32, class: Class) -> Result<bool, TooCoarse> {
        let turn = match self.turns.of(self.recognizer, class) {
            Turn::Ends => self.turn_at_end(class),
            turn => turn,
        };
        match turn {
            Turn::None => Ok(false),
            Turn::Like { one: NO_BYTE, .. } => self.alike(shapes, shape, "é".as_bytes()),
            Turn::Like { one, except } => {
                let taken = self.alike(shapes, shape, &[one])?;
                except.into_iter().filter(|&byte| byte != NO_BYTE).for_each(|byte| self.except(shapes, shape, byte));
                Ok(taken)
            }
            Turn::Each | Turn::Ends if class.is_coarse() => Err(TooCoarse),
            Turn::Each | Turn::Ends => {
                self.each(shapes.places(shape));
                Ok(false)
            }
        }
    }

    /// What happens with characters that end a lexeme. The same if they come to the same state of the lexer and the same
    /// row of the parser: rows are counted when they are made, and lie there to be used again.
    fn turn_at_end(&mut self, class: Class) -> Turn {
        let crossed = |recognizer: &mut ParserRecognizer<'_>| {
            let stats = recognizer.stats_mut();
            stats.rows + stats.cached_rows
        };
        let mut arrive = |byte: u8| {
            let before = crossed(self.recognizer);
            let place = self.recognizer.try_push_byte(byte).then(|| {
                let rows = crossed(self.recognizer) - before;
                (self.recognizer.lexer_state(), rows, self.recognizer.stats_mut().rows)
            });
            self.recognizer.pop_bytes(usize::from(place.is_some()));
            place
        };
        let beyond = class == Class::Plain || class == Class::Beyond;
        if beyond && (0xc2..=0xf4).any(|lead| arrive(lead).is_some()) {
            return Turn::Each;
        }
        match most_alike(class.ascii().map(|byte| (byte, arrive(byte))), |place| place.is_some()) {
            Most::Like(_, _) if beyond => Turn::Each,
            Most::Like(turn, _) => turn,
            Most::Differ => Turn::Each,
            Most::None => Turn::None,
        }
    }

    /// Tries the words of a shape whose last character is this one, whatever was found of them before.
    fn except(&mut self, shapes: &Shapes, shape: u32, byte: u8) {
        let tree = &self.trees.whole;
        let places = shapes.places(shape);
        let from = places.partition_point(|&place| tree.byte(place) < byte);
        let to = places.partition_point(|&place| tree.byte(place) <= byte);
        let places = &places[from..to];
        for &place in places {
            tree.tokens_behind(place).iter().for_each(|&token| self.mask.disallow_token(token));
        }
        self.each(places);
    }

    /// Tries words by their bytes, from these places on.
    fn each(&mut self, places: &[u32]) {
        let tree = &self.trees.whole;
        for group in places.chunk_by(|&a, &b| tree.byte(a) == tree.byte(b)) {
            if !self.recognizer.try_push_byte(tree.byte(group[0])) {
                continue;
            }
            for &place in group {
                tree.tokens(place).iter().for_each(|&token| self.mask.allow_token(token));
                tree.walk_behind(place, self.recognizer, self.mask);
            }
            self.recognizer.pop_bytes(1);
        }
    }
}

#[cfg(test)]
#[path = "mask/tests.rs"]
mod tests;

//! What a lexer's state does with the characters of a class, found once for each state.

use llguidance::HashMap;
use llguidance::derivre::StateID;
use llguidance::earley::ParserRecognizer;

use super::shapes::Class;

/// What a place in a grammar does with the characters of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It takes none.
    None,
    /// It comes to the same place with all of them, and this one, but these; with those it may do anything.
    Like { one: u8, except: [u8; EXCEPTIONS] },
    /// It comes to different places.
    Each,
    /// A lexeme ends before them, so that it depends on the grammar's rules.
    Ends,
}

/// Characters that a class's usual turn need not be for. No more, so that a turn has eight bytes: there is one for each
/// state of a lexer and class.
pub(super) const EXCEPTIONS: usize = 6;
/// Fills up exceptions: no character of text.
pub(super) const NO_BYTE: u8 = 0xff;

/// What is known of a lexer's states. It belongs to that lexer, whose limit of states is its limit too.
#[derive(Clone, Default)]
pub(super) struct Turns {
    by_state: Vec<[Option<Turn>; Class::MANY]>,
    /// By state, the range of the next byte, and how many bytes are left of a character.
    rests: HashMap<(usize, (u8, u8), u8), Rest>,
}

/// Where a state comes with all endings of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Dead,
    Goes(StateID),
    Differs,
}

/// First bytes of characters beyond ASCII: the first and last of them, the range of the second, and how many follow
/// (the Unicode Standard, table 3-7).
const LEADS: [(u8, u8, (u8, u8), u8); 8] = [
    (0xc2, 0xdf, (0x80, 0xbf), 1),
    (0xe0, 0xe0, (0xa0, 0xbf), 2),
    (0xe1, 0xec, (0x80, 0xbf), 2),
    (0xed, 0xed, (0x80, 0x9f), 2),
    (0xee, 0xef, (0x80, 0xbf), 2),
    (0xf0, 0xf0, (0x90, 0xbf), 3),
    (0xf1, 0xf3, (0x80, 0xbf), 3),
    (0xf4, 0xf4, (0x80, 0x8f), 3),
];

impl Turns {
    /// The turn of the state that the recognizer is in.
    ///
    /// # Panics
    /// If the class is of one character.
    pub(super) fn of(&mut self, recognizer: &mut ParserRecognizer<'_>, class: Class) -> Turn {
        let state = recognizer.lexer_state();
        let place = class.place().expect("a class of many characters");
        let at = state.as_usize();
        if at >= self.by_state.len() {
            self.by_state.resize(at + 1, [None; Class::MANY]);
        }
        if let Some(turn) = self.by_state[at][place] {
            return turn;
        }
        let turn = self.find(recognizer, state, class);
        self.by_state[at][place] = Some(turn);
        turn
    }

    fn find(&mut self, recognizer: &mut ParserRecognizer<'_>, state: StateID, class: Class) -> Turn {
        match class {
            Class::Beyond => match self.beyond(recognizer, state) {
                Rest::Goes(_) => Turn::Like { one: NO_BYTE, except: [NO_BYTE; EXCEPTIONS] },
                Rest::Differs => Turn::Each,
                Rest::Dead if may_end(recognizer, state) => Turn::Ends,
                Rest::Dead => Turn::None,
            },
            Class::Plain => {
                let (turn, target) = of_ascii(recognizer, state, class);
                match (turn, self.beyond(recognizer, state)) {
                    (Turn::Like { .. }, Rest::Goes(beyond)) if target == Some(beyond) => turn,
                    (Turn::None | Turn::Ends, Rest::Dead) => turn,
                    _ => Turn::Each,
                }
            }
            _ => of_ascii(recognizer, state, class).0,
        }
    }

    /// Where all characters beyond ASCII lead.
    fn beyond(&mut self, recognizer: &mut ParserRecognizer<'_>, state: StateID) -> Rest {
        let rests = LEADS.map(|(first, last, second, more)| self.all(recognizer, state, (first, last), (second, more)));
        all_alike(rests.into_iter())
    }

    /// Where all bytes of a range lead, with all that follow: a first one of a range, and so many together.
    fn all(
        &mut self,
        recognizer: &mut ParserRecognizer<'_>,
        state: StateID,
        bytes: (u8, u8),
        (range, more): ((u8, u8), u8),
    ) -> Rest {
        let mut last = None;
        all_alike((bytes.0..=bytes.1).map(|byte| {
            let next = step(recognizer, state, byte);
            // Most bytes of a range lead to the same state.
            let rest = last.filter(|&(state, _)| state == next).map(|(_, rest)| rest);
            let rest = rest.unwrap_or_else(|| self.rest(recognizer, next, range, more));
            last = Some((next, rest));
            rest
        }))
    }

    fn rest(&mut self, recognizer: &mut ParserRecognizer<'_>, state: StateID, range: (u8, u8), more: u8) -> Rest {
        if state.is_dead() {
            return Rest::Dead;
        }
        if state.has_lowest_match() {
            return Rest::Differs;
        }
        if more == 0 {
            return Rest::Goes(state);
        }
        let key = (state.as_usize(), range, more);
        if let Some(&rest) = self.rests.get(&key) {
            return rest;
        }
        let rest = self.all(recognizer, state, range, ((0x80, 0xbf), more - 1));
        // A lexeme may end within a character only of grammars about bytes.
        let rest = if may_end(recognizer, state) { Rest::Differs } else { rest };
        self.rests.insert(key, rest);
        rest
    }
}

fn all_alike(mut rests: impl Iterator<Item = Rest>) -> Rest {
    let Some(first) = rests.next() else { return Rest::Dead };
    if rests.all(|rest| rest == first) { first } else { Rest::Differs }
}

/// The turn with a class's characters of ASCII, and where most of them lead.
fn of_ascii(recognizer: &mut ParserRecognizer<'_>, state: StateID, class: Class) -> (Turn, Option<StateID>) {
    let most = most_alike(class.ascii().map(|byte| (byte, step(recognizer, state, byte))), |next| {
        !next.is_dead() && !next.has_lowest_match()
    });
    match most {
        Most::Like(turn, target) => (turn, Some(target)),
        Most::Differ => (Turn::Each, None),
        // Some may end a lexeme at once.
        Most::None if class.ascii().any(|byte| !step(recognizer, state, byte).is_dead()) => (Turn::Each, None),
        Most::None if may_end(recognizer, state) => (Turn::Ends, None),
        Most::None => (Turn::None, None),
    }
}

/// What most of some characters do.
pub(super) enum Most<T> {
    Like(Turn, T),
    Differ,
    None,
}

/// Finds what at least half of some characters do alike, of those that are taken, with not too many exceptions.
pub(super) fn most_alike<T: Copy + PartialEq>(
    characters: impl Iterator<Item = (u8, T)>,
    taken: impl Fn(T) -> bool,
) -> Most<T> {
    let mut seen: [Option<(u8, T)>; 128] = [None; 128];
    let mut count = 0;
    for character in characters {
        seen[count] = Some(character);
        count += 1;
    }
    let seen = || seen[..count].iter().flatten().copied();
    // If there is a majority, it is this one (Boyer and Moore's vote).
    let (mut candidate, mut lead) = (None, 0usize);
    for (byte, next) in seen() {
        match candidate {
            Some((_, other)) if other == next => lead += 1,
            _ if lead == 0 => (candidate, lead) = (Some((byte, next)), 1),
            _ => lead -= 1,
        }
    }
    let others = |target| seen().filter(move |&(_, next)| next != target).map(|(byte, _)| byte);
    match candidate.filter(|&(_, target)| taken(target)) {
        Some((one, target)) if others(target).count() <= EXCEPTIONS => {
            let mut except = [NO_BYTE; EXCEPTIONS];
            except.iter_mut().zip(others(target)).for_each(|(except, byte)| *except = byte);
            Most::Like(Turn::Like { one, except }, target)
        }
        _ if seen().any(|(_, next)| taken(next)) => Most::Differ,
        _ => Most::None,
    }
}

fn step(recognizer: &mut ParserRecognizer<'_>, state: StateID, byte: u8) -> StateID {
    recognizer.lexer_mut().transition_start_state(state, Some(byte), &None)
}

/// Whether a lexeme may end in a state.
fn may_end(recognizer: &mut ParserRecognizer<'_>, state: StateID) -> bool {
    !recognizer.lexer_mut().try_lexeme_end(state).is_error()
}

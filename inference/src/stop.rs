//! Stop strings, found across the borders of tokens.
//!
//! Text goes through a [`StopFilter`] on its way to the reader. What may be the beginning of a stop string is held
//! back until more text decides it; a stop string and all that follows it never come out.

use std::fmt;

/// The most stop strings that one request may name. OpenAI's interface allows 4; each costs a search per token.
pub const MAX_STOP_STRINGS: usize = 16;

/// The most bytes of one stop string: it bounds the text that is held back, and the work per token.
pub const MAX_STOP_BYTES: usize = 256;

/// Why a list of stop strings was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopError {
    /// More strings than [`MAX_STOP_STRINGS`].
    TooMany {
        /// How many there were.
        got: usize,
    },
    /// A string longer than [`MAX_STOP_BYTES`].
    TooLong {
        /// Its place in the list, from 0.
        index: usize,
        /// Its length in bytes.
        got: usize,
    },
    /// An empty string, which every text contains.
    Empty {
        /// Its place in the list, from 0.
        index: usize,
    },
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { got } => write!(f, "{got} stop strings, at most {MAX_STOP_STRINGS} are allowed"),
            Self::TooLong { index, got } => {
                write!(f, "stop[{index}] has {got} bytes, at most {MAX_STOP_BYTES} are allowed")
            }
            Self::Empty { index } => write!(f, "stop[{index}] is empty: leave it out, or name the text to stop at"),
        }
    }
}

impl std::error::Error for StopError {}

/// Passes text on up to the first stop string.
///
/// The stop string that is complete first wins; of several that end at the same byte, the longest, so that the text
/// which comes out does not depend on how the text was cut into pieces.
///
/// ```
/// use causerie_inference::stop::StopFilter;
///
/// let mut filter = StopFilter::new(vec!["\nUser:".into()]).unwrap();
/// let mut out = String::new();
/// assert_eq!(filter.push("Hello.\nUs", &mut out), None);
/// assert_eq!(out, "Hello.");
/// assert_eq!(filter.push("er: hi", &mut out), Some(0));
/// assert_eq!(out, "Hello.");
/// ```
#[derive(Debug, Clone)]
pub struct StopFilter {
    stops: Vec<String>,
    /// Text not yet passed on: at most `MAX_STOP_BYTES - 1` bytes between calls.
    held: String,
    found: Option<usize>,
}

impl StopFilter {
    /// A filter for these strings; with none of them all text passes at once.
    ///
    /// # Errors
    /// When there are too many, or one is too long or empty.
    pub fn new(stops: Vec<String>) -> Result<Self, StopError> {
        if stops.len() > MAX_STOP_STRINGS {
            return Err(StopError::TooMany { got: stops.len() });
        }
        for (index, stop) in stops.iter().enumerate() {
            match stop.len() {
                0 => return Err(StopError::Empty { index }),
                1..=MAX_STOP_BYTES => {}
                got => return Err(StopError::TooLong { index, got }),
            }
        }
        let held = if stops.is_empty() { 0 } else { 2 * MAX_STOP_BYTES };
        Ok(Self { stops, held: String::with_capacity(held), found: None })
    }

    /// Takes the next piece of text and appends to `out` what is certain not to belong to a stop string. Gives the
    /// place in the list of the stop string that was found, then and in every later call, which add nothing to `out`.
    pub fn push(&mut self, text: &str, out: &mut String) -> Option<usize> {
        if self.found.is_some() {
            return self.found;
        }
        if self.stops.is_empty() {
            out.push_str(text);
            return None;
        }
        self.held.push_str(text);
        if let Some((start, index)) = self.first_match() {
            out.push_str(&self.held[..start]);
            self.held.clear();
            self.found = Some(index);
        } else {
            let undecided = self.undecided_from();
            out.push_str(&self.held[..undecided]);
            self.held.drain(..undecided);
        }
        self.found
    }

    /// Ends the text: what was held back was no stop string and comes out.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// Which stop string was found, by its place in the list.
    pub fn found(&self) -> Option<usize> {
        self.found
    }

    /// The first byte of the match that ends first, and which string it is.
    fn first_match(&self) -> Option<(usize, usize)> {
        let matches = self.stops.iter().enumerate().filter_map(|(index, stop)| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start, index))
        });
        matches.min().map(|(_end, start, index)| (start, index))
    }

    /// Where the longest end of the held text begins that is the beginning of a stop string.
    fn undecided_from(&self) -> usize {
        let held = self.held.as_bytes();
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        // A stop string begins with the first byte of a character, so a match does too: slicing there is safe.
        let candidates = held.len().saturating_sub(longest.saturating_sub(1))..held.len();
        candidates
            .into_iter()
            .find(|&from| self.stops.iter().any(|stop| stop.as_bytes().starts_with(&held[from..])))
            .unwrap_or(held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filtered(stops: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
        let mut filter = StopFilter::new(stops.iter().map(ToString::to_string).collect()).unwrap();
        let mut out = String::new();
        for piece in pieces {
            filter.push(piece, &mut out);
        }
        filter.finish(&mut out);
        (out, filter.found())
    }

    #[test]
    fn a_stop_string_in_three_pieces_is_found() {
        assert_eq!(filtered(&["<end>"], &["answer<", "en", "d>more"]), ("answer".into(), Some(0)));
    }

    #[test]
    fn text_that_only_looked_like_a_stop_string_comes_out() {
        assert_eq!(filtered(&["<end>"], &["a<en", "ough"]), ("a<enough".into(), None));
        assert_eq!(filtered(&["<end>"], &["a<en"]), ("a<en".into(), None));
        assert_eq!(filtered(&["aab"], &["aa", "a", "b"]), ("a".into(), Some(0)));
    }

    #[test]
    fn the_string_that_is_complete_first_wins_and_the_longest_of_those() {
        assert_eq!(filtered(&["abc", "b"], &["xabc"]), ("xa".into(), Some(1)));
        assert_eq!(filtered(&["c", "abc"], &["xabc"]), ("x".into(), Some(1)));
    }

    #[test]
    fn nothing_comes_after_the_stop() {
        let mut filter = StopFilter::new(vec!["é".into()]).unwrap();
        let mut out = String::new();
        assert_eq!(filter.push("caféine", &mut out), Some(0));
        assert_eq!(filter.push("more", &mut out), Some(0));
        filter.finish(&mut out);
        assert_eq!(out, "caf");
    }

    #[test]
    fn limits_are_named_with_what_was_seen() {
        let check = |stops: Vec<String>, text: &str| assert_eq!(StopFilter::new(stops).unwrap_err().to_string(), text);
        check(vec!["x".into(); MAX_STOP_STRINGS + 1], "17 stop strings, at most 16 are allowed");
        check(vec!["x".into(), "y".repeat(MAX_STOP_BYTES + 1)], "stop[1] has 257 bytes, at most 256 are allowed");
        check(vec![String::new()], "stop[0] is empty: leave it out, or name the text to stop at");
        assert!(StopFilter::new(vec!["y".repeat(MAX_STOP_BYTES); MAX_STOP_STRINGS]).is_ok());
    }

    /// The definition, character by character over the whole text.
    fn naive(stops: &[String], text: &str) -> (String, Option<usize>) {
        for end in 0..=text.len() {
            let ending = |stop: &&String| text.as_bytes()[..end].ends_with(stop.as_bytes());
            if let Some(stop) = stops.iter().filter(ending).max_by_key(|stop| stop.len()) {
                let index = stops.iter().position(|s| s == stop);
                return (text[..end - stop.len()].to_string(), index);
            }
        }
        (text.to_string(), None)
    }

    proptest! {
        #[test]
        fn any_cut_gives_what_a_search_in_the_whole_gives(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            pieces in prop::collection::vec("[abcé]{0,5}", 0..12),
        ) {
            let mut filter = StopFilter::new(stops.clone()).unwrap();
            let mut out = String::new();
            for piece in &pieces {
                filter.push(piece, &mut out);
                prop_assert!(filter.held.len() < MAX_STOP_BYTES);
            }
            filter.finish(&mut out);
            prop_assert_eq!((out, filter.found()), naive(&stops, &pieces.concat()));
        }
    }
}

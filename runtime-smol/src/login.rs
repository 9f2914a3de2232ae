//! One-time login codes: what the link that `serve` prints holds.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits;

/// 128 random bits as 32 hexadecimal digits, in either case on the way in.
type Code = [u8; 32];

/// The codes that still work: each for [`limits::LOGIN_TIME`], each once, at most [`limits::LOGIN_CODES`] at a time.
#[derive(Debug, Default)]
pub(crate) struct LoginCodes {
    codes: VecDeque<(Code, Instant)>,
}

/// Why a code does not log anybody in. What was wrong is not told: it would help nobody but a guesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongCode;

impl std::fmt::Display for WrongCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "this login code is wrong, too old or used already: each works once; \
             get a new link with `kill -USR1` to the server's process, or a token with `causerie token`",
        )
    }
}

impl std::error::Error for WrongCode {}

impl LoginCodes {
    /// Makes a code that works until `now` + [`limits::LOGIN_TIME`]. The oldest is forgotten when there are too many.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub(crate) fn issue(&mut self, now: Instant) -> Result<String, getrandom::Error> {
        let mut random = [0u8; 16];
        getrandom::fill(&mut random)?;
        let code = hex(random);
        if self.codes.len() == limits::LOGIN_CODES {
            self.codes.pop_front();
        }
        self.codes.push_back((code, now + limits::LOGIN_TIME));
        Ok(code.iter().map(|&digit| char::from(digit)).collect())
    }

    /// Uses a code up.
    ///
    /// # Errors
    /// [`WrongCode`] when it was never issued, is too old, or was used.
    pub(crate) fn redeem(&mut self, code: &str, now: Instant) -> Result<(), WrongCode> {
        self.codes.retain(|(_, expires)| *expires > now);
        let given = code.trim().to_ascii_lowercase();
        // Every code is compared to its end, whatever the others said.
        let mut found = None;
        for (i, (code, _)) in self.codes.iter().enumerate() {
            if equal_in_constant_time(code, given.as_bytes()) {
                found = Some(i);
            }
        }
        found.and_then(|i| self.codes.remove(i)).map(|_| ()).ok_or(WrongCode)
    }
}

fn hex(bytes: [u8; 16]) -> Code {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut code = [0; 32];
    for (pair, byte) in code.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    code
}

/// The time this takes says nothing about where the two differ; only a wrong length, which is no secret, shows.
fn equal_in_constant_time(a: &Code, b: &[u8]) -> bool {
    if b.len() != a.len() {
        return false;
    }
    let difference = a.iter().zip(b).fold(0u8, |difference, (x, y)| std::hint::black_box(difference | (x ^ y)));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_code_works_once() {
        let now = Instant::now();
        let mut codes = LoginCodes::default();
        let code = codes.issue(now).unwrap();
        assert_eq!(code.len(), 32);
        assert_eq!(codes.redeem(&code, now), Ok(()));
        assert_eq!(codes.redeem(&code, now), Err(WrongCode));
    }

    #[test]
    fn a_code_may_be_typed_in_capitals_with_blanks_around_it() {
        let now = Instant::now();
        let mut codes = LoginCodes::default();
        let code = codes.issue(now).unwrap();
        assert_eq!(codes.redeem(&format!(" {}\n", code.to_uppercase()), now), Ok(()));
    }

    #[test]
    fn a_code_ends_with_its_time() {
        let now = Instant::now();
        let mut codes = LoginCodes::default();
        let code = codes.issue(now).unwrap();
        assert_eq!(codes.redeem(&code, now + limits::LOGIN_TIME), Err(WrongCode));
        let code = codes.issue(now).unwrap();
        assert_eq!(codes.redeem(&code, now + limits::LOGIN_TIME - Duration::from_millis(1)), Ok(()));
    }

    #[test]
    fn what_is_nearly_a_code_is_none() {
        let now = Instant::now();
        let mut codes = LoginCodes::default();
        let code = codes.issue(now).unwrap();
        let last = if code.ends_with('0') { "1" } else { "0" };
        for wrong in ["", &code[..31], &format!("{code}0"), &format!("{}{last}", &code[..31]), "ü".repeat(16).as_str()]
        {
            assert_eq!(codes.redeem(wrong, now), Err(WrongCode), "{wrong:?}");
        }
        assert_eq!(codes.redeem(&code, now), Ok(()));
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let now = Instant::now();
        let mut codes = LoginCodes::default();
        let issued: Vec<String> = (0..=limits::LOGIN_CODES).map(|_| codes.issue(now).unwrap()).collect();
        assert_eq!(codes.redeem(&issued[0], now), Err(WrongCode));
        for code in &issued[1..] {
            assert_eq!(codes.redeem(code, now), Ok(()));
        }
    }
}

//! Names of things: small generational handles inside, UUIDs on the wire.

use core::fmt;
use core::str::FromStr;

use crate::slab::Key;

/// A connection, as the hub names it: an index that is used again and a generation that is not.
///
/// Made by [`Hub::connect`](crate::Hub::connect) alone and good until [`Input::Closed`](crate::Input::Closed); after that
/// it is [`Misuse::UnknownConnection`](crate::Misuse::UnknownConnection), also when its place is taken by another. Eight
/// bytes; a map's key, or a label in a log.
///
/// ```
/// use std::collections::BTreeMap;
/// use causerie_core::{Hub, Input, Instant, Options, UnixMicros, limits::Limits};
/// # let options = Options { seed: [7; 32], wall_clock: UnixMicros(0), server: String::new(), limits: Limits::default() };
/// # let mut hub = Hub::new(options);
///
/// let first = hub.connect(Instant::ZERO)?;
/// let mut sockets = BTreeMap::from([(first, "a socket")]);
/// hub.handle(Instant::ZERO, Input::Closed { connection: first })?;
/// sockets.remove(&first);
/// assert_ne!(hub.connect(Instant::ZERO)?, first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) Key);

/// As a label in a log: the index and the generation, as in `3.1`.
impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index, self.0.generation)
    }
}

/// A session's id on the wire. The hub makes it (a random UUID, version 4); storage keeps it.
///
/// ```
/// use causerie_core::{SessionId, Uuid};
///
/// let id = SessionId(Uuid([0xab; 16]));
/// assert_eq!(id.to_string(), "abababab-abab-abab-abab-abababababab");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub Uuid);

/// A message's id on the wire. The hub makes it (a random UUID, version 4); storage keeps it.
///
/// ```
/// use causerie_core::MessageId;
///
/// let id = MessageId("d65af619-c226-4c00-b318-7234fbf10740".parse()?);
/// assert_eq!(id.0.0[0], 0xd6);
/// # Ok::<(), causerie_core::ParseUuidError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub Uuid);

/// A UUID (RFC 9562), shown in lower case with hyphens, parsed in either case.
///
/// The bytes are in the order of the text, as databases keep them.
///
/// ```
/// use causerie_core::{SessionId, Uuid};
///
/// let id: Uuid = "67E55044-10B1-426F-9247-BB680E5FE0C8".parse()?;
/// assert_eq!(id.to_string(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
/// assert_eq!(id.0[..4], [0x67, 0xe5, 0x50, 0x44]);
/// assert_eq!(SessionId(id).to_string(), id.to_string());
/// assert!("67e5504410b1426f9247bb680e5fe0c8".parse::<Uuid>().is_err(), "without hyphens it is not the protocol's");
/// # Ok::<(), causerie_core::ParseUuidError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// Text is not a UUID of 32 hexadecimal digits in five groups with hyphens (RFC 9562, section 4).
///
/// ```
/// let error = "not one".parse::<causerie_core::Uuid>().unwrap_err();
/// assert_eq!(error.to_string(), "not a UUID: expected 32 hexadecimal digits in groups of 8-4-4-4-12");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseUuidError;

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID: expected 32 hexadecimal digits in groups of 8-4-4-4-12")
    }
}

impl core::error::Error for ParseUuidError {}

/// Where groups of a UUID begin, in bytes: a hyphen stands before each.
const GROUPS: [usize; 4] = [4, 6, 8, 10];

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Uuid, ParseUuidError> {
        let text: &[u8; 36] = text.as_bytes().try_into().map_err(|_| ParseUuidError)?;
        let digit = |at: usize| char::from(text[at]).to_digit(16).ok_or(ParseUuidError);
        let mut bytes = [0; 16];
        let mut at = 0;
        for (i, byte) in bytes.iter_mut().enumerate() {
            if GROUPS.contains(&i) {
                if text[at] != b'-' {
                    return Err(ParseUuidError);
                }
                at += 1;
            }
            // Two hexadecimal digits fit a byte.
            *byte = (digit(at)? * 16 + digit(at + 1)?) as u8;
            at += 2;
        }
        Ok(Uuid(bytes))
    }
}

impl Uuid {
    /// Its text: digits and hyphens.
    pub(crate) fn text(&self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in self.0.iter().enumerate() {
            if GROUPS.contains(&i) {
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        text
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.text()).expect("digits and hyphens are ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

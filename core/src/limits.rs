//! Every bound of the core, with its unit and its reason.
//!
//! What an operator may want to move stands in [`Limits`]; what follows from the protocol or from good sense is a
//! constant. Each bound that a peer can meet is answered with an error code of its own, named here.

use core::ops::RangeInclusive;
use core::time::Duration;

/// Bounds that depend on the machine and the people it serves.
///
/// ```
/// use causerie_core::limits::Limits;
///
/// // More may come, so a value begins with the default ones.
/// let mut limits = Limits::default();
/// limits.connections = 100;
/// limits.log_bytes = 65_536;
/// // A frame has room for the longest message, escaped, and its surroundings.
/// assert!(limits.frame_bytes > 6 * limits.message_bytes);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections, of everybody: [`Hub::connect`](crate::Hub::connect) says
    /// [`ConnectError::Full`](crate::ConnectError::Full) beyond.
    pub connections: usize,
    /// Open connections of one user, so that one cannot take all: `too_many_connections` and close 4500.
    pub connections_per_user: usize,
    /// Connections in one session, of all its people: `overloaded`. Each frame of a session goes to all of them, and who
    /// comes or goes is made out among them.
    pub connections_per_session: usize,
    /// Sessions in memory, of everybody: those that somebody is in, and those that wait for storage or for the model:
    /// `overloaded`. More than there are [`connections`](Self::connections), since who leaves may leave work behind.
    pub sessions: usize,
    /// Requests that wait for storage, of everybody: `overloaded`. A change of a session in memory is taken in all the same,
    /// of each one at a time; a slow reader who needs old messages is told that they are missing (`messages_missing`).
    pub requests: usize,
    /// Bytes of a client's frame: close 1009. Room for a message of [`message_bytes`](Self::message_bytes) whose every
    /// character is escaped (six bytes each), and its surroundings; and a message over its own limit is refused, not closed.
    pub frame_bytes: usize,
    /// Bytes of a chat message or a system prompt: `message_too_long`. Some 8,000 tokens, more than small models hold.
    pub message_bytes: usize,
    /// Frames of one connection a second, sustained; twice that in one burst: `too_many_frames`.
    pub frames_per_second: u32,
    /// Chat messages of one user a minute, sustained; half of that in one burst: `rate_limited`.
    pub messages_per_minute: u32,
    /// Sessions that one user may create a minute; as many in one burst: `too_many_sessions`.
    pub sessions_per_minute: u32,
    /// Messages of one session that wait to be stored: `overloaded`. Storage that is slower than people type is
    /// better told than hidden.
    pub queued_messages: usize,
    /// Stored messages of one session that wait for their answer: `overloaded`. At a few seconds an answer nobody
    /// wants to wait longer.
    pub queued_generations: usize,
    /// Messages of one user that wait for their answer, over all sessions: `overloaded`.
    pub generations_per_user: usize,
    /// Messages of everybody that wait to be stored or for their answer: `overloaded`. Whatever storage and the model do,
    /// the memory for it is bounded by this and [`message_bytes`](Self::message_bytes).
    pub waiting_messages: usize,
    /// From connecting to a verdict on the token: close 1008. Verifying takes milliseconds.
    pub handshake: Duration,
    /// From the last frame of a peer to the close with 4000: half-open transports must not pile up. Long, because a
    /// base client that only listens never sends anything.
    pub idle: Duration,
    /// Bytes of recent frames that a session keeps for slow readers and for resuming; who is further behind is served
    /// from storage.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 20_000,
            connections_per_user: 64,
            connections_per_session: 1_024,
            sessions: 32_768,
            requests: 65_536,
            frame_bytes: 262_144,
            message_bytes: 32_768,
            frames_per_second: 100,
            messages_per_minute: 240,
            sessions_per_minute: 60,
            queued_messages: 16,
            queued_generations: 8,
            generations_per_user: 16,
            waiting_messages: 16_384,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(4 * 3600),
            log_bytes: 262_144,
        }
    }
}

/// Levels of objects and arrays in a client's frame: `too_deeply_nested`. The protocol needs 3.
pub const NESTING: usize = 16;

/// Fields of one object in a client's frame: `invalid_json`. The protocol's largest has 10.
pub const FIELDS: usize = 64;

/// Bytes of a field that names something, as `type` or a UUID: `invalid_field`.
pub const FIELD_BYTES: usize = 256;

/// Bytes of a client's `id`, which is echoed as `ref`: `invalid_field`. Room for a UUID and a prefix.
pub const REF_BYTES: usize = 128;

/// Bytes of a `client_id`: `invalid_field`. Room for a UUID and a prefix.
pub const CLIENT_ID_BYTES: usize = 128;

/// Bytes of a session's title: `title_too_long`. One line on a screen.
pub const TITLE_BYTES: usize = 256;

/// Bytes of a username in an invitation: `username_too_long`.
pub const USERNAME_BYTES: usize = 128;

/// Bytes of a user's id, which stands in frames and in records: `authentication_failed` and close 1008, as for a username of
/// more than [`USERNAME_BYTES`]. Room for a UUID or a name with its domain.
pub const USER_ID_BYTES: usize = 256;

/// Bytes of a reason or a name that the runtime tells and people are shown: why a token was refused, which model there is.
/// The rest is cut off.
pub const REASON_BYTES: usize = 1_024;

/// Bytes of a token in an `authenticate` frame: `token_too_long`. Real ones have some 300, with large claims 4,000.
pub const TOKEN_BYTES: usize = 8_192;

/// People who may use one session, members and invited together: `too_many_members`. A session's state stays small.
pub const MEMBERS: usize = 256;

/// Messages of one page of history; a larger `limit` gets this many.
pub const PAGE_MESSAGES: u32 = 100;

/// Messages of one page of history where the client does not say.
pub const PAGE_MESSAGES_DEFAULT: u32 = 50;

/// Bytes of text in one page of history: a page of long messages has fewer of them, and says that there are more.
pub const PAGE_BYTES: usize = 262_144;

/// Sessions of one `session_list`; a larger `limit` gets this many.
pub const LISTED_SESSIONS: u32 = 200;

/// Sessions that `/sessions` shows.
pub const COMMAND_SESSIONS: u32 = 10;

/// Bytes of an assistant's message; a generation that goes beyond is cancelled and ends with `length`. At four bytes a
/// token twice the largest [`MAX_TOKENS`].
pub const ANSWER_BYTES: usize = 262_144;

/// Bytes of text in one `message_delta`: who lags far behind gets several, so that no frame is large.
pub const DELTA_BYTES: usize = 16_384;

/// Frames of one connection that wait for a verdict on its token or for its session: then reading is paused.
pub const HELD_FRAMES: usize = 32;

/// Replies to one connection that wait for its credit: then reading is paused, so the peer's own requests stop.
pub const REPLIES: usize = 64;

/// Bytes of replies to one connection that wait for its credit: then reading is paused.
pub const REPLY_BYTES: usize = 65_536;

/// How often its soft limit a connection's queue may grow before a frame is [`Misuse`](crate::Misuse): room for a
/// runtime that handles a batch of frames before it drains.
pub const PAUSED_FACTOR: usize = 16;

/// Storage reads of one connection in flight: `overloaded`. Pages and lists are for people, who ask for one at a time.
pub const REQUESTS_PER_CONNECTION: u16 = 16;

/// Changes of one session's title, members and end that wait for storage: `overloaded`.
pub const QUEUED_CHANGES: usize = 64;

/// Requests that wait for one session to be loaded, of everybody: `overloaded`. Loading takes milliseconds.
pub const ERRANDS: usize = 1_024;

/// Requests of those that are served, or turned away, in one call once the session is there: the rest has its turn with
/// the next calls of [`Hub::poll`](crate::Hub::poll).
pub const ERRANDS_AT_ONCE: usize = 32;

/// Deadlines that happen in one call of [`Hub::handle`](crate::Hub::handle) or [`Hub::poll`](crate::Hub::poll): where more
/// have come, the rest happens with the next calls. Each may make a frame or two, so that a call takes some ten
/// microseconds.
pub const DEADLINES: usize = 32;

/// Deadlines that are moved in one call to where they are looked for next. Each takes some nanoseconds.
pub const DEADLINE_MOVES: usize = 1_024;

/// Connections or generations that a drain visits in one call.
pub const DRAIN_STEPS: usize = 32;

/// Users without a connection who are remembered until their rates have recovered. Beyond, those whose rates would recover
/// the soonest are forgotten first, which forgives the least. Some 8 MB.
pub const REMEMBERED_USERS: usize = 16_384;

/// Messages that a reader far behind fetches from storage at once: they wait for its credit whole.
pub const FETCHED_MESSAGES: u32 = 4;

/// Entries of a session's log, whatever their size.
pub const LOG_ENTRIES: usize = 1_024;

/// After this time without a frame a session forgets its log, if everybody has had all of it: whoever comes back later
/// gets the messages that were missed from storage. Nearly all who lose their connection are back sooner.
pub const LOG_KEPT: Duration = Duration::from_secs(120);

/// Pieces of output of one call of [`Hub::poll`](crate::Hub::poll): its work is bounded, so sockets are not starved.
pub const POLL_PIECES: usize = 32;

/// Before a token's expiry its owner is told so, with the notice `token_expiring`.
pub const EXPIRY_NOTICE: Duration = Duration::from_secs(60);

/// A person's `typing` ends after this time unless it is told again.
pub const TYPING: Duration = Duration::from_secs(6);

/// Before a drain's end running generations are cancelled, so that their text is stored and sent.
pub const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Temperatures accepted: `invalid_field`. Above 5 every model is noise.
pub const TEMPERATURE: RangeInclusive<f64> = 0.0..=5.0;

/// Probabilities accepted for `top_p` and `min_p`: `invalid_field`.
pub const PROBABILITY: RangeInclusive<f64> = 0.0..=1.0;

/// Repetition penalties accepted: `invalid_field`. It divides logits, so 0 is not among them.
pub const REPETITION_PENALTY: RangeInclusive<f64> = 0.1..=10.0;

/// `max_tokens` accepted, and the largest answer: `invalid_field`.
pub const MAX_TOKENS: u32 = 32_768;

/// Integers accepted anywhere: those that every JSON implementation keeps exactly (RFC 8259, section 6).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Stop strings of one message: `invalid_field`.
pub const STOP_STRINGS: usize = 8;

/// Bytes of one stop string: `invalid_field`.
pub const STOP_BYTES: usize = 64;

/// Bytes of a close reason: what RFC 6455 leaves of a control frame (section 5.5).
pub const CLOSE_REASON_BYTES: usize = 123;

/// As much of the beginning of a text as `bytes` hold.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

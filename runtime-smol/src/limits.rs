//! Every bound of the runtime, with its unit and its reason. What a frame, a message or a queue of the protocol may
//! hold is the core's to say: see `causerie_core::limits`.

use std::time::Duration;

/// Bytes of a file with settings: a hundred times what all of them with their explanations take.
pub const CONFIG_FILE_BYTES: u64 = 1024 * 1024;

/// TCP connections open at once, HTTP and WebSocket together. An idle one costs some 4 KiB here (11 with TLS) and
/// a few in the kernel, so that all of them fit into a small machine's memory; further ones are answered 503.
pub const SOCKETS: usize = 16_384;

/// Bytes of an HTTP request's line and headers: a token of 8 KiB (large for a JWT) and what browsers add.
pub const HTTP_HEADER_BYTES: usize = 16 * 1024;

/// Header fields of an HTTP request; browsers send some twenty.
pub const HTTP_HEADERS: usize = 64;

/// Bytes of an HTTP request's body: the largest is the login code's JSON, of some 60 bytes.
pub const HTTP_BODY_BYTES: usize = 4 * 1024;

/// Characters of what is looked for in chats: a sentence; the field for it takes no more either.
pub const SEARCH_CHARACTERS: usize = 200;

/// From the opening of a connection, or the last answer on it, to the last byte of the next request's headers.
pub const HTTP_HEADER_TIME: Duration = Duration::from_secs(10);

/// From a request's headers to the last byte of its body.
pub const HTTP_BODY_TIME: Duration = Duration::from_secs(10);

/// Bytes of bodies that have come and of which there is more to come, of all connections together: the largest of sixty-four clients of the
/// API, or all of [`SOCKETS`] that log in at once. What would go beyond is refused, however many sockets somebody has.
pub const HTTP_BODIES_BYTES: usize = 64 << 20;

/// A body that is too large is read and thrown away until nothing of it has come for so long, or [`LINGER_BYTES`] have.
pub const HTTP_DISCARD_PAUSE: Duration = Duration::from_millis(250);

/// How long one connection may go on speaking HTTP, unless an answer is being made for it: bounds a client that asks and
/// then reads a byte a minute.
pub const HTTP_CONNECTION_TIME: Duration = Duration::from_secs(120);

/// Pieces of a streamed answer that wait for their socket: of a token each, some seconds of text.
pub const HTTP_STREAM_CHUNKS: usize = 64;

/// How long a streamed answer waits for a client that takes nothing, before it is given up: as long as a WebSocket's.
pub const HTTP_STREAM_STALL: Duration = PEER_SILENCE;

/// Bytes of a request's id that is taken over from a client or a proxy: two UUIDs, or any trace id.
pub const REQUEST_ID_BYTES: usize = 80;

/// Bytes of a path that are logged.
pub const LOGGED_PATH_BYTES: usize = 256;

/// From the opening of a connection to the end of its TLS handshake.
pub const TLS_HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// TLS handshakes under way at once, from a client's first byte on: each takes some 40 KiB and up to a millisecond. More
/// than these wait for slow clients only under attack, and then the newest are dropped.
pub const TLS_HANDSHAKES: usize = 512;

/// Bytes of a PEM file with certificates or a key: a chain of some twenty.
pub const TLS_FILE_BYTES: u64 = 256 * 1024;

/// How often it is looked whether files of certificates and keys have changed.
pub const RELOAD_LOOK: Duration = Duration::from_secs(2);

/// Pause of the accept loop after an error such as "too many open files", so that it does not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes reserved for reading one WebSocket, for as long as it is open. Nearly all frames of clients are smaller; a
/// larger one grows the buffer and is read in pieces of this size.
pub const READ_BUFFER_BYTES: usize = 256;

/// Reads of one WebSocket, each of at most [`READ_BUFFER_BYTES`], before the others have their turn: some seven hundred
/// of the smallest frames, which take less than a millisecond.
pub const READS_PER_TURN: u8 = 16;

/// Bytes gathered before a write to the socket. Every frame is flushed, so that this only joins a frame and a pong.
pub const WRITE_BUFFER_BYTES: usize = 1024;

/// Bytes of frames that wait for one socket, granted to the core as credit: a page of history, or some minutes of
/// streamed text. Beyond it the core keeps what a slow reader is to get, in one copy for all.
pub const OUTBOX_CREDIT_BYTES: u32 = 64 * 1024;

/// Frames that wait for one socket. The credit bounds their bytes; this bounds the bookkeeping of very short ones.
/// A connection that exceeds it is dropped.
pub const OUTBOX_FRAMES: usize = 2048;

/// Written bytes are told to the core in steps of at least this many, not frame by frame.
pub const CREDIT_STEP_BYTES: u32 = OUTBOX_CREDIT_BYTES / 8;

/// Bytes of one socket that the kernel holds for a peer that does not read: so that the core learns soon that a
/// reader is slow, and many such readers do not take the kernel's memory.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Frames of all sockets that wait for the hub. When it is full the readers wait, each with one frame, and come on in
/// the order in which they began to wait: a peer that floods gets one turn as everybody else does.
pub const ARRIVALS: usize = 256;

/// Inputs of one source that the hub is given before its output is drained and the others have their turn.
pub const INPUTS_PER_TURN: usize = 64;

/// Calls of `Hub::poll` before the sockets have their turn; each does bounded work.
pub const POLLS_PER_TURN: usize = 64;

/// Pings of RFC 6455 go out this often: shorter than the idle times of common proxies (60 s).
pub const PING_INTERVAL: Duration = Duration::from_secs(25);

/// A peer of which nothing came for this long, not even a pong, and that took nothing either while we had more for it
/// than the kernel holds, is gone. Three pings.
pub const PEER_SILENCE: Duration = Duration::from_secs(80);

/// From our close frame to the peer's, and from the peer's to the end of the socket.
pub const CLOSE_TIME: Duration = Duration::from_secs(3);

/// From the hub's wish to close a socket to its end, whatever the peer does or leaves: what was queued before has this
/// long to go out, the close frame and its answer included.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// Bytes read and thrown away after a violation or a close, so that the peer gets our last frames before a reset: one
/// frame of the size that people try servers with (10 MiB), and its surroundings.
pub const LINGER_BYTES: u64 = 16 * 1024 * 1024;

/// From a request to stop to the end of the process, when nobody asks twice. Container runtimes commonly kill after 10 s.
pub const DRAIN_TIME: Duration = Duration::from_secs(8);

/// What a refused client is told to wait, in seconds (RFC 9110, 10.2.3): a restart takes less.
pub const RETRY_AFTER: &str = "5";

/// How often it is looked whether the last answer over HTTP has ended, once the server is stopping.
pub const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// After storage has failed, how long `/ready` says so if nothing has been stored since: others come meanwhile, and
/// somebody has to try again.
pub const STORAGE_ILL_TIME: Duration = Duration::from_secs(10);

/// What is left of [`DRAIN_TIME`] for close frames and the last commits, after the core's part of it.
pub const DRAIN_CLOSE_TIME: Duration = Duration::from_secs(2);

/// What connections have to hear of the end when no answer is running: for acknowledgements on their way.
pub const DRAIN_IDLE_TIME: Duration = Duration::from_millis(300);

/// From the end of the drain to the end of the process, if the inference thread takes that long: for the step that it is
/// in, and for saving what was computed, which takes half a second for 256 MiB. With [`DRAIN_TIME`] less than ten seconds.
pub const SAVE_TIME: Duration = Duration::from_millis(1_900);

/// Without work for so long, the inference thread saves what has been computed, in pieces of some milliseconds: what a
/// conversation that goes on would have to wait for. After a crash, so much of it is lost.
pub const SAVE_PAUSE: Duration = Duration::from_secs(2);

/// Replies of storage that wait for the hub; when it is full, the thread of storage waits, which the hub never does for
/// it. Each may hold a page of history: together some 16 MiB.
pub const STORE_REPLIES: usize = 64;

/// Generations with the inference thread, running or waiting; they are answered in the order in which they came. Further ones
/// fail as overloaded, and then it is luck who comes at the right moment, so there is room for a thousand people who ask
/// at once: with ten short answers a second the last of them waits some two minutes. (With 256, half of a thousand clients
/// that asked again and again got nothing in a minute and a half.)
pub const WORKER_GENERATIONS: usize = 1024;

/// Bytes of the conversations of these generations: a quarter of a MiB each, were they all so long. The longest that storage
/// gives still fits.
pub const WORKER_CONVERSATION_BYTES: usize = 256 << 20;

/// Tasks of the API with the inference thread, running or waiting. Further ones are refused, and their clients try again.
pub const WORKER_TASKS: usize = 256;

/// Bytes of what these tasks go on from: a quarter of a MiB each.
pub const WORKER_TASK_BYTES: usize = 64 << 20;

/// Events of the inference thread that wait for the hub; when it is full, the thread waits.
pub const WORKER_EVENTS: usize = 1024;

/// Models that are loaded at once, the chat's included. Each has a thread and a cache of its own, of up to half a GiB.
pub const MODELS: usize = 4;

/// A model that came by a request for its name goes when nobody has asked for it for so long: as with other servers of
/// models.
pub const MODEL_IDLE: Duration = Duration::from_secs(5 * 60);

/// How long a model that is to go may still answer what it was asked.
pub const MODEL_UNLOAD: Duration = Duration::from_secs(60);

/// How often a server without a model looks whether its file is there now.
pub const MODEL_LOOK: Duration = Duration::from_secs(3);

/// How long it waits before it tries to fetch one again.
pub const MODEL_FETCH_RETRY: Duration = Duration::from_secs(60);

/// Between a failure of the engine and its next start, so that one that fails at once does not spin.
pub const ENGINE_PAUSE: Duration = Duration::from_secs(1);

/// How often the progress of fetching is told.
pub const FETCH_PROGRESS: Duration = Duration::from_millis(250);

/// Tokens of an answer when the client does not say: some 750 English words.
pub const DEFAULT_ANSWER_TOKENS: u32 = 1024;

/// A login link works this long after it was printed.
pub const LOGIN_TIME: Duration = Duration::from_secs(60 * 60);

/// Login links that are valid at once; an older one is forgotten when a further one is printed.
pub const LOGIN_CODES: usize = 4;

/// How long a token lives that `/api/login` or `/api/token` gives. The page fetches a fresh one before it ends.
pub const TOKEN_TIME: Duration = Duration::from_secs(12 * 60 * 60);

/// From a login to the end of the last token that it is renewed with: one that was stolen does not work for ever.
pub const LOGIN_RENEWED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often the server looks whether `causerie user` or `causerie key` has changed something; what it must not go on
/// with ends so soon.
pub const CHANGES_LOOK: Duration = Duration::from_secs(1);

/// Bytes of a request to the API: a conversation that fills a context of 128 Ki tokens, twice. Some milliseconds of
/// parsing, during which the network thread does nothing else.
pub const API_BODY_BYTES: usize = 1 << 20;

/// Messages of a request to the API, and parts of a message: each has some bytes of its own.
pub const API_MESSAGES: usize = 4096;

/// Tools of a request, as many as OpenAI's service takes.
pub const API_TOOLS: usize = 128;

/// Answers that one request may ask for at once, to all its prompts together.
pub const API_CHOICES: u32 = 32;

/// How long a request waits for the first that comes of it before its answer is begun: what is wrong with a request is
/// known by then and has a status of its own, while a model that is busy is waited for in the answer.
pub const API_FIRST_EVENT: Duration = Duration::from_secs(2);

/// Between signs of life in an answer of which nothing else comes: proxies end what is silent for a minute.
pub const API_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// When a client is told to try again that came while the model had too much to do.
pub const API_RETRY: Duration = Duration::from_secs(5);

/// Characters of a client's own words that messages repeat.
pub const API_SHOWN_CHARS: usize = 100;

/// Between two looks for what is too old to be kept.
pub const EXPIRY_LOOK: Duration = Duration::from_secs(60 * 60);

/// From the start to the first of these looks, and between two steps of one, so that others have their turn.
pub const EXPIRY_PAUSE: Duration = Duration::from_secs(1);

/// How long an invitation is valid when nobody says: a week, in which somebody reads their mail.
pub const INVITATION_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Refused tokens, keys and login codes that the audit log takes in a minute; the metrics count all of them.
pub const AUDIT_REFUSALS_A_MINUTE: u32 = 30;

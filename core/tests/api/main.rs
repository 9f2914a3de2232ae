//! What holds for the whole public interface, and what it is.

mod surface;

use std::error::Error;
use std::fmt::Debug;
use std::panic::UnwindSafe;

use causerie_core::*;

/// A runtime may keep it where it likes: with another thread, in a log's message, beyond a caught panic.
fn assert_movable<T: Send + Sync + Unpin + UnwindSafe + Debug + 'static>() {}

#[test]
fn everything_can_be_sent_shared_and_shown() {
    assert_movable::<Hub>();
    assert_movable::<Options>();
    assert_movable::<limits::Limits>();
    assert_movable::<Input<'static>>();
    assert_movable::<Output<'static>>();
    assert_movable::<Write<'static>>();
    assert_movable::<Query<'static>>();
    assert_movable::<Loaded>();
    assert_movable::<(ConnectionId, RequestId, GenerationId, SessionId, MessageId, Uuid)>();
    assert_movable::<(Member, MessageRecord, MessageRole, SessionRecord, SessionSummary)>();
    assert_movable::<(Identity, Role, Violation, Sampling, Usage, Timings)>();
    assert_movable::<(FinishReason, GenerationFailure, GenerationNotice, Reason, Counts)>();
    assert_movable::<(Instant, UnixMicros, ErrorCode, NoticeCode, CloseCode)>();
}

#[test]
fn errors_are_errors() {
    fn assert_error<T: Error + Copy + Eq + Send + Sync + 'static>() {}
    assert_error::<Misuse>();
    assert_error::<ConnectError>();
    assert_error::<ParseUuidError>();
    assert_error::<UnknownCode>();
}

#[test]
fn what_is_shown_of_a_hub_keeps_its_secrets() {
    let (seed, server, limits) = ([251; 32], String::from("s"), limits::Limits::default());
    let options = Options { seed, wall_clock: UnixMicros(0), server, limits };
    assert!(!format!("{options:?}").contains("251"), "{options:?}");
    let mut hub = Hub::new(options);
    let connection = hub.connect(Instant::ZERO).expect("room");
    let text = r#"{"type":"authenticate","token":"a secret"}"#;
    hub.handle(Instant::ZERO, Input::Frame { connection, text }).expect("open");
    let shown = format!("{hub:?}");
    assert!(!shown.contains("secret") && shown.contains("connections: 1"), "{shown}");
}

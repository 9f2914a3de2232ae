//! Any frame of a client that keeps the limits, for the tests of agreement.

use alloc::string::String;
use alloc::vec;
use core::ops::RangeInclusive;

use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::id::{MessageId, SessionId, Uuid};
use crate::limits;

pub(super) fn uuid() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(Uuid)
}

pub(super) fn message_id() -> impl Strategy<Value = MessageId> {
    uuid().prop_map(MessageId)
}

pub(super) fn session_id() -> impl Strategy<Value = SessionId> {
    uuid().prop_map(SessionId)
}

/// Text of at most so many bytes, whatever the characters; often of exactly as many.
pub(super) fn text(limit: usize) -> impl Strategy<Value = String> {
    let any_text = any::<String>().prop_map(move |text| String::from(&text[..text.floor_char_boundary(limit)]));
    prop_oneof![4 => any_text, 1 => Just("x".repeat(limit))]
}

/// A title that is one line already.
fn title() -> impl Strategy<Value = String> {
    "[a-zäß😀\"\\\\][a-z é\"\\\\😀]{0,20}[a-z]".prop_map(String::from)
}

fn said(limit: usize) -> impl Strategy<Value = String> {
    text(limit).prop_filter("not only white space", |text| !text.trim().is_empty())
}

fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![Just(limits::MAX_INTEGER), 0..=limits::MAX_INTEGER]
}

fn frame_id() -> impl Strategy<Value = FrameId> {
    prop_oneof![text(limits::REF_BYTES).prop_map(FrameId::Text), any::<u64>().prop_map(FrameId::from)]
}

fn since() -> impl Strategy<Value = Since> {
    (text(limits::FIELD_BYTES), integer(), of(message_id()), of(integer()))
        .prop_map(|(epoch, seq, message_id, offset)| Since { epoch, seq, message_id, offset })
}

/// Of few digits: serde_json reads others to the last bit only where another crate of the build switches that on.
fn within(range: &RangeInclusive<f64>) -> impl Strategy<Value = f64> + use<> {
    let (least, most) = (*range.start(), *range.end());
    let between = (0..=1_000_u16).prop_map(move |part| {
        let value = least + (most - least) * f64::from(part) / 1_000.0;
        (value * 1_024.0).round() / 1_024.0
    });
    prop_oneof![Just(least), Just(most), between.prop_map(move |value| value.clamp(least, most))]
}

fn stop() -> impl Strategy<Value = Stop> {
    let one = text(limits::STOP_BYTES).prop_filter("not empty", |text| !text.is_empty()).boxed();
    prop_oneof![
        one.clone().prop_map(Stop::One),
        proptest::collection::vec(one, 0..=limits::STOP_STRINGS).prop_map(Stop::Many)
    ]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let shape = (of(within(&limits::TEMPERATURE)), of(any::<u32>()), of(within(&limits::PROBABILITY)));
    let rest = (of(within(&limits::PROBABILITY)), of(within(&limits::REPETITION_PENALTY)), of(1..=limits::MAX_TOKENS));
    (shape, rest, of(integer()), of(stop())).prop_map(
        |((temperature, top_k, top_p), (min_p, repetition_penalty, max_tokens), seed, stop)| Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            max_tokens,
            seed,
            stop,
        },
    )
}

/// Any frame of a client.
pub(super) fn client_frame(message_bytes: usize) -> impl Strategy<Value = ClientFrame> {
    let id = || of(frame_id());
    let client_id = || of(text(limits::CLIENT_ID_BYTES));
    let chat = (id(), said(message_bytes), client_id(), of(message_id()), of(sampling())).prop_map(
        |(id, message, client_id, parent, sampling)| client::ChatMessage { id, message, client_id, parent, sampling },
    );
    let edit = (id(), message_id(), said(message_bytes), client_id(), of(sampling())).prop_map(
        |(id, message_id, message, client_id, sampling)| client::EditMessage {
            id,
            message_id,
            message,
            client_id,
            sampling,
        },
    );
    let username = "[^ \\pC]{1,40}".prop_map(String::from);
    prop_oneof![
        (id(), session_id(), of(since())).prop_map(|(id, session_id, since)| ClientFrame::JoinSession(
            client::JoinSession { id, session_id, since }
        )),
        chat.prop_map(ClientFrame::ChatMessage),
        id().prop_map(|id| ClientFrame::Ping(client::Ping { id })),
        (id(), of(title()), of(text(message_bytes)))
            .prop_map(|(id, title, system)| ClientFrame::CreateSession(client::CreateSession { id, title, system })),
        id().prop_map(|id| ClientFrame::LeaveSession(client::LeaveSession { id })),
        (id(), of(message_id()))
            .prop_map(|(id, message_id)| ClientFrame::StopGeneration(client::StopGeneration { id, message_id })),
        (id(), of(message_id()), of(sampling())).prop_map(|(id, message_id, sampling)| {
            ClientFrame::Regenerate(client::Regenerate { id, message_id, sampling })
        }),
        edit.prop_map(ClientFrame::EditMessage),
        (id(), of(integer()), of(integer())).prop_map(|(id, before, limit)| ClientFrame::History(client::History {
            id,
            before,
            limit
        })),
        (id(), any::<bool>()).prop_map(|(id, is_typing)| ClientFrame::Typing(client::Typing { id, is_typing })),
        (id(), username).prop_map(|(id, username)| ClientFrame::Invite(client::Invite { id, username })),
        (id(), title(), of(session_id())).prop_map(|(id, title, session_id)| {
            ClientFrame::RenameSession(client::RenameSession { id, title, session_id })
        }),
        (id(), of(session_id()))
            .prop_map(|(id, session_id)| ClientFrame::DeleteSession(client::DeleteSession { id, session_id })),
        (id(), of(integer())).prop_map(|(id, limit)| ClientFrame::ListSessions(client::ListSessions { id, limit })),
        (id(), text(limits::TOKEN_BYTES))
            .prop_map(|(id, token)| ClientFrame::Authenticate(client::Authenticate { id, token })),
    ]
}

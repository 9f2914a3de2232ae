//! Every frame that the server sends.

use alloc::boxed::Box;
use alloc::string::String;

use super::encode::Frame;
use super::kind::ServerKind as Kind;
use crate::code::NoticeCode;
use crate::event::{FinishReason, Role, Timings, Usage};
use crate::id::{MessageId, SessionId};
use crate::record::{Member, MessageRecord, MessageRole, SessionRecord, SessionSummary};
use crate::refusal::Refusal;
use crate::time::UnixMicros;

/// What a frame answers and where it belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context<'a> {
    /// The client's `id` of the frame answered, as JSON text.
    pub(crate) reference: Option<&'a str>,
    pub(crate) session: Option<SessionId>,
}

fn begin<'a>(out: &'a mut String, kind: Kind, context: Context<'_>, now: UnixMicros) -> Frame<'a> {
    Frame::new(out, kind)
        .time("timestamp", now)
        .maybe(context.session, |f, s| f.id("session_id", s.0))
        .maybe(context.reference, |f, json| f.raw("ref", json))
}

pub(crate) fn connection_established(out: &mut String, user_id: &str, username: &str, role: Role, now: UnixMicros) {
    let mut message = String::from("Connected as ");
    message.push_str(username);
    Frame::new(out, Kind::ConnectionEstablished)
        .string("message", &message)
        .string("user_id", user_id)
        .time("timestamp", now)
        .string("username", username)
        .string("role", role_name(role))
        .end();
}

/// `error`; `message` names the answer that clients drop, `detail` says more than the base protocol's text.
pub(crate) fn error(
    out: &mut String,
    context: Context<'_>,
    now: UnixMicros,
    refusal: &Refusal,
    message: Option<MessageId>,
    detail: Option<&str>,
) {
    begin(out, Kind::Error, context, now)
        .string("message", &refusal.message)
        .plain("code", refusal.code.as_str())
        .bool("retryable", refusal.code.retryable())
        .maybe(refusal.retry_after_ms, |f, ms| f.number("retry_after_ms", ms))
        .maybe(message, |f, id| f.id("message_id", id.0))
        .maybe(detail, |f, text| f.string("detail", text))
        .end();
}

pub(crate) fn pong(out: &mut String, context: Context<'_>, now: UnixMicros) {
    begin(out, Kind::Pong, context, now).end();
}

/// How a joined session stands.
pub(crate) struct Joined<'a, I> {
    pub(crate) session: &'a SessionRecord,
    pub(crate) epoch: &'a str,
    pub(crate) resumed: bool,
    pub(crate) participants: I,
}

pub(crate) fn session_joined<'a>(
    out: &mut String,
    reference: Option<&str>,
    now: UnixMicros,
    joined: Joined<'_, impl IntoIterator<Item = (&'a str, &'a str)>>,
) {
    let session = joined.session;
    begin(out, Kind::SessionJoined, Context { reference, session: Some(session.id) }, now)
        .string("session_title", &session.title)
        .plain("epoch", joined.epoch)
        .number("seq", session.last_seq)
        .bool("resumed", joined.resumed)
        .string("owner", &session.owner)
        .maybe(session.last_message, |f, id| f.id("last_message", id.0))
        .array("participants", joined.participants, push_participant)
        .end();
}

fn push_participant(out: &mut String, (user_id, username): (&str, &str)) {
    Frame::nested(out, "user_id", user_id).string("username", username).end();
}

pub(crate) fn message(out: &mut String, record: &MessageRecord, timings: Option<Timings>) {
    begin(out, Kind::Message, Context { reference: None, session: Some(record.session) }, record.created)
        .id("id", record.id.0)
        .plain("role", message_role(record.role))
        .string("content", &record.content)
        .number("seq", record.seq)
        .maybe(record.parent, |f, id| f.id("parent", id.0))
        .maybe(record.author.as_ref(), |f, author| {
            f.string("user_id", &author.user_id).string("username", &author.username)
        })
        .maybe(record.client_id.as_deref(), |f, id| f.string("client_id", id))
        .maybe(record.finish_reason, |f, reason| f.plain("finish_reason", finish_reason(reason)))
        .maybe(record.usage, |f, usage| f.object("usage", |out| push_usage(out, usage)))
        .maybe(timings, |f, timings| f.object("timings", |out| push_timings(out, timings)))
        .end();
}

fn push_usage(out: &mut String, usage: Usage) {
    Frame::first_number(out, "prompt_tokens", u64::from(usage.prompt_tokens))
        .number("cached_tokens", u64::from(usage.cached_tokens))
        .number("completion_tokens", u64::from(usage.completion_tokens))
        .end();
}

fn push_timings(out: &mut String, timings: Timings) {
    Frame::first_decimal(out, "first_token_ms", timings.first_token_ms)
        .decimal("tokens_per_second", timings.tokens_per_second)
        .end();
}

pub(crate) fn message_delta(out: &mut String, session: SessionId, message: MessageId, offset: usize, text: &str) {
    end_delta(begin_delta(out, session, message), offset, text);
}

/// What all deltas of an answer begin with: a token is told a hundred times as often as an answer begins.
pub(crate) fn delta_beginning(session: SessionId, message: MessageId) -> Box<str> {
    let mut beginning = String::new();
    begin_delta(&mut beginning, session, message);
    beginning.into_boxed_str()
}

/// As [`message_delta`], after what [`delta_beginning`] made.
pub(crate) fn next_delta(out: &mut String, beginning: &str, offset: usize, text: &str) {
    end_delta(Frame::after(out, beginning), offset, text);
}

fn begin_delta(out: &mut String, session: SessionId, message: MessageId) -> Frame<'_> {
    Frame::new(out, Kind::MessageDelta).id("session_id", session.0).id("message_id", message.0)
}

#[inline]
fn end_delta(frame: Frame<'_>, offset: usize, text: &str) {
    frame.number("offset", offset as u64).string("content", text).end();
}

/// Who is typing.
pub(crate) enum Typist<'a> {
    /// Its message to come, and the one that this answers, where that is known.
    Assistant {
        message: MessageId,
        parent: Option<MessageId>,
    },
    User(&'a Member),
}

pub(crate) fn typing(out: &mut String, session: SessionId, now: UnixMicros, who: &Typist<'_>, is_typing: bool) {
    let frame = begin(out, Kind::Typing, Context { reference: None, session: Some(session) }, now);
    let frame = frame.bool("is_typing", is_typing);
    match who {
        Typist::Assistant { message, parent } => frame
            .plain("role", "assistant")
            .id("message_id", message.0)
            .maybe(parent.filter(|_| is_typing), |f, id| f.id("parent", id.0)),
        Typist::User(user) => frame.string("user_id", &user.user_id).string("username", &user.username),
    }
    .end();
}

pub(crate) fn ack(
    out: &mut String,
    context: Context<'_>,
    now: UnixMicros,
    client_id: Option<&str>,
    message: MessageId,
    seq: u64,
) {
    begin(out, Kind::Ack, context, now)
        .maybe(client_id, |f, id| f.string("client_id", id))
        .id("message_id", message.0)
        .number("seq", seq)
        .end();
}

pub(crate) fn command_response(out: &mut String, context: Context<'_>, now: UnixMicros, command: &str, content: &str) {
    begin(out, Kind::CommandResponse, context, now).string("command", command).string("content", content).end();
}

pub(crate) fn presence<'a>(
    out: &mut String,
    session: SessionId,
    now: UnixMicros,
    who: &Member,
    joined: bool,
    participants: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    begin(out, Kind::Presence, Context { reference: None, session: Some(session) }, now)
        .string("user_id", &who.user_id)
        .string("username", &who.username)
        .plain("event", if joined { "joined" } else { "left" })
        .array("participants", participants, push_participant)
        .end();
}

pub(crate) fn session_left(out: &mut String, context: Context<'_>, now: UnixMicros) {
    begin(out, Kind::SessionLeft, context, now).end();
}

pub(crate) fn session_ended(out: &mut String, context: Context<'_>, now: UnixMicros, by: &str) {
    let mut message = String::from("Session ended by ");
    message.push_str(by);
    begin(out, Kind::SessionEnded, context, now).string("message", &message).end();
}

pub(crate) fn session_deleted(out: &mut String, context: Context<'_>, now: UnixMicros) {
    begin(out, Kind::SessionDeleted, context, now).end();
}

pub(crate) fn session_renamed(out: &mut String, context: Context<'_>, now: UnixMicros, title: &str) {
    begin(out, Kind::SessionRenamed, context, now).string("session_title", title).end();
}

pub(crate) fn invited(out: &mut String, context: Context<'_>, now: UnixMicros, title: &str, username: &str, by: &str) {
    begin(out, Kind::Invited, context, now)
        .string("session_title", title)
        .string("username", username)
        .string("by", by)
        .end();
}

pub(crate) fn notice(out: &mut String, context: Context<'_>, now: UnixMicros, code: NoticeCode, message: &str) {
    begin(out, Kind::Notice, context, now).plain("code", code.as_str()).string("message", message).end();
}

pub(crate) fn session_list(out: &mut String, context: Context<'_>, now: UnixMicros, sessions: &[SessionSummary]) {
    begin(out, Kind::SessionList, context, now)
        .array("sessions", sessions, |out, s| {
            Frame::nested(out, "session_title", &s.title)
                .id("session_id", s.id.0)
                .string("owner", &s.owner)
                .time("created", s.created)
                .time("active", s.active)
                .maybe(s.ended, |f, at| f.time("ended", at))
                .number("messages", s.messages)
                .end();
        })
        .end();
}

pub(crate) fn history_page(
    out: &mut String,
    context: Context<'_>,
    now: UnixMicros,
    messages: &[MessageRecord],
    more: bool,
) {
    let mut one = String::new();
    begin(out, Kind::HistoryPage, context, now)
        .array("messages", messages, |out, record| {
            message(&mut one, record, None);
            out.push_str(&one);
        })
        .bool("more", more)
        .end();
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Admin => "admin",
    }
}

fn message_role(role: MessageRole) -> &'static str {
    match role {
        MessageRole::User => "user",
        MessageRole::Assistant => "assistant",
        MessageRole::System => "system",
    }
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Stopped => "stopped",
        FinishReason::Error => "error",
    }
}

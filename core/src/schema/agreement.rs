//! The types here, the decoder and the encoder mean the same frames.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::strategy::{client_frame, message_id, session_id, text};
use super::*;
use crate::code::{ErrorCode, NoticeCode};
use crate::event::{self, FinishReason as Ending};
use crate::id::{MessageId, SessionId};
use crate::record::{Member, MessageRecord, MessageRole, SessionRecord, SessionSummary};
use crate::refusal::Refusal;
use crate::time::UnixMicros;
use crate::wire::decode::{self, ClientFrame as Decoded};
use crate::wire::frames::{self, Context, Joined, Typist};
use crate::wire::kind::ServerKind;

/// So that texts at the limit stay short.
const MESSAGE_BYTES: usize = 300;

fn sampling(sampling: Option<&Sampling>) -> crate::Sampling {
    let Some(sampling) = sampling.cloned() else { return crate::Sampling::default() };
    // As the decoder does.
    let single = |number: f64| number as f32;
    crate::Sampling {
        temperature: sampling.temperature.map(single),
        top_k: sampling.top_k,
        top_p: sampling.top_p.map(single),
        min_p: sampling.min_p.map(single),
        repetition_penalty: sampling.repetition_penalty.map(single),
        max_tokens: sampling.max_tokens,
        seed: sampling.seed,
        stop: match sampling.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => Vec::from([text]),
            Some(Stop::Many(texts)) => texts,
        },
    }
}

fn since(since: &Since) -> decode::Since<'static> {
    decode::Since {
        epoch: Cow::Owned(since.epoch.clone()),
        seq: since.seq,
        partial: since.message_id.zip(since.offset),
    }
}

fn said(
    message: &str,
    client_id: Option<&String>,
    parent: Option<MessageId>,
    how: Option<&Sampling>,
) -> decode::ChatMessage<'static> {
    decode::ChatMessage {
        message: Cow::Owned(message.to_string()),
        client_id: client_id.cloned().map(Cow::Owned),
        parent,
        sampling: sampling(how),
    }
}

/// What the hub is to understand.
fn meaning(frame: &ClientFrame) -> Decoded<'static> {
    let owned = |text: &String| Cow::Owned(text.clone());
    match frame {
        ClientFrame::JoinSession(f) => {
            Decoded::JoinSession { session: Some(f.session_id), since: f.since.as_ref().map(since) }
        }
        ClientFrame::ChatMessage(f) => {
            Decoded::ChatMessage(said(&f.message, f.client_id.as_ref(), f.parent, f.sampling.as_ref()))
        }
        ClientFrame::Ping(_) => Decoded::Ping,
        ClientFrame::CreateSession(f) => {
            Decoded::CreateSession { title: f.title.as_ref().map(owned), system: f.system.as_ref().map(owned) }
        }
        ClientFrame::LeaveSession(_) => Decoded::LeaveSession,
        ClientFrame::StopGeneration(f) => Decoded::StopGeneration { message: f.message_id },
        ClientFrame::Regenerate(f) => {
            Decoded::Regenerate { message: f.message_id, sampling: sampling(f.sampling.as_ref()) }
        }
        ClientFrame::EditMessage(f) => Decoded::EditMessage {
            edited: f.message_id,
            message: said(&f.message, f.client_id.as_ref(), None, f.sampling.as_ref()),
        },
        ClientFrame::History(f) => Decoded::History { before: f.before, limit: f.limit },
        ClientFrame::Typing(f) => Decoded::Typing { is_typing: f.is_typing },
        ClientFrame::Invite(f) => Decoded::Invite { username: owned(&f.username) },
        ClientFrame::RenameSession(f) => Decoded::RenameSession { session: f.session_id, title: owned(&f.title) },
        ClientFrame::DeleteSession(f) => Decoded::DeleteSession { session: f.session_id },
        ClientFrame::ListSessions(f) => Decoded::ListSessions { limit: f.limit },
        ClientFrame::Authenticate(f) => Decoded::Authenticate { token: owned(&f.token) },
    }
}

proptest! {
    #[test]
    fn what_the_types_write_is_what_the_hub_reads(frame in client_frame(MESSAGE_BYTES)) {
        let text = serde_json::to_string(&frame).unwrap();
        let (reference, decoded) = decode::decode(&text, MESSAGE_BYTES);
        prop_assert_eq!(decoded, Ok(meaning(&frame)), "{}", text);
        let id = serde_json::to_value(&frame).unwrap().get("id").cloned();
        let echoed = reference.map(|json| serde_json::from_str::<Value>(&json).unwrap());
        prop_assert_eq!(echoed, id);
        prop_assert_eq!(serde_json::from_str::<ClientFrame>(&text).unwrap(), frame);
    }

    #[test]
    fn what_the_hub_writes_is_what_the_types_read(frame in server_text()) {
        let written: Value = serde_json::from_str(&frame).unwrap();
        let read: ServerFrame = serde_json::from_str(&frame).map_err(|e| TestCaseError::fail(alloc::format!("{e}: {frame}")))?;
        prop_assert_eq!(read.kind(), written["type"].as_str().unwrap());
        // Equal on the way back: no field is unknown to the types, none is lost.
        let back = serde_json::to_value(&read).unwrap();
        prop_assert!(same(&back, &written), "{back}\n{written}");
    }
}

/// Whether two trees are equal, numbers by their value however they are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_u64().zip(b.as_u64()).map_or(a.as_f64() == b.as_f64(), |(a, b)| a == b)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

fn member() -> impl Strategy<Value = Member> {
    (text(20), text(20)).prop_map(|(user_id, username)| Member { user_id, username })
}

fn micros() -> impl Strategy<Value = UnixMicros> {
    // Up to the year 9999.
    (0..253_402_300_800_000_000_u64).prop_map(UnixMicros)
}

fn usage() -> impl Strategy<Value = event::Usage> {
    any::<(u32, u32, u32)>().prop_map(|(prompt_tokens, cached_tokens, completion_tokens)| event::Usage {
        prompt_tokens,
        cached_tokens,
        completion_tokens,
    })
}

fn timings() -> impl Strategy<Value = event::Timings> {
    (any::<f32>(), any::<f32>())
        .prop_map(|(first_token_ms, tokens_per_second)| event::Timings { first_token_ms, tokens_per_second })
}

fn record() -> impl Strategy<Value = MessageRecord> {
    let roles = [MessageRole::User, MessageRole::Assistant, MessageRole::System];
    let ends = [Ending::Stop, Ending::Length, Ending::Stopped, Ending::Error];
    let who = (proptest::sample::select(roles.to_vec()), of(member()), of(text(20)));
    let end = (of(proptest::sample::select(ends.to_vec())), of(usage()));
    (message_id(), session_id(), 1..u64::MAX, of(message_id()), who, text(100), micros(), end).prop_map(
        |(id, session, seq, parent, (role, author, client_id), content, created, (finish_reason, usage))| {
            MessageRecord { id, session, seq, parent, role, author, content, created, client_id, finish_reason, usage }
        },
    )
}

/// What a frame answers and where it belongs, when, and some text for it.
#[derive(Clone, Debug)]
struct Surroundings {
    reference: Option<String>,
    session: SessionId,
    in_session: bool,
    now: UnixMicros,
    texts: [String; 3],
    flag: bool,
}

impl Surroundings {
    fn context(&self) -> Context<'_> {
        Context { reference: self.reference.as_deref(), session: self.in_session.then_some(self.session) }
    }

    fn nowhere(&self) -> Context<'_> {
        Context { session: None, ..self.context() }
    }

    fn here(&self) -> Context<'_> {
        Context { session: Some(self.session), ..self.context() }
    }
}

fn surroundings() -> impl Strategy<Value = Surroundings> {
    let reference = of(prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<u64>().prop_map(|number| number.to_string()),
        Just("-1.50".to_string()),
    ]);
    (reference, session_id(), any::<bool>(), micros(), [text(40), text(40), text(40)], any::<bool>()).prop_map(
        |(reference, session, in_session, now, texts, flag)| Surroundings {
            reference,
            session,
            in_session,
            now,
            texts,
            flag,
        },
    )
}

/// Writes a frame of each kind there is.
fn written(kind: ServerKind, s: &Surroundings, records: &[MessageRecord], people: &[Member], extra: &Extra) -> String {
    let mut out = String::new();
    let (now, [a, b, c]) = (s.now, [&s.texts[0], &s.texts[1], &s.texts[2]].map(String::as_str));
    let pairs = || people.iter().map(|m| (m.user_id.as_str(), m.username.as_str()));
    match kind {
        ServerKind::ConnectionEstablished => {
            let role = if s.flag { event::Role::Admin } else { event::Role::User };
            frames::connection_established(&mut out, a, b, role, now);
        }
        ServerKind::SessionJoined => {
            let session = SessionRecord {
                id: s.session,
                title: a.to_string(),
                system: None,
                owner: b.to_string(),
                created: now,
                ended: None,
                last_seq: extra.number,
                last_message: extra.message,
                members: Vec::new(),
                invited: Vec::new(),
            };
            let joined = Joined { session: &session, epoch: "0f", resumed: s.flag, participants: pairs() };
            frames::session_joined(&mut out, s.reference.as_deref(), now, joined);
        }
        ServerKind::Message => frames::message(&mut out, &records[0], extra.timings),
        ServerKind::MessageDelta => frames::message_delta(&mut out, s.session, records[0].id, 7, a),
        ServerKind::Typing => {
            let who = if s.flag {
                Typist::Assistant { message: records[0].id, parent: extra.message }
            } else {
                Typist::User(&people[0])
            };
            frames::typing(&mut out, s.session, now, &who, s.in_session);
        }
        ServerKind::Ack => {
            frames::ack(&mut out, s.here(), now, s.flag.then_some(a), records[0].id, extra.number);
        }
        ServerKind::Error => {
            let code = ErrorCode::ALL[extra.number as usize % ErrorCode::ALL.len()];
            let refusal = Refusal { code, message: a.to_string(), retry_after_ms: s.flag.then_some(extra.number) };
            frames::error(&mut out, s.context(), now, &refusal, extra.message, s.flag.then_some(b));
        }
        ServerKind::Pong => frames::pong(&mut out, s.nowhere(), now),
        ServerKind::CommandResponse => frames::command_response(&mut out, s.context(), now, a, b),
        ServerKind::Presence => frames::presence(&mut out, s.session, now, &people[0], s.flag, pairs()),
        ServerKind::HistoryPage => frames::history_page(&mut out, s.here(), now, records, s.flag),
        ServerKind::SessionList => {
            let entry = SessionSummary {
                id: s.session,
                title: a.to_string(),
                owner: b.to_string(),
                created: now,
                active: now,
                ended: s.flag.then_some(now),
                messages: extra.number,
            };
            frames::session_list(&mut out, s.nowhere(), now, &[entry.clone(), entry]);
        }
        ServerKind::Invited => frames::invited(&mut out, s.here(), now, a, b, c),
        ServerKind::SessionRenamed => frames::session_renamed(&mut out, s.here(), now, a),
        ServerKind::SessionLeft => frames::session_left(&mut out, s.here(), now),
        ServerKind::SessionEnded => frames::session_ended(&mut out, s.here(), now, a),
        ServerKind::SessionDeleted => frames::session_deleted(&mut out, s.here(), now),
        ServerKind::Notice => {
            let code = NoticeCode::ALL[extra.number as usize % NoticeCode::ALL.len()];
            frames::notice(&mut out, s.context(), now, code, a);
        }
    }
    out
}

#[derive(Clone, Debug)]
struct Extra {
    number: u64,
    message: Option<MessageId>,
    timings: Option<event::Timings>,
}

fn server_text() -> impl Strategy<Value = String> {
    let extra = (any::<u64>(), of(message_id()), of(timings())).prop_map(|(number, message, timings)| Extra {
        number,
        message,
        timings,
    });
    let kind = proptest::sample::select(ServerKind::ALL);
    (kind, surroundings(), vec(record(), 1..4), vec(member(), 1..4), extra)
        .prop_map(|(kind, s, records, people, extra)| written(kind, &s, &records, &people, &extra))
}

#[test]
fn numbers_keep_their_value_in_every_build() {
    let text = r#"{"type":"history","before":9007199254740991,"limit":3,"id":1.5}"#;
    let frame: ClientFrame = serde_json::from_str(text).unwrap();
    let ClientFrame::History(history) = &frame else { panic!("{frame:?}") };
    assert_eq!((history.before, history.limit), (Some(9_007_199_254_740_991), Some(3)));
    assert_eq!(serde_json::to_value(&frame).unwrap()["id"], serde_json::from_str::<Value>("1.5").unwrap());
}

#[test]
fn frames_that_are_none_say_why() {
    let why = |text: &str| serde_json::from_str::<ServerFrame>(text).unwrap_err().to_string();
    assert!(why(r#"{"type":"dance"}"#).starts_with("unknown variant `dance`, expected one of"));
    assert!(why(r#"{"timestamp":"now"}"#).contains("missing field `type`"));
    assert!(why(r#"{"type":"pong"}"#).contains("missing field `timestamp`"));
    assert!(why("[]").contains("missing field `type`"));
}

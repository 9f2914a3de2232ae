//! Strategies for proptest: every input, with weights that make the interesting interleavings frequent.
//!
//! All of them shrink: texts become shorter, numbers smaller, damage goes away, and a script loses steps.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::arbitrary::Arbitrary;
use proptest::collection::{SizeRange, vec};
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::{prop_oneof, sample};

use super::{ClientFrame, Damage, Known, Request, Step};
use crate::event::{FinishReason, GenerationFailure, GenerationNotice, Identity, Role, Timings, Usage, Violation};
use crate::limits;
use crate::time::Instant;

/// Texts as people write them, and as they should not: many alphabets, quotes, control characters, marks that turn the
/// direction of writing, nothing at all.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => sample::select(super::TEXTS).prop_map(String::from),
        3 => "[ -~äß語😀\u{301}\\n\"\\\\]{0,24}",
        1 => any::<String>(),
    ]
}

/// What a model says at a time: any number of whole characters, also none; a character of several code points may be cut.
pub fn token_text() -> impl Strategy<Value = String> {
    (text(), any::<sample::Index>(), any::<sample::Index>()).prop_map(|(text, from, to)| {
        let at = |index: &sample::Index| text.floor_char_boundary(index.index(text.len() + 1));
        let (from, to) = (at(&from), at(&to));
        String::from(&text[from.min(to)..from.max(to)])
    })
}

/// Bytes that a transport can take: nothing, less than a frame, a frame, many.
pub fn credit() -> impl Strategy<Value = u16> {
    prop_oneof![1 => Just(0), 2 => Just(1), 4 => 2..400_u16, 2 => 400..8_000_u16, 1 => any::<u16>()]
}

/// Time that passes: an instant, moments, and about as long as what the protocol waits for.
pub fn time() -> impl Strategy<Value = Duration> {
    let about = |limit: Duration| {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        (limit.saturating_sub(2)..limit.saturating_add(3)).prop_map(Duration::from_micros)
    };
    prop_oneof![
        2 => Just(Duration::ZERO),
        6 => (0..5_000_u64).prop_map(Duration::from_millis),
        2 => about(limits::TYPING),
        1 => about(limits::EXPIRY_NOTICE),
        1 => about(limits::Limits::default().handshake),
        1 => (0..3_600_u64).prop_map(Duration::from_secs),
    ]
}

/// A user's frame as the protocol has it.
pub fn request() -> impl Strategy<Value = Request> {
    let client_id = || option::weighted(0.7, 0..8_u8);
    let message = || option::weighted(0.3, any::<u8>());
    let number = || option::of(prop_oneof![0..20_u16, any::<u16>()]);
    prop_oneof![
        24 => (text(), client_id(), option::weighted(0.15, any::<u8>()))
            .prop_map(|(message, client_id, parent)| Request::ChatMessage { message, client_id, parent }),
        4 => sample::select(super::COMMANDS).prop_map(|command| {
            Request::ChatMessage { message: String::from(command), client_id: None, parent: None }
        }),
        4 => (any::<u8>(), text(), client_id())
            .prop_map(|(edited, message, client_id)| Request::EditMessage { edited, message, client_id }),
        4 => message().prop_map(|message| Request::Regenerate { message }),
        10 => (any::<u8>(), any::<bool>()).prop_map(|(session, resume)| Request::JoinSession { session, resume }),
        4 => (option::of(text()), option::weighted(0.2, text()))
            .prop_map(|(title, system)| Request::CreateSession { title, system }),
        6 => any::<u8>().prop_map(|user| Request::Invite { user }),
        4 => any::<bool>().prop_map(|is_typing| Request::Typing { is_typing }),
        4 => Just(Request::StopGeneration),
        4 => (number(), number()).prop_map(|(before, limit)| Request::History { before, limit }),
        3 => Just(Request::Ping),
        2 => Just(Request::LeaveSession),
        2 => (message(), text()).prop_map(|(session, title)| Request::RenameSession { session, title }),
        1 => message().prop_map(|session| Request::DeleteSession { session }),
        2 => number().prop_map(|limit| Request::ListSessions { limit }),
        1 => text().prop_map(|token| Request::Authenticate { token }),
    ]
}

/// What can be wrong with a frame.
pub fn damage() -> impl Strategy<Value = Damage> {
    let json = || {
        prop_oneof![
            6 => sample::select(super::VALUES).prop_map(String::from),
            1 => any::<String>(),
            1 => any::<i64>().prop_map(|number| alloc::format!("{number}")),
        ]
    };
    prop_oneof![
        2 => any::<u8>().prop_map(Damage::Missing),
        4 => (any::<u8>(), json()).prop_map(|(field, json)| Damage::Instead(field, json)),
        2 => (any::<u8>(), json()).prop_map(|(field, json)| Damage::Twice(field, json)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(field, depth)| Damage::Nested(field, depth)),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(field, bytes)| Damage::Longer(field, bytes)),
        2 => any::<u16>().prop_map(Damage::Cut),
        2 => (any::<u16>(), any::<char>()).prop_map(|(at, with)| Damage::Changed(at, with)),
        1 => any::<String>().prop_map(Damage::Other),
    ]
}

/// What a client sends: one frame in ten is damaged, one in ten has no `id`.
pub fn client_frame() -> impl Strategy<Value = ClientFrame> {
    (request(), proptest::bool::weighted(0.9), option::weighted(0.1, damage()))
        .prop_map(|(request, named, damage)| ClientFrame { request, named, damage })
}

/// The text of a frame for a server of which nothing is known: valid, nearly valid or hostile.
pub fn client_text() -> impl Strategy<Value = String> {
    let frame = (request(), any::<bool>(), option::of(damage()), any::<u64>());
    frame.prop_map(|(request, named, damage, id)| ClientFrame { request, named, damage }.to_json(id, &Known::default()))
}

/// One step of a script.
pub fn step() -> impl Strategy<Value = Step> {
    let slow = || option::weighted(0.4, credit());
    prop_oneof![
        6 => (any::<u8>(), slow(), option::weighted(0.9, proptest::bool::weighted(0.95)))
            .prop_map(|(user, credit, verdict)| Step::Connect { user, credit, verdict }),
        1 => (any::<u8>(), proptest::bool::weighted(0.8)).prop_map(|(client, good)| Step::Verdict { client, good }),
        2 => any::<u8>().prop_map(|client| Step::Lose { client }),
        4 => (any::<u8>(), slow()).prop_map(|(client, credit)| Step::ComeBack { client, credit }),
        40 => (any::<u8>(), client_frame()).prop_map(|(client, frame)| Step::Send { client, frame }),
        1 => (any::<u8>(), any::<Violation>()).prop_map(|(client, violation)| Step::Violate { client, violation }),
        12 => (any::<u8>(), credit()).prop_map(|(client, bytes)| Step::Credit { client, bytes }),
        14 => (any::<u8>(), token_text()).prop_map(|(generation, text)| Step::Token { generation, text }),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(generation, messages)| Step::Notice {
            generation,
            notice: GenerationNotice::ContextTrimmed { messages: messages.into() },
        }),
        6 => (any::<u8>(), any::<FinishReason>()).prop_map(|(generation, reason)| Step::Finish { generation, reason }),
        2 => (any::<u8>(), any::<GenerationFailure>())
            .prop_map(|(generation, failure)| Step::Fail { generation, failure }),
        1 => proptest::bool::weighted(0.7).prop_map(|up| Step::Backend { up }),
        20 => (1..9_u8).prop_map(|requests| Step::Answer { requests }),
        2 => (0..3_u8, 0..2_u8).prop_map(|(writes, reads)| Step::FailStorage { writes, reads }),
        5 => time().prop_map(|time| Step::Pass { time }),
    ]
}

/// A script of some steps. [`Step::Drain`] is in none: it ends everything, so say yourself when it comes.
pub fn script(steps: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), steps)
}

/// Implements `Arbitrary` by a strategy of this module.
macro_rules! arbitrary {
    ($($type:ty => $strategy:expr,)+) => {
        $(impl Arbitrary for $type {
            type Parameters = ();
            type Strategy = BoxedStrategy<$type>;

            fn arbitrary_with((): ()) -> BoxedStrategy<$type> {
                $strategy.boxed()
            }
        })+
    };
}

arbitrary! {
    Request => request(),
    Damage => damage(),
    ClientFrame => client_frame(),
    Step => step(),
    Role => sample::select(&[Role::User, Role::Admin][..]),
    FinishReason => sample::select(super::FINISH_REASONS),
    GenerationFailure => prop_oneof![
        sample::select(super::FAILURES),
        (any::<u32>(), any::<u32>())
            .prop_map(|(prompt_tokens, context)| GenerationFailure::TooLong { prompt_tokens, context }),
        any::<u64>().prop_map(|tokens_a_day| GenerationFailure::Quota { tokens_a_day }),
    ],
    Violation => prop_oneof![
        sample::select(super::VIOLATIONS),
        any::<u32>().prop_map(|limit| Violation::TooBig { limit }),
    ],
    Instant => prop_oneof![
        4 => (0..1_u64 << 40).prop_map(Instant::from_micros),
        1 => any::<u64>().prop_map(Instant::from_micros),
    ],
    Identity => (text(), text(), any::<Role>(), any::<Instant>())
        .prop_map(|(user_id, username, role, expires)| Identity { user_id, username, role, expires }),
    Usage => any::<(u32, u32, u32)>().prop_map(|(prompt_tokens, cached_tokens, completion_tokens)| {
        Usage { prompt_tokens, cached_tokens, completion_tokens }
    }),
    Timings => any::<(f32, f32)>()
        .prop_map(|(first_token_ms, tokens_per_second)| Timings { first_token_ms, tokens_per_second }),
}

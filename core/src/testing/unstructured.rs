//! The same inputs for fuzzers, by the crate `arbitrary`: bytes become scripts.
//!
//! Numbers come first and texts are chosen from lists more often than made up, so that a mutated byte changes one thing.

use alloc::string::String;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::{ClientFrame, Damage, Request, Step};
use crate::event::{FinishReason, GenerationFailure, GenerationNotice, Identity, Role, Timings, Usage, Violation};
use crate::time::Instant;

/// Texts as people write them, and as they should not.
///
/// # Errors
/// What [`Unstructured`] says when a choice cannot be made; never for want of bytes, which are taken as zero.
pub fn text(u: &mut Unstructured<'_>) -> Result<String> {
    if u.ratio(7, 8)? { Ok(String::from(*u.choose(super::TEXTS)?)) } else { String::arbitrary(u) }
}

/// A whole frame's text for a server of which nothing is known: valid, nearly valid or hostile.
///
/// # Errors
/// As [`text`].
pub fn client_text(u: &mut Unstructured<'_>) -> Result<String> {
    let id = u.arbitrary()?;
    Ok(ClientFrame::arbitrary(u)?.to_json(id, &super::Known::default()))
}

fn maybe<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>, numerator: u8) -> Result<Option<T>> {
    if u.ratio(numerator, 8)? { u.arbitrary().map(Some) } else { Ok(None) }
}

fn maybe_text(u: &mut Unstructured<'_>) -> Result<Option<String>> {
    if u.arbitrary()? { text(u).map(Some) } else { Ok(None) }
}

fn client_id(u: &mut Unstructured<'_>) -> Result<Option<u8>> {
    Ok(maybe::<u8>(u, 6)?.map(|number| number % 8))
}

/// A piece of JSON, or of what is none.
fn value(u: &mut Unstructured<'_>) -> Result<String> {
    if u.ratio(7, 8)? { Ok(String::from(*u.choose(super::VALUES)?)) } else { String::arbitrary(u) }
}

impl<'a> Arbitrary<'a> for Request {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Request> {
        Ok(match u.int_in_range(0..=31_u8)? {
            0..10 => Request::ChatMessage { client_id: client_id(u)?, parent: maybe(u, 1)?, message: text(u)? },
            10 | 11 => {
                let message = String::from(*u.choose(super::COMMANDS)?);
                Request::ChatMessage { message, client_id: None, parent: None }
            }
            12 | 13 => Request::EditMessage { edited: u.arbitrary()?, client_id: client_id(u)?, message: text(u)? },
            14 | 15 => Request::Regenerate { message: maybe(u, 3)? },
            16..20 => Request::JoinSession { session: u.arbitrary()?, resume: u.arbitrary()? },
            20 => Request::CreateSession { title: maybe_text(u)?, system: maybe_text(u)? },
            21 | 22 => Request::Invite { user: u.arbitrary()? },
            23 => Request::Typing { is_typing: u.arbitrary()? },
            24 => Request::StopGeneration,
            25 => Request::History { before: maybe(u, 4)?, limit: maybe(u, 4)? },
            26 => Request::Ping,
            27 => Request::LeaveSession,
            28 => Request::RenameSession { session: maybe(u, 4)?, title: text(u)? },
            29 => Request::DeleteSession { session: maybe(u, 4)? },
            30 => Request::ListSessions { limit: maybe(u, 4)? },
            _ => Request::Authenticate { token: text(u)? },
        })
    }
}

impl<'a> Arbitrary<'a> for Damage {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Damage> {
        Ok(match u.int_in_range(0..=7_u8)? {
            0 => Damage::Missing(u.arbitrary()?),
            1 => Damage::Instead(u.arbitrary()?, value(u)?),
            2 => Damage::Twice(u.arbitrary()?, value(u)?),
            3 => Damage::Nested(u.arbitrary()?, u.arbitrary()?),
            4 => Damage::Longer(u.arbitrary()?, u.arbitrary()?),
            5 => Damage::Cut(u.arbitrary()?),
            6 => Damage::Changed(u.arbitrary()?, u.arbitrary()?),
            _ => Damage::Other(u.arbitrary()?),
        })
    }
}

impl<'a> Arbitrary<'a> for ClientFrame {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<ClientFrame> {
        Ok(ClientFrame { request: u.arbitrary()?, named: u.ratio(7, 8)?, damage: maybe(u, 1)? })
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Step> {
        Ok(match u.int_in_range(0..=47_u8)? {
            0..3 => Step::Connect { user: u.arbitrary()?, credit: maybe(u, 3)?, verdict: maybe(u, 7)? },
            3 => Step::Verdict { client: u.arbitrary()?, good: u.ratio(3, 4)? },
            4 => Step::Lose { client: u.arbitrary()? },
            5 | 6 => Step::ComeBack { client: u.arbitrary()?, credit: maybe(u, 3)? },
            7..23 => Step::Send { client: u.arbitrary()?, frame: u.arbitrary()? },
            23 => Step::Violate { client: u.arbitrary()?, violation: u.arbitrary()? },
            24..29 => Step::Credit { client: u.arbitrary()?, bytes: u.arbitrary()? },
            29..34 => Step::Token { generation: u.arbitrary()?, text: text(u)? },
            34 => {
                let notice = GenerationNotice::ContextTrimmed { messages: u.arbitrary()? };
                Step::Notice { generation: u.arbitrary()?, notice }
            }
            35 | 36 => Step::Finish { generation: u.arbitrary()?, reason: u.arbitrary()? },
            37 => Step::Fail { generation: u.arbitrary()?, failure: u.arbitrary()? },
            38 => Step::Backend { up: u.ratio(2, 3)? },
            39..45 => Step::Answer { requests: u.int_in_range(1..=8)? },
            45 => Step::FailStorage { writes: u.int_in_range(0..=2)?, reads: u.int_in_range(0..=1)? },
            _ => Step::Pass { time: Duration::from_millis(u.arbitrary::<u16>()?.into()) },
        })
    }
}

impl<'a> Arbitrary<'a> for Role {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Role> {
        Ok(if u.arbitrary()? { Role::Admin } else { Role::User })
    }
}

impl<'a> Arbitrary<'a> for FinishReason {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<FinishReason> {
        u.choose(super::FINISH_REASONS).copied()
    }
}

impl<'a> Arbitrary<'a> for GenerationFailure {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<GenerationFailure> {
        if u.ratio(1, 4)? {
            return Ok(GenerationFailure::TooLong { prompt_tokens: u.arbitrary()?, context: u.arbitrary()? });
        }
        // Quotas are left to the strategies: one more kind here would give every kept input another meaning.
        u.choose(super::FAILURES).copied()
    }
}

impl<'a> Arbitrary<'a> for Violation {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Violation> {
        if u.ratio(1, 4)? {
            return Ok(Violation::TooBig { limit: u.arbitrary()? });
        }
        u.choose(super::VIOLATIONS).copied()
    }
}

impl<'a> Arbitrary<'a> for Instant {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Instant> {
        u.arbitrary().map(Instant::from_micros)
    }
}

impl<'a> Arbitrary<'a> for Identity {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Identity> {
        Ok(Identity { user_id: text(u)?, username: text(u)?, role: u.arbitrary()?, expires: u.arbitrary()? })
    }
}

impl<'a> Arbitrary<'a> for Usage {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Usage> {
        let (prompt_tokens, cached_tokens, completion_tokens) = u.arbitrary()?;
        Ok(Usage { prompt_tokens, cached_tokens, completion_tokens })
    }
}

impl<'a> Arbitrary<'a> for Timings {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Timings> {
        let (first_token_ms, tokens_per_second) = u.arbitrary()?;
        Ok(Timings { first_token_ms, tokens_per_second })
    }
}

//! One connection, as the model sees it: what it asked, and where it is.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::frame::Frame;
use super::question::{Question, Said};
use super::rule::{Breach, Rule, require};
use super::view::View;
use crate::code::{CloseCode, ErrorCode};
use crate::id::Uuid;
use crate::limits;

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) user_id: Option<String>,
    pub(super) view: Option<View>,
    pub(super) questions: Vec<Question>,
    /// Messages sent before the server said who the client is.
    pub(super) early: Vec<Said>,
    /// The code of the last frame, if that was an `error` that answers nothing.
    pub(super) last_error: Option<ErrorCode>,
    pub(super) frames: u64,
}

impl Client {
    /// Finds the question that a frame answers.
    pub(super) fn answered(&mut self, kind: &str, frame: &Frame<'_>) -> Result<Option<Question>, Breach> {
        let reference = frame.reference()?;
        let fits = |q: &Question| q.reference == reference && q.may_be_answered_by(kind, frame);
        let must = matches!(
            kind,
            "session_joined" | "session_left" | "ack" | "pong" | "command_response" | "history_page" | "session_list"
        );
        // What somebody asked for from outside of the session, who may have given no `id`.
        let may = matches!(kind, "session_renamed" | "session_deleted" | "session_ended");
        let here = self.view.as_ref().map(|view| view.session);
        // What comes to all in the session may have been asked for by anybody: it uses up no question.
        let to_all = may && frame.id("session_id").ok() == here;
        if reference.is_none() && (!must && !may || to_all) {
            return Ok(None);
        }
        // Without a `ref`, the first that the frame fits in all it says.
        let explained = self.questions.iter().position(|q| fits(q) && q.explains(kind, frame));
        let Some(at) = explained.or_else(|| self.questions.iter().position(fits)) else {
            return require(reference.is_none() && !must, Rule::Answer, || {
                (format!("an unanswered frame that this answers, `id` {reference:?}"), kind.into())
            })
            .map(|()| None);
        };
        let question = self.questions.remove(at);
        if question.enters() && kind == "session_joined" {
            // Those before it were answered too, by errors that do not say which they answer.
            let before = |(i, q): (usize, &Question)| !(i < at && q.reference.is_none() && q.enters());
            let keep: Vec<bool> = self.questions.iter().enumerate().map(before).collect();
            let mut keep = keep.into_iter();
            self.questions.retain(|_| keep.next().unwrap_or(true));
        }
        Ok(Some(question))
    }
}

pub(super) fn in_it(state: &mut Client, session: Uuid) -> Result<&mut View, Breach> {
    let here = state.view.as_ref().map(|view| view.session);
    match &mut state.view {
        Some(view) if view.session == session => Ok(view),
        _ => Err(Breach::new(Rule::Membership, format!("frames of {here:?} only"), format!("one of {session}"))),
    }
}

pub(super) fn check_close(state: &Client, code: u16, reason: &str) -> Result<(), Breach> {
    let known = CloseCode::from_u16(code);
    require(known.is_some() || matches!(code, 1000 | 4000..=4999), Rule::Close, || {
        ("a close code of the protocol".into(), format!("{code}"))
    })?;
    let most = limits::CLOSE_REASON_BYTES;
    require(reason.len() <= most, Rule::Close, || (format!("at most {most} bytes of reason"), reason.into()))?;
    let why = match known {
        Some(CloseCode::Policy) => ErrorCode::AuthenticationFailed,
        Some(CloseCode::TooBig) => ErrorCode::FrameTooLarge,
        Some(CloseCode::TooManyConnections) => ErrorCode::TooManyConnections,
        _ => return Ok(()),
    };
    require(state.last_error == Some(why), Rule::Close, || {
        (format!("an `error` with the code {why} as the last frame before {code}"), format!("{:?}", state.last_error))
    })
}

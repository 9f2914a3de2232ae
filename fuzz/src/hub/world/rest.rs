//! How a script ends: all that can still happen happens, and then everything must be at rest, told and forgotten.

use std::time::Duration;

use causerie_core::{CloseCode, Counts, ErrorCode, FinishReason, Input, MessageId, NoticeCode, Role, SessionId};
use serde_json::Value;

use super::{Opened, PLENTY, TTL_SECONDS, World};

impl World {
    /// Everything that can still happen happens; then all must be at rest, told and forgotten.
    pub(in crate::hub) fn end(mut self) {
        self.d.storage.fail_writes = 0;
        self.d.storage.fail_reads = 0;
        self.d.storage.held = false;
        self.apart();
        self.settle();
        for who in 0..self.opened.len() {
            let Opened { recognized, gone, .. } = self.opened[who];
            if !recognized && !gone {
                self.accept(who, None, Role::User, TTL_SECONDS);
            }
        }
        self.settle();
        // Tokens without a verdict, also those that were held back until now.
        for _ in 0..2 {
            for (connection, _) in std::mem::take(&mut self.d.tokens_to_verify) {
                // Misuse where the script has given it.
                let _ = self.give(Input::Refused { connection, reason: "no" });
            }
        }
        self.settle();
        self.d.model.settled().unwrap_or_else(|violation| panic!("{violation}"));
        self.check_readers();
        self.check_codes();
        for who in 0..self.opened.len() {
            if !self.opened[who].gone {
                self.close(who);
            }
        }
        self.settle();
        self.d.pass(Duration::from_secs(3_600).max(self.drains_until.saturating_since(self.d.now)));
        assert_eq!(self.d.hub.counts(), Counts::default(), "what is over is forgotten");
        assert_eq!(self.d.hub.next_deadline(), None);
    }

    /// Every peer reads all, and every answer ends.
    fn settle(&mut self) {
        loop {
            for who in 0..self.opened.len() {
                if !self.opened[who].gone {
                    self.grant(who, PLENTY);
                }
            }
            if self.d.running.is_empty() {
                return;
            }
            self.end_generation(0, FinishReason::Stop, true);
        }
    }

    /// What clients get is what the public lists of codes say.
    fn check_codes(&self) {
        for peer in self.d.peers.values() {
            for frame in &peer.frames {
                let text = frame["code"].as_str().unwrap_or_default();
                if frame["type"] == "error" {
                    let code: ErrorCode = text.parse().expect("a code of the list");
                    assert_eq!((code.to_string().as_str(), frame["retryable"] == true), (text, code.retryable()));
                    assert!(!code.meaning().is_empty());
                } else if frame["type"] == "notice" {
                    assert_eq!(text.parse::<NoticeCode>().map(|code| code.to_string()), Ok(text.to_string()));
                }
            }
            let code = peer.close.as_ref().map(|(number, _)| (*number, CloseCode::from_u16(*number)));
            if let Some((number, code)) = code {
                let code = code.expect("a code of the list");
                assert!(number < 4_000 || code.reconnect() == (number < 4_500), "{code:?}");
            }
        }
        for (id, text) in self.d.storage.sessions.keys().map(|id| (id, id.to_string())) {
            assert_eq!((text.parse().map(SessionId), format!("{:?}", id.0)), (Ok(*id), text));
        }
        for message in self.d.storage.messages.values().flatten() {
            assert_eq!(message.id.to_string().parse().map(MessageId), Ok(message.id));
        }
        // For a log, and without secrets.
        let shown = format!("{:?}", self.d.hub);
        assert!(
            shown.contains("counts")
                && !self
                    .d
                    .storage
                    .messages
                    .values()
                    .flatten()
                    .any(|m| m.content.len() > 40 && shown.contains(&m.content))
        );
    }

    fn check_readers(&self) {
        for peer in self.d.peers.values() {
            let reader = &peer.reader;
            if peer.close.is_some() || reader.lied {
                continue;
            }
            assert!(!peer.paused, "everything was read, so nothing is paused");
            reader.check_at_rest(&self.d.storage, self.deleted);
        }
        for Opened { id, resumes, .. } in self.opened.iter().filter(|opened| opened.resumes.is_some() && !opened.gone) {
            let answers = |frame: &&Value| frame["type"] == "session_joined" && frame["ref"].as_u64() == *resumes;
            let joined = self.d.peers[id].frames.iter().find(answers);
            assert!(joined.is_none_or(|frame| frame["resumed"] == true), "who is honest is not refused: {joined:?}");
        }
    }
}

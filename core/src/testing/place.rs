//! Where a client is in a session: [`Place`], which is what it tells when it comes back.

use alloc::format;
use alloc::string::String;

use super::question::{get, string, whole};
use crate::id::{MessageId, SessionId, Uuid};
use crate::wire::decode;
use crate::wire::encode::push_string;
use crate::wire::json;

/// Where a client is in a session, by the frames that it got.
///
/// A client that has lost its connection joins again with [`since`](Place::since), and gets exactly what it has missed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The session.
    pub session: SessionId,
    /// Of which life of the server.
    pub epoch: String,
    /// The last message that it has.
    pub seq: u64,
    /// The answer of which it has the first so many bytes.
    pub partial: Option<(MessageId, u64)>,
}

impl Place {
    /// What stands in `join_session` as `since`, as JSON text.
    pub fn since(&self) -> String {
        let mut json = String::from("{\"epoch\":");
        push_string(&mut json, &self.epoch);
        json += &format!(",\"seq\":{}", self.seq);
        if let Some((message, offset)) = self.partial {
            json += &format!(",\"message_id\":\"{}\",\"offset\":{offset}", message.0);
        }
        json.push('}');
        json
    }

    /// The whole frame with which a client comes back.
    pub fn join(&self) -> String {
        format!(r#"{{"type":"join_session","session_id":"{}","since":{}}}"#, self.session.0, self.since())
    }
}

/// A `since` as a client has sent it.
#[derive(Clone, Debug)]
pub(super) struct Since {
    pub(super) epoch: String,
    pub(super) seq: u64,
    pub(super) partial: Option<(Uuid, u64)>,
}

impl Since {
    pub(super) fn read(text: &str) -> Option<Since> {
        let fields = json::fields(text).ok()?;
        let message = string(get(&fields, "message_id")).and_then(|id| decode::uuid(&id));
        Some(Since {
            epoch: string(get(&fields, "epoch"))?,
            seq: whole(get(&fields, "seq"))?,
            partial: message.zip(whole(get(&fields, "offset"))),
        })
    }
}

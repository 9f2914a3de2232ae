//! What an earlier life of the server has left in storage.

use causerie_core::{
    FinishReason, Member, MessageId, MessageRecord, MessageRole, SessionId, SessionRecord, UnixMicros, Uuid,
};

use super::World;
use crate::driver;

impl World {
    /// Puts a session into storage as an earlier life of the server left it.
    pub(super) fn add_earlier(&mut self, name: &str, messages: usize, members: usize) {
        let created = UnixMicros(driver::START - 1_000_000);
        self.earlier = self.earlier.wrapping_add(1);
        let number = self.earlier;
        let id = |kind: u8, n: usize| Uuid([0xea, kind, number, n as u8, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        let session = SessionId(id(0, 0));
        let member = |n: usize| match n {
            0 => Member { user_id: format!("id-{name}"), username: name.to_string() },
            n => Member { user_id: format!("id-{n}"), username: format!("member {n}") },
        };
        let mut record = SessionRecord {
            id: session,
            title: "Earlier".to_string(),
            system: None,
            owner: format!("id-{name}"),
            created,
            ended: None,
            last_seq: 0,
            last_message: None,
            members: (0..members).map(member).collect(),
            invited: Vec::new(),
        };
        let mut all: Vec<MessageRecord> = Vec::new();
        for n in 0..messages {
            let role = [MessageRole::User, MessageRole::Assistant, MessageRole::System][n % 3];
            let message = MessageRecord {
                id: MessageId(id(1, n)),
                session,
                seq: n as u64 + 1,
                parent: all.last().map(|before| before.id),
                role,
                author: (role == MessageRole::User).then(|| member(0)),
                content: format!("message {n}"),
                created,
                client_id: None,
                finish_reason: (role == MessageRole::Assistant).then_some(FinishReason::Error),
                usage: None,
            };
            self.d.model.committed(&message).unwrap_or_else(|violation| panic!("{violation}"));
            record.append(&message);
            all.push(message);
        }
        self.d.storage.sessions.insert(session, record);
        self.d.storage.messages.insert(session, all);
    }
}

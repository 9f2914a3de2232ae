//! Any sequence of writes leaves what a simple model in memory says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// A write, with indices in place of ids.
#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    /// Session, offset of `seq` from the right one, parent among the messages so far (none at 0), author.
    Message(u8, i8, Index, bool),
    Invite(u8, u8),
    Member(u8, u8),
    /// Session, one of its messages, or none that there is at 0.
    Continue(u8, Index),
    End(u8),
    Rename(u8),
    Delete(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let session = 1..4u8;
    prop_oneof![
        2 => session.clone().prop_map(Step::Create),
        8 => (session.clone(), prop_oneof![9 => Just(0i8), 1 => -2..3i8], any::<Index>(), any::<bool>())
            .prop_map(|(s, offset, parent, author)| Step::Message(s, offset, parent, author)),
        1 => (session.clone(), 0..3u8).prop_map(|(s, who)| Step::Invite(s, who)),
        1 => (session.clone(), 0..3u8).prop_map(|(s, who)| Step::Member(s, who)),
        1 => (session.clone(), any::<Index>()).prop_map(|(s, which)| Step::Continue(s, which)),
        1 => session.clone().prop_map(Step::End),
        1 => session.clone().prop_map(Step::Rename),
        1 => session.prop_map(Step::Delete),
    ]
}

#[derive(Default)]
struct Model {
    sessions: BTreeMap<u8, (SessionRecord, Vec<MessageRecord>)>,
    next: u32,
}

impl Model {
    /// The write of a step, and whether it must succeed; a success is applied.
    fn apply(&mut self, step: &Step) -> (OwnedWrite, bool) {
        let people = ["bob", "eve", "kim"];
        match step {
            Step::Create(n) => {
                let free = !self.sessions.contains_key(n);
                self.sessions.entry(*n).or_insert_with(|| (session(*n), Vec::new()));
                (OwnedWrite::CreateSession(session(*n)), free)
            }
            Step::Message(n, offset, parent, by_user) => {
                self.next += 1;
                let none = Vec::new();
                let log = self.sessions.get(n).map_or(&none, |(_, log)| log);
                let parents: Vec<_> = [None].into_iter().chain(log.iter().map(|m| Some(m.id))).collect();
                let seq = (log.len() as i64 + 1 + i64::from(*offset)).max(0) as u64;
                let record = MessageRecord {
                    id: message_id(self.next),
                    seq,
                    parent: *parent.get(&parents),
                    author: by_user.then(|| member("ada")),
                    role: if *by_user { MessageRole::User } else { MessageRole::Assistant },
                    created: UnixMicros(9_000 + u64::from(self.next)),
                    ..message(session_id(*n), 1, &format!("text {}", self.next))
                };
                let fits = self.sessions.contains_key(n) && seq == log.len() as u64 + 1;
                if let Some((session, log)) = self.sessions.get_mut(n).filter(|_| fits) {
                    session.last_seq = seq;
                    if *by_user || record.parent == session.last_message {
                        session.last_message = Some(record.id);
                    }
                    log.push(record.clone());
                }
                (OwnedWrite::Message(record), fits)
            }
            Step::Invite(n, who) => {
                let username = people[usize::from(*who)].to_owned();
                let write = OwnedWrite::Invite { session: session_id(*n), username: username.clone() };
                let Some((session, _)) = self.sessions.get_mut(n) else { return (write, false) };
                if !session.invited.contains(&username) {
                    session.invited.push(username);
                }
                (write, true)
            }
            Step::Member(n, who) => {
                let who = member(people[usize::from(*who)]);
                let (user_id, username) = (who.user_id.clone(), who.username.clone());
                let write = OwnedWrite::Member { session: session_id(*n), user_id, username };
                let Some((session, _)) = self.sessions.get_mut(n) else { return (write, false) };
                session.invited.retain(|name| *name != who.username);
                if !session.members.contains(&who) {
                    session.members.push(who);
                }
                (write, true)
            }
            Step::Continue(n, which) => {
                let none = Vec::new();
                let log = self.sessions.get(n).map_or(&none, |(_, log)| log);
                let ids: Vec<_> = [message_id(0)].into_iter().chain(log.iter().map(|m| m.id)).collect();
                let message = *which.get(&ids);
                let found = message != message_id(0);
                if let Some((session, _)) = self.sessions.get_mut(n).filter(|_| found) {
                    session.last_message = Some(message);
                }
                (OwnedWrite::Continue { session: session_id(*n), message }, found)
            }
            Step::End(n) => {
                self.next += 1;
                let at = UnixMicros(u64::from(self.next));
                let found = self.sessions.get_mut(n).map(|(session, _)| session.ended.get_or_insert(at)).is_some();
                (OwnedWrite::EndSession { session: session_id(*n), at }, found)
            }
            Step::Rename(n) => {
                self.next += 1;
                let title = format!("title {}", self.next);
                let found = self.sessions.get_mut(n).map(|(s, _)| s.title.clone_from(&title)).is_some();
                (OwnedWrite::RenameSession { session: session_id(*n), title }, found)
            }
            Step::Delete(n) => {
                let found = self.sessions.remove(n).is_some();
                (OwnedWrite::DeleteSession { session: session_id(*n) }, found)
            }
        }
    }

    fn check(&self, db: &Db) {
        let messages: usize = self.sessions.values().map(|(_, log)| log.len()).sum();
        assert_eq!(db.totals(), (self.sessions.len() as u64, messages as u64));
        for n in 1..4 {
            let expected = self.sessions.get(&n);
            assert_eq!(db.session(session_id(n)).as_ref(), expected.map(|(session, _)| session));
            let Some((_, log)) = expected else { continue };
            assert_eq!(db.messages(session_id(n), u64::MAX, 1000), (log.clone(), false));
            for leaf in log {
                assert_eq!(db.message(session_id(n), leaf.id).as_ref(), Some(leaf));
                assert_eq!(db.message(session_id(n % 3 + 1), leaf.id), None, "of another session");
                let mut path = vec![leaf];
                while let Some(parent) = path[0].parent {
                    let parent = log.iter().find(|m| m.id == parent).expect("parents come first");
                    if (parent.role, path[0].role) == (MessageRole::User, MessageRole::User) {
                        path.splice(0..0, between(log, parent, path[0]));
                    }
                    path.insert(0, parent);
                }
                let texts: Vec<_> = path.iter().map(|m| m.content.as_str()).collect();
                let found = db.conversation(session_id(n), leaf.id).unwrap();
                assert_eq!(found.turns.iter().map(|turn| turn.content.as_str()).collect::<Vec<_>>(), texts);
                assert!(!found.cut);
            }
        }
        let mut active: Vec<_> = self
            .sessions
            .values()
            .map(|(s, log)| (log.iter().map(|m| m.created).chain([s.created]).max(), s.id))
            .collect();
        active.sort_by(|a, b| b.cmp(a));
        let listed = db.sessions(&member("ada").user_id, "ada", 10);
        assert_eq!(listed, active.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }
}

/// The answer to a person's message that stands before another person's message that follows it.
fn between<'a>(
    log: &'a [MessageRecord],
    parent: &MessageRecord,
    follower: &MessageRecord,
) -> Option<&'a MessageRecord> {
    let answers = |to: &MessageRecord| {
        let id = to.id;
        log.iter().filter(move |m| m.parent == Some(id) && m.role == MessageRole::Assistant)
    };
    let end = answers(follower).next().map_or(u64::MAX, |first| first.seq);
    let (earlier, later): (Vec<_>, Vec<_>) =
        answers(parent).filter(|a| a.seq < end).partition(|a| a.seq < follower.seq);
    later.first().or(earlier.last()).copied()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_writes_leave_what_the_model_says(steps in prop::collection::vec(step(), 1..60), reopen_after in any::<Index>()) {
        let scratch = Scratch::new();
        let path = scratch.join("causerie.db");
        let mut db = Db::open(&path);
        let mut model = Model::default();
        let reopen_after = reopen_after.index(steps.len());
        // In two halves, each queued at once, so that many share a transaction.
        for half in [&steps[..reopen_after], &steps[reopen_after..]] {
            let expected: Vec<bool> = half
                .iter()
                .map(|step| {
                    let (write, succeeds) = model.apply(step);
                    db.store.submit(Job::Write(RequestId(0), write)).unwrap();
                    succeeds
                })
                .collect();
            for (step, succeeds) in half.iter().zip(expected) {
                let reply = db.reply();
                prop_assert_eq!(matches!(reply, Reply::Stored(_)), succeeds, "{:?}: {:?}", step, reply);
            }
            model.check(&db);
            drop(db);
            db = Db::open(&path);
            model.check(&db);
        }
    }
}

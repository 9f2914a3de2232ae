//! Finding conversations by what was said in them.

use causerie_core::{SessionId, Uuid};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use super::error::JobError;

/// Chats that are looked through, those with the newest activity: as many as a list of them has at most.
const SEARCHED_SESSIONS: u32 = 1_000;

/// Bytes of text that one search looks through, the newest of each chat first: commits wait for its end, some 10 ms.
const SEARCHED_BYTES: usize = 8 << 20;

/// Chats in one answer: more than somebody reads.
const FOUND: usize = 50;

/// Characters shown before and behind what was found.
const AROUND: usize = 32;

/// Who searches, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// Chats are found that they are in …
    pub(crate) user_id: String,
    /// … or are invited to.
    pub(crate) username: String,
    /// All of these stand in what is found, wherever; upper and lower case are the same.
    pub(crate) words: Vec<String>,
}

/// A chat that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) session: SessionId,
    pub(crate) title: String,
    /// Who has it, by user id.
    pub(crate) owner: String,
    /// Where in its text: of the newest message with most of the words, what stands around the longest of them. `None`
    /// where its title has all of the words.
    pub(crate) excerpt: Option<String>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The chats with the newest activity first.
    pub(crate) hits: Vec<Hit>,
    /// Whether there may be more: a limit was reached.
    pub(crate) more: bool,
}

/// A text made equal for all that differs only in case.
fn folded(text: &str, into: &mut String) {
    into.clear();
    if text.is_ascii() {
        into.push_str(text);
        into.make_ascii_lowercase();
    } else {
        into.extend(text.chars().flat_map(char::to_lowercase));
    }
}

/// Looks through the chats of somebody.
pub(crate) fn search(connection: &Connection, search: &Search) -> Result<Found, JobError> {
    search_within(connection, search, SEARCHED_BYTES)
}

fn search_within(connection: &Connection, search: &Search, mut budget: usize) -> Result<Found, JobError> {
    let mut buffer = String::new();
    let words: Vec<String> =
        search.words.iter().map(|word| word.chars().flat_map(char::to_lowercase).collect()).collect();
    let mut sessions = connection.prepare_cached(
        "SELECT key, id, title, owner FROM sessions
         WHERE ended IS NULL AND key IN (SELECT session FROM members WHERE user_id = ?1
                                         UNION ALL SELECT session FROM invitations WHERE username = ?2)
         ORDER BY active DESC, key DESC LIMIT ?3",
    )?;
    let mut texts = connection.prepare_cached("SELECT content FROM messages WHERE session = ?1 ORDER BY seq DESC")?;
    let mut rows = sessions.query(params![search.user_id, search.username, SEARCHED_SESSIONS])?;
    let (mut found, mut looked_at) = (Found::default(), 0);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        if found.hits.len() == FOUND {
            found.more = true;
            break;
        }
        let (session, title): (i64, String) = (row.get(0)?, row.get(2)?);
        folded(&title, &mut buffer);
        let wanted: Vec<&str> = words.iter().map(String::as_str).filter(|word| !buffer.contains(word)).collect();
        let mut missing = wanted.clone();
        let (mut excerpt, mut most) = (None, 0);
        let mut messages = texts.query([session])?;
        while !missing.is_empty()
            && let Some(message) = messages.next()?
        {
            // Looked at where SQLite has it, and copied into one buffer.
            let ValueRef::Text(text) = message.get_ref(0)? else { continue };
            let Some(left) = budget.checked_sub(text.len()) else {
                found.more = true;
                return Ok(found);
            };
            budget = left;
            let text = std::str::from_utf8(text).unwrap_or_default();
            folded(text, &mut buffer);
            missing.retain(|word| !buffer.contains(word));
            // A short word stands in many others ("at" in "what"): the longest says best what was meant.
            let said = || wanted.iter().filter(|word| buffer.contains(**word));
            if said().count() > most {
                most = said().count();
                excerpt = said().max_by_key(|word| word.len()).map(|word| excerpt_of(text, word));
            }
        }
        if missing.is_empty() {
            let (id, owner) = (SessionId(Uuid(row.get(1)?)), row.get(3)?);
            found.hits.push(Hit { session: id, title, owner, excerpt });
        }
    }
    found.more |= looked_at == SEARCHED_SESSIONS;
    Ok(found)
}

/// What stands around a word, in a line.
fn excerpt_of(text: &str, word: &str) -> String {
    let begins = |at: &usize| {
        let mut rest = text[*at..].chars().flat_map(char::to_lowercase);
        word.chars().all(|wanted| rest.next() == Some(wanted))
    };
    let at = text.char_indices().map(|(at, _)| at).find(begins).unwrap_or(0);
    let from = text[..at].char_indices().rev().take(AROUND).last().map_or(at, |(from, _)| from);
    let length = word.chars().count() + AROUND;
    let to = text[at..].char_indices().nth(length).map_or(text.len(), |(to, _)| at + to);
    let line = text[from..to].split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{line}{}", if from > 0 { "…" } else { "" }, if to < text.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    /// Chats by number, each with an owner and its messages, the later the newer; all of them also have a guest.
    fn database(chats: &[(&str, &str, &[&str])]) -> Connection {
        let connection = schema::in_memory().unwrap();
        for (number, (owner, title, messages)) in (1_i64..).zip(chats) {
            let id = [number as u8; 16];
            let sql = "INSERT INTO sessions (key, id, title, owner, created, active) VALUES (?1, ?2, ?3, ?4, 1, ?1)";
            connection.execute(sql, params![number, id, title, owner]).unwrap();
            let sql = "INSERT INTO members (session, user_id, username) VALUES (?1, ?2, ?2)";
            connection.execute(sql, params![number, owner]).unwrap();
            for (seq, text) in (1_i64..).zip(*messages) {
                let sql = "INSERT INTO messages (id, session, seq, role, content, created) VALUES (?1, ?2, ?3, 'user', ?4, 1)";
                let id: [u8; 16] = std::array::from_fn(|at| if at == 0 { number as u8 } else { seq as u8 });
                connection.execute(sql, params![id, number, seq, text]).unwrap();
            }
        }
        connection
    }

    fn find(connection: &Connection, user: &str, words: &[&str]) -> Found {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        search(connection, &Search { user_id: user.to_owned(), username: user.to_owned(), words }).unwrap()
    }

    fn titles(found: &Found) -> Vec<&str> {
        found.hits.iter().map(|hit| hit.title.as_str()).collect()
    }

    #[test]
    fn chats_are_found_by_title_and_text_of_those_who_are_in_them_alone() {
        let connection = database(&[
            ("ada", "Whales", &["How deep do they dive?", "Sperm whales dive 2 km."]),
            ("ada", "Tea", &["Green tea, at night?", "50 % of people… ÄRGER with_it, that is"]),
            ("bob", "Whales too", &["A secret about whales"]),
        ]);
        assert_eq!(titles(&find(&connection, "ada", &["WHALE"])), ["Whales"]);
        assert_eq!(find(&connection, "ada", &["whales"]).hits[0].excerpt, None, "its title says it");
        // Words of several messages, and of the title.
        let found = find(&connection, "ada", &["deep", "sperm", "whales"]);
        assert_eq!(found.hits[0].excerpt.as_deref(), Some("Sperm whales dive 2 km."));
        // Of all messages that were looked at, the one that says most; around its longest word.
        let found = find(&connection, "ada", &["at", "night"]);
        assert_eq!(found.hits[0].excerpt.as_deref(), Some("Green tea, at night?"));
        // Letters beyond ASCII; and nothing is a pattern.
        assert_eq!(titles(&find(&connection, "ada", &["ärger"])), ["Tea"]);
        assert_eq!(titles(&find(&connection, "ada", &["50 %"])), ["Tea"]);
        assert_eq!(titles(&find(&connection, "ada", &["%"])), ["Tea"]);
        assert_eq!(titles(&find(&connection, "ada", &["h_w"])), [""; 0]);
        assert_eq!(titles(&find(&connection, "ada", &["' OR 1=1 --"])), [""; 0]);
        assert_eq!(titles(&find(&connection, "eve", &["whales"])), [""; 0]);

        // Who is invited may look; who was, and is gone, may not; what has ended cannot be opened.
        connection.execute("INSERT INTO invitations (session, username) VALUES (3, 'ada')", []).unwrap();
        assert_eq!(titles(&find(&connection, "ada", &["whales"])), ["Whales too", "Whales"], "the newest first");
        connection.execute("UPDATE sessions SET ended = 1 WHERE key = 1", []).unwrap();
        assert_eq!(titles(&find(&connection, "ada", &["whales"])), ["Whales too"]);
    }

    #[test]
    fn as_many_are_found_and_as_much_is_read_as_the_limits_say() {
        let chats: Vec<(&str, &str, &[&str])> = vec![("ada", "Same", &["one"]); FOUND + 1];
        let all = find(&database(&chats), "ada", &["one"]);
        assert_eq!((all.hits.len(), all.more), (FOUND, true));
        let all = find(&database(&chats[1..]), "ada", &["one"]);
        assert_eq!((all.hits.len(), all.more), (FOUND, false));

        let connection = database(&[("ada", "Old", &["1234"]), ("ada", "New", &["5678"])]);
        let one = Search { user_id: "ada".to_owned(), username: String::new(), words: vec!["1234".to_owned()] };
        assert_eq!(titles(&search_within(&connection, &one, 8).unwrap()), ["Old"]);
        let beyond = search_within(&connection, &one, 7).unwrap();
        assert_eq!((titles(&beyond), beyond.more), (vec![], true));
    }

    #[test]
    fn an_excerpt_is_a_line_around_the_word() {
        assert_eq!(excerpt_of("A\n\n  short   one", "short"), "A short one");
        let long = format!("{} Ünd {}", "ä".repeat(100), "ö".repeat(100));
        let excerpt = excerpt_of(&long, "ünd");
        assert_eq!(excerpt, format!("…{} Ünd {}…", "ä".repeat(AROUND - 1), "ö".repeat(AROUND - 1)));
    }
}

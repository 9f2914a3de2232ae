//! What a session has to say, in order, and how far each reader has got.
//!
//! The log keeps the recent frames of a session, encoded once. A reader is a [`Cursor`] into it. Text that is being
//! generated is no entry: it lies beside the log, and a cursor holds a byte offset into it, so deltas coalesce for a
//! reader that cannot take them at once. Entries that no longer fit fall out at the front; messages among them are in
//! storage, and a reader that needs them is told to fetch.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use crate::id::MessageId;
use crate::limits;

/// How far a reader has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The next entry's number.
    pub(crate) next: u64,
    /// The last message's `seq`.
    pub(crate) seq: u64,
    /// The answer whose deltas the reader gets: it was told `typing`, and not yet that it ended.
    pub(crate) partial: Option<MessageId>,
    /// Bytes that it has of it.
    pub(crate) offset: usize,
    /// It has the whole of it, or the error in its place, so that only the end of `typing` is missing.
    pub(crate) over: bool,
}

impl Cursor {
    /// Whether both see the same things from here on.
    pub(crate) fn meets(&self, other: &Cursor) -> bool {
        (self.next, self.partial, self.offset) == (other.next, other.partial, other.offset)
    }

    /// Goes past one entry.
    fn pass(&mut self, mark: &Mark) {
        self.next += 1;
        match mark {
            Mark::Answer(..) | Mark::Failure => self.over = true,
            Mark::Plain | Mark::Title | Mark::Presence => {}
            Mark::Begin(_) | Mark::Finish | Mark::End => {
                (self.partial, self.offset, self.over) = (partial_after(mark, self.partial), 0, false);
            }
        }
    }
}

/// What an entry means for the cursors that pass it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mark {
    /// Nothing.
    Plain,
    /// The session's title from here on.
    Title,
    /// Who is there from here on.
    Presence,
    /// An answer begins: `typing` true.
    Begin(MessageId),
    /// The answer itself, after its last delta; with its text for those who lack deltas.
    Answer(MessageId, String),
    /// The error in the place of the answer.
    Failure,
    /// The answer is over: `typing` false.
    Finish,
    /// The session's last frame.
    End,
}

/// One frame of a session.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) frame: Box<str>,
    /// Of a message.
    pub(crate) seq: Option<u64>,
    /// The id of a user who caused it and need not be told, also on a connection of theirs to come.
    pub(crate) except: Option<Box<str>>,
    pub(crate) mark: Mark,
}

impl Entry {
    fn bytes(&self) -> usize {
        let text = if let Mark::Answer(_, text) = &self.mark { text.len() } else { 0 };
        size_of::<Entry>() + self.frame.len() + text + self.except.as_ref().map_or(0, |user| user.len())
    }
}

/// The next thing for a cursor.
#[derive(Debug, PartialEq)]
pub(crate) enum Step<'a> {
    /// A frame for everyone but one user.
    Frame { frame: &'a str, except: Option<&'a str>, last: bool },
    /// A part of an answer.
    Delta { message: MessageId, offset: usize, text: &'a str },
    /// Some messages are only in storage.
    Fetch,
    /// Nothing for now.
    Wait,
}

/// The recent frames of one session.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// The first entry's number.
    first: u64,
    bytes: usize,
    /// The last message that is only in storage.
    stored_seq: u64,
    /// The answer under way before the first entry.
    partial: Option<MessageId>,
    /// The last message before that answer began.
    begun_after: u64,
    /// The frames before the first entry that still say how things are, with their numbers: see [`Log::lose`].
    lost: Vec<(u64, Entry)>,
    /// Where all live readers are.
    pub(crate) shared: Cursor,
    /// Whether some readers may not be live: none needs to be looked for where this is false.
    pub(crate) laggards: bool,
}

impl Log {
    /// A log that begins after the message `seq`.
    pub(crate) fn after(seq: u64) -> Log {
        let shared = Cursor { seq, ..Cursor::default() };
        Log { stored_seq: seq, shared, ..Log::default() }
    }

    /// The number of the next entry to come.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The last `seq` that a fetch must bring.
    pub(crate) fn stored_seq(&self) -> u64 {
        self.stored_seq
    }

    pub(crate) fn push(&mut self, entry: Entry, log_bytes: usize) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        // The end of an answer falls out together with the message or error right before it.
        while (self.is_over(log_bytes) || self.entries.front().is_some_and(|entry| entry.mark == Mark::Finish))
            && let Some(entry) = self.entries.pop_front()
        {
            self.first += 1;
            self.bytes -= entry.bytes();
            self.stored_seq = entry.seq.unwrap_or(self.stored_seq);
            if let Mark::Begin(_) = entry.mark {
                self.begun_after = self.stored_seq;
            }
            self.partial = partial_after(&entry.mark, self.partial);
            self.lose(entry);
        }
    }

    /// Keeps what fell out and still holds, for those who are behind it: the last title, the last frame that says who is
    /// there, and the last one that somebody else caused, since nobody is told of themselves. No more than three.
    fn lose(&mut self, entry: Entry) {
        match entry.mark {
            Mark::Title => self.lost.retain(|(_, old)| old.mark != Mark::Title),
            Mark::Presence => {
                self.lost.retain(|(_, old)| old.mark != Mark::Presence || old.except != entry.except);
                let presence = |(_, old): &&(u64, Entry)| old.mark == Mark::Presence;
                if self.lost.iter().filter(presence).count() > 1
                    && let Some(oldest) = self.lost.iter().position(|(_, old)| old.mark == Mark::Presence)
                {
                    self.lost.remove(oldest);
                }
            }
            _ => return,
        }
        self.lost.push((self.first - 1, entry));
    }

    /// What a reader of `user` who stands before the first entry must still be told of how things are.
    pub(crate) fn missed(&self, cursor: &Cursor, user: Option<&str>) -> Vec<String> {
        let told = |entry: &Entry| entry.except.is_none() || entry.except.as_deref() != user;
        let missed = |(number, entry): &&(u64, Entry)| *number >= cursor.next && told(entry);
        let of = |mark: Mark| self.lost.iter().filter(missed).rfind(|(_, entry)| entry.mark == mark);
        [of(Mark::Title), of(Mark::Presence)]
            .into_iter()
            .flatten()
            .map(|(_, entry)| String::from(&*entry.frame))
            .collect()
    }

    /// Whether the first entry must go; the last one stays, however large it is.
    fn is_over(&self, log_bytes: usize) -> bool {
        self.entries.len() > 1 && (self.bytes > log_bytes || self.entries.len() > limits::LOG_ENTRIES)
    }

    /// Where somebody stands who knows all messages up to `seq`, and whether they are within an answer there.
    pub(crate) fn cursor_after(&self, seq: u64) -> Cursor {
        let known = self.entries.iter().rposition(|e| e.seq.is_some_and(|s| s <= seq)).map_or(0, |last| last + 1);
        let mut cursor = Cursor { seq, ..self.first_cursor() };
        self.entries.iter().take(known).for_each(|entry| cursor.pass(&entry.mark));
        cursor
    }

    /// Where somebody stands who joins now.
    pub(crate) fn tip(&self, seq: u64) -> Cursor {
        let mut cursor = Cursor { seq, ..self.first_cursor() };
        self.entries.iter().for_each(|entry| cursor.pass(&entry.mark));
        debug_assert_eq!(cursor.next, self.end(), "a tip is behind the last entry");
        cursor
    }

    /// The text of an answer that is still in the log.
    pub(crate) fn answer(&self, message: MessageId) -> Option<&str> {
        self.entries.iter().find_map(|entry| match &entry.mark {
            Mark::Answer(id, text) if *id == message => Some(text.as_str()),
            _ => None,
        })
    }

    /// Moves a cursor behind the beginning of an answer, if that is still to come; `false` if it would pass messages, or
    /// if messages from before it are only in storage.
    pub(crate) fn skip_to_answer(&self, cursor: &mut Cursor, message: MessageId) -> bool {
        if self.partial == Some(message) {
            return cursor.seq >= self.begun_after;
        }
        let passed = usize::try_from(cursor.next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut ahead = self.entries.iter().skip(passed);
        let Some(distance) = ahead.position(|entry| entry.mark == Mark::Begin(message)) else { return true };
        let unknown = |entry: &Entry| entry.seq.is_some_and(|seq| seq > cursor.seq);
        if cursor.seq < self.stored_seq || self.entries.iter().skip(passed).take(distance).any(unknown) {
            return false;
        }
        cursor.next += distance as u64 + 1;
        (cursor.partial, cursor.offset, cursor.over) = (Some(message), 0, false);
        true
    }

    /// The place of the first entry.
    pub(crate) fn first_cursor(&self) -> Cursor {
        Cursor { next: self.first, seq: self.stored_seq, partial: self.partial, offset: 0, over: false }
    }

    /// Whether a reader needs what is no longer here.
    pub(crate) fn must_fetch(&self, cursor: &Cursor) -> bool {
        cursor.seq < self.stored_seq || self.is_behind(cursor)
    }

    /// Whether a cursor points before the first entry.
    pub(crate) fn is_behind(&self, cursor: &Cursor) -> bool {
        cursor.next < self.first
    }

    /// The next thing for `cursor`, which moves past it. `live` is the text being generated.
    pub(crate) fn step<'a>(&'a self, cursor: &mut Cursor, live: Option<(MessageId, &'a str)>) -> Step<'a> {
        if self.must_fetch(cursor) {
            return Step::Fetch;
        }
        let Some(entry) = self.entries.get((cursor.next - self.first) as usize) else {
            return match live {
                Some((message, text)) if cursor.partial == Some(message) => delta(cursor, message, text),
                _ => Step::Wait,
            };
        };
        if let Mark::Answer(message, text) = &entry.mark
            && cursor.partial == Some(*message)
            && cursor.offset < text.len()
        {
            return delta(cursor, *message, text);
        }
        cursor.pass(&entry.mark);
        if let Some(seq) = entry.seq {
            // Messages stand in the log in the order of their `seq`, and a cursor is put behind those that it knows.
            debug_assert!(seq > cursor.seq, "no reader sees a message twice");
            cursor.seq = seq;
        }
        Step::Frame { frame: &entry.frame, except: entry.except.as_deref(), last: entry.mark == Mark::End }
    }
}

fn partial_after(mark: &Mark, partial: Option<MessageId>) -> Option<MessageId> {
    match mark {
        Mark::Begin(message) => Some(*message),
        Mark::Finish | Mark::End => None,
        Mark::Plain | Mark::Title | Mark::Presence | Mark::Answer(..) | Mark::Failure => partial,
    }
}

fn delta<'a>(cursor: &mut Cursor, message: MessageId, text: &'a str) -> Step<'a> {
    let offset = text.floor_char_boundary(cursor.offset);
    let end = text.floor_char_boundary(text.len().min(offset.saturating_add(limits::DELTA_BYTES)));
    if end <= offset {
        return Step::Wait;
    }
    cursor.offset = end;
    Step::Delta { message, offset, text: &text[offset..end] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Uuid;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    const ANSWER: MessageId = MessageId(Uuid([7; 16]));

    fn entry(frame: &str, seq: Option<u64>, mark: Mark) -> Entry {
        Entry { frame: frame.into(), seq, except: None, mark }
    }

    /// A question, an answer, and the next question.
    fn exchange(log_bytes: usize) -> Log {
        let mut log = Log::after(0);
        log.push(entry("question", Some(1), Mark::Plain), log_bytes);
        log.push(entry("typing", None, Mark::Begin(ANSWER)), log_bytes);
        log.push(entry("answer", Some(2), Mark::Answer(ANSWER, "äb".to_string())), log_bytes);
        log.push(entry("typing ends", None, Mark::Finish), log_bytes);
        log.push(entry("again", Some(3), Mark::Plain), log_bytes);
        log
    }

    /// What a cursor gets, in short.
    fn read(log: &Log, mut cursor: Cursor) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match log.step(&mut cursor, None) {
                Step::Frame { frame, .. } => seen.push(frame.to_string()),
                Step::Delta { offset, text, .. } => seen.push(alloc::format!("{offset}:{text}")),
                Step::Fetch => seen.push("fetch".to_string()),
                Step::Wait => {}
            }
            if cursor.next == log.end() || seen.last().is_some_and(|s| s == "fetch") {
                return seen;
            }
        }
    }

    #[test]
    fn a_reader_gets_everything_with_the_deltas_before_their_message() {
        let log = exchange(100_000);
        let all = ["question", "typing", "0:äb", "answer", "typing ends", "again"];
        assert_eq!(read(&log, Cursor::default()), all);
        let mut half = log.cursor_after(1);
        assert!(log.skip_to_answer(&mut half, ANSWER));
        half.offset = 2;
        assert_eq!(read(&log, half), ["2:b", "answer", "typing ends", "again"]);
    }

    #[test]
    fn after_a_seq_only_what_is_newer_comes() {
        let log = exchange(100_000);
        assert_eq!(read(&log, log.cursor_after(1)), ["typing", "0:äb", "answer", "typing ends", "again"]);
        assert_eq!(read(&log, log.cursor_after(2)), ["typing ends", "again"]);
        assert_eq!(log.cursor_after(2).partial, Some(ANSWER), "the answer's end is still to come");
        assert_eq!(log.cursor_after(3), log.tip(3));
    }

    #[test]
    fn what_does_not_fit_falls_out_and_is_to_be_fetched() {
        let log = exchange(1);
        assert_eq!((log.first, log.entries.len(), log.stored_seq()), (4, 1, 2));
        assert_eq!(log.partial, None, "the end of an answer goes with it");
        assert_eq!(read(&log, Cursor::default()), ["fetch"]);
        assert_eq!(read(&log, log.first_cursor()), ["again"]);
        assert_eq!(log.bytes, log.entries[0].bytes());
    }

    #[test]
    fn nobody_goes_on_in_an_answer_without_what_came_before_it() {
        let mut log = Log::after(4);
        log.push(entry("typing", None, Mark::Begin(ANSWER)), 100_000);
        assert!(!log.skip_to_answer(&mut log.cursor_after(3), ANSWER), "message 4 is in storage");
        assert!(log.skip_to_answer(&mut log.cursor_after(4), ANSWER));
        // The beginning falls out, and so do two messages that came during the answer.
        for seq in 5..8 {
            log.push(entry("meanwhile", Some(seq), Mark::Plain), 1);
        }
        assert_eq!((log.stored_seq(), log.partial), (6, Some(ANSWER)));
        assert!(!log.skip_to_answer(&mut log.cursor_after(3), ANSWER));
        assert!(log.skip_to_answer(&mut log.cursor_after(4), ANSWER), "what came meanwhile can be fetched");
    }

    #[test]
    fn entries_at_their_limit_and_beyond() {
        let mut log = Log::after(0);
        for _ in 0..limits::LOG_ENTRIES {
            log.push(entry("x", None, Mark::Plain), usize::MAX);
        }
        assert_eq!((log.first, log.entries.len()), (0, limits::LOG_ENTRIES));
        log.push(entry("x", None, Mark::Plain), usize::MAX);
        assert_eq!((log.first, log.entries.len()), (1, limits::LOG_ENTRIES));
    }

    #[test]
    fn a_long_text_comes_in_bounded_parts_of_whole_characters() {
        let text = "ä".repeat(limits::DELTA_BYTES);
        let log = Log::after(0);
        let mut cursor = Cursor { partial: Some(ANSWER), offset: 0, ..Cursor::default() };
        let mut seen = String::new();
        while let Step::Delta { offset, text, .. } = log.step(&mut cursor, Some((ANSWER, &text))) {
            assert_eq!(offset, seen.len());
            assert!(text.len() <= limits::DELTA_BYTES);
            seen.push_str(text);
        }
        assert_eq!(seen, text);
    }
}

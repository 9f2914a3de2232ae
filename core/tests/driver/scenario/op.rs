//! What can happen in a life, and how bytes choose it.

/// One thing that happens. `who` picks among the open connections, `which` among what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Connect {
        name: u8,
        slow: bool,
    },
    Verdict {
        who: u8,
        good: bool,
    },
    Close {
        who: u8,
    },
    Grant {
        who: u8,
        credit: u16,
    },
    Create {
        who: u8,
    },
    Join {
        who: u8,
        which: u8,
    },
    Resume {
        who: u8,
    },
    Leave {
        who: u8,
    },
    /// `client_id` from 128 on: after a message, whichever.
    Chat {
        who: u8,
        text: u8,
        client_id: u8,
    },
    Edit {
        who: u8,
        which: u8,
        client_id: u8,
    },
    Regenerate {
        who: u8,
        which: u8,
    },
    Stop {
        who: u8,
    },
    Typing {
        who: u8,
        is_typing: bool,
    },
    Invite {
        who: u8,
        name: u8,
    },
    Rename {
        who: u8,
        which: u8,
    },
    Clear {
        who: u8,
    },
    Delete {
        who: u8,
        which: u8,
    },
    Command {
        who: u8,
        which: u8,
    },
    History {
        who: u8,
    },
    Ping {
        who: u8,
    },
    Token {
        which: u8,
        text: u8,
    },
    Finish {
        which: u8,
        reason: u8,
    },
    Fail {
        which: u8,
    },
    Backend {
        up: bool,
    },
    Answer {
        count: u8,
    },
    FailStorage {
        writes: u8,
        reads: u8,
    },
    Pass {
        millis: u16,
    },
}

impl From<[u8; 4]> for Op {
    /// Every four bytes are an operation; the common ones have more of the first byte's values.
    fn from([kind, a, b, c]: [u8; 4]) -> Op {
        let who = a;
        match kind % 48 {
            0..3 => Op::Connect { name: a, slow: b % 3 == 0 },
            3 => Op::Verdict { who, good: b % 4 != 0 },
            4 => Op::Close { who },
            5..11 => Op::Grant { who, credit: u16::from_le_bytes([b, c]) },
            11 => Op::Create { who },
            12..15 => Op::Join { who, which: b },
            15 => Op::Resume { who },
            16 => Op::Leave { who },
            17..21 => Op::Chat { who, text: b, client_id: c },
            21 => Op::Edit { who, which: b, client_id: c },
            22 => Op::Regenerate { who, which: b },
            23 => Op::Stop { who },
            24 => Op::Typing { who, is_typing: b % 2 == 0 },
            25..27 => Op::Invite { who, name: b },
            27 => Op::Rename { who, which: b },
            28 => Op::Clear { who },
            29 => Op::Delete { who, which: b },
            30 => Op::Command { who, which: b },
            31 => Op::History { who },
            32 => Op::Ping { who },
            33..38 => Op::Token { which: a, text: b },
            38..40 => Op::Finish { which: a, reason: b },
            40 => Op::Fail { which: a },
            41 => Op::Backend { up: a % 3 != 0 },
            42..45 => Op::Answer { count: a },
            45 => Op::FailStorage { writes: a % 3, reads: b % 2 },
            _ => Op::Pass { millis: u16::from_le_bytes([a, b]) },
        }
    }
}

//! A stream of answers, and a reader whose connection is lost again and again, who each time knows less than was sent.
//!
//! The bytes choose how much the session's log keeps, how the text is cut into tokens, where connections are lost, how many
//! frames the reader had not got by then, and how many bytes of an answer it had kept. They are made into a script of
//! [`hub`], whose world checks that what was known and what comes then are together, byte by byte, what was said; and that
//! nobody who is honest is refused.

use std::fmt::Write as _;

use crate::hub;

/// What is said, over and over: characters of one to four bytes.
const TEXT: &str = "It was ein schöner Tag, \u{6c34} and 🙂 they lived — ever ß after\u{301}. ";

/// Longer streams find nothing that shorter ones do not.
const STEPS: usize = 1_500;

/// Lives through the script that the bytes are.
///
/// # Panics
/// When a reader gets something twice, not at all, or is refused without cause.
pub fn check(data: &[u8]) {
    hub::check(script(data).as_bytes());
}

/// The script that the bytes are: three for the beginning, and three for each step.
fn script(data: &[u8]) -> String {
    let mut out = String::new();
    let [log, credit, kind, rest @ ..] = data else { return out };
    let line = "writing to a String does not fail";
    writeln!(out, "limit log_bytes {}", 300 + usize::from(*log) * 60).expect(line);
    out.push_str(
        "limit messages_per_minute 1000000\nlimit connections 64\nlimit connections_per_user 64\nconnect Ann\n",
    );
    // A second reader, slow or not, so that the lost one is compared with others.
    writeln!(out, "connect Bob {}", 2_000 + usize::from(*credit) * 500).expect(line);
    out.push_str("send 0 {\"type\":\"create_session\"}\nsend 0 {\"type\":\"invite\",\"username\":\"Bob\"}\n");
    out.push_str("send 0 {\"type\":\"invite\",\"username\":\"Eve\"}\n");
    out.push_str("send 1 {\"type\":\"join_session\",\"session_id\":\"<<s0>>\"}\nconnect Eve\n");
    out.push_str("send 2 {\"type\":\"join_session\",\"session_id\":\"<<s0>>\"}\n");
    if kind % 2 == 0 {
        out.push_str("send 0 {\"type\":\"chat_message\",\"message\":\"Tell me\"}\n");
    }
    // Each coming back is a new connection, the last one.
    let mut eve = 2;
    let mut at = 0;
    for [kind, a, b] in rest.as_chunks::<3>().0.iter().take(STEPS) {
        match kind % 16 {
            0..7 => {
                let end = TEXT.ceil_char_boundary((at + 1 + usize::from(*a) % 12).min(TEXT.len()));
                writeln!(out, "text 0 {}", &TEXT[at..end]).expect(line);
                at = end % TEXT.len();
            }
            7..10 => {
                writeln!(out, "resume {eve} {} {}", a % 24, b).expect(line);
                eve += 1;
            }
            10 => out.push_str("send 0 {\"type\":\"chat_message\",\"message\":\"Go on\"}\n"),
            11 => writeln!(out, "send 0 {{\"type\":\"chat_message\",\"message\":\"<<long *{a}>>\"}}").expect(line),
            12 => out.push_str("end 0 stop\n"),
            13 if a % 4 == 0 => out.push_str("break 0 internal\n"),
            13 => writeln!(out, "text 0 <<{}*{}>>", if a % 2 == 0 { "ä" } else { "tea " }, b).expect(line),
            14 => writeln!(out, "grant 1 {}", usize::from(*a) * 8).expect(line),
            _ if a % 4 == 0 => out.push_str("storage held\n"),
            _ if a % 4 == 1 => writeln!(out, "stored {}", b % 4).expect(line),
            _ => out.push_str("storage prompt\n"),
        }
    }
    out
}

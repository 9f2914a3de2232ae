//! Texts of a script, with what only its life knows filled in.

use super::World;

/// Bytes of one text of a script with its repetitions done, at most.
const TEXT_BYTES: usize = 300_000;

/// Bytes of all of them, at most: longer lives find nothing and cost time.
const ALL_TEXT_BYTES: usize = 3_000_000;

impl World {
    /// A text with its `<<…>>` filled in; what is not known stays as it is.
    pub(super) fn filled_in(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, (inside, after))) =
            rest.split_once("<<").and_then(|(before, tail)| Some((before, tail.split_once(">>")?)))
        {
            out.push_str(before);
            match self.named(inside) {
                Some(value) => out.push_str(&value),
                None => out.extend(["<<", inside, ">>"]),
            }
            rest = after;
        }
        out.push_str(rest);
        out.truncate(out.floor_char_boundary(TEXT_BYTES.min(ALL_TEXT_BYTES.saturating_sub(self.bytes))));
        self.bytes += out.len();
        out
    }

    fn named(&self, name: &str) -> Option<String> {
        if let Some((text, count)) = name.rsplit_once('*') {
            let most = TEXT_BYTES / text.len().max(1);
            return Some(text.repeat(count.parse::<usize>().ok()?.min(most)));
        }
        let frames = || self.d.peers.values().flat_map(|peer| peer.frames.iter().rev());
        let field = |kind: &str, field: &str| {
            frames().find(|f| f["type"] == kind && f[field].is_string()).map(|f| f[field].as_str().unwrap_or("").into())
        };
        match name.split_at_checked(1)? {
            ("s", n) => self.sessions.get(n.parse::<usize>().ok()?).cloned(),
            ("m", n) => self.messages.get(n.parse::<usize>().ok()?).cloned(),
            ("a", "") => field("typing", "message_id"),
            ("e", "") => field("session_joined", "epoch"),
            _ => None,
        }
    }
}

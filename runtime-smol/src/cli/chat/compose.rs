//! Messages of several lines.
//!
//! A line that ends with a backslash goes on in the next one, and a message that begins with `"""` goes on to the next
//! `"""`. What was pasted is one message as it is: a backslash at the end of one of its lines is text.

/// What stands around a message of several lines.
const FENCE: &str = "\"\"\"";

/// Whether more is to come after a line end, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is whole.
    Whole,
    /// The last backslash says that it goes on.
    Backslash,
    /// The `"""` that closes is still to come.
    Open,
}

/// How a text ends that somebody wants to send.
pub(super) fn ending(text: &str) -> Ending {
    if let Some(rest) = text.trim_start().strip_prefix(FENCE) {
        return if rest.trim_end().ends_with(FENCE) { Ending::Whole } else { Ending::Open };
    }
    let backslashes = text.len() - text.trim_end_matches('\\').len();
    if backslashes % 2 == 1 { Ending::Backslash } else { Ending::Whole }
}

/// A message as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: String,
    /// It stood within `"""`: a `/` at its beginning is no command.
    pub(super) fenced: bool,
}

/// Takes away what was only there to say that the text goes on: the fence, and each backslash that stands before one of
/// `joints`, byte offsets of line ends which were typed after a backslash. Joints that are none are passed over.
pub(super) fn meant(text: &str, joints: &[usize]) -> Message {
    let trimmed = text.trim();
    if let Some(inner) = trimmed.strip_prefix(FENCE) {
        let inner = inner.strip_suffix(FENCE).unwrap_or(inner);
        let inner = inner.strip_prefix('\n').unwrap_or(inner);
        let inner = inner.strip_suffix('\n').unwrap_or(inner);
        return Message { text: inner.to_owned(), fenced: true };
    }
    let mut meant = String::with_capacity(text.len());
    let mut from = 0;
    for &joint in joints {
        let is_joint = joint > from && text.get(joint - 1..=joint) == Some("\\\n");
        if is_joint {
            meant.push_str(&text[from..joint - 1]);
            from = joint;
        }
    }
    meant.push_str(&text[from..]);
    Message { text: meant.trim().to_owned(), fenced: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_and_a_fence_go_on() {
        for (text, expected) in [
            ("", Ending::Whole),
            ("one", Ending::Whole),
            ("one \\", Ending::Backslash),
            ("one \\\ntwo", Ending::Whole),
            ("one \\\\", Ending::Whole),
            ("\\", Ending::Backslash),
            ("\"\"\"", Ending::Open),
            ("\"\"\"one\ntwo\\", Ending::Open),
            ("\"\"\"one\ntwo\"\"\"", Ending::Whole),
            ("\"\"\"one\"\"\" ", Ending::Whole),
            ("\"\"\"\"", Ending::Open),
            ("say \"\"\"", Ending::Whole),
        ] {
            assert_eq!(ending(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_says_that_it_goes_on_is_not_said() {
        let said = |text: &str, joints: &[usize]| meant(text, joints).text;
        assert_eq!(said("one \\\ntwo", &[5]), "one \ntwo");
        assert_eq!(said("a\\\nb\\\nc", &[2, 5]), "a\nb\nc");
        // Pasted, it is text; and what was a joint before the text was changed is none any more.
        assert_eq!(said("make \\\n  all", &[]), "make \\\n  all");
        assert_eq!(said("é\\\nb", &[1, 2, 90]), "é\\\nb");
        assert_eq!(said("é\\\nb", &[3]), "é\nb");
        let fenced = meant("\"\"\"\n/not a command\n  indented\n\"\"\"", &[]);
        assert_eq!(fenced, Message { text: "/not a command\n  indented".to_owned(), fenced: true });
        assert_eq!(said("\"\"\"one\"\"\"", &[]), "one");
        assert!(!meant("/help", &[]).fenced);
    }
}

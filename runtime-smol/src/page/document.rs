//! The page's document with what its first paint waits for inside it: the style sheet and the script that runs before. On their way
//! as files of their own they cost a third of the time to that paint, on the loopback as well. The policy names them by their hashes
//! (CSP Level 3, section 2.3.1), so that nothing else inline is taken.

use sha2::{Digest, Sha256};

use crate::base64;

/// The document as it is written, which names both files.
pub(super) const WRITTEN: &str = include_str!("index.html");

/// What stands in the document instead of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inline {
    /// How the document names the file.
    reference: &'static str,
    /// The file.
    text: &'static str,
    /// The element that takes its place.
    element: &'static str,
}

pub(super) const STYLE: Inline = Inline {
    reference: "<link rel=\"stylesheet\" href=\"style.css\">",
    text: include_str!("style.css"),
    element: "style",
};

pub(super) const EARLY: Inline =
    Inline { reference: "<script src=\"early.js\"></script>", text: include_str!("early.js"), element: "script" };

impl Inline {
    /// The source expression of a policy that allows this element and no other.
    pub(super) fn source(&self) -> String {
        format!("'sha256-{}'", base64::encode(&Sha256::digest(self.text)))
    }

    fn put_into(&self, document: &str) -> String {
        let Inline { reference, text, element } = self;
        document.replacen(reference, &format!("<{element}>{text}</{element}>"), 1)
    }
}

/// The document as it is sent.
pub(super) fn whole() -> String {
    EARLY.put_into(&STYLE.put_into(WRITTEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_in_it_and_end_where_they_should() {
        let whole = whole();
        for Inline { reference, text, element } in [STYLE, EARLY] {
            assert_eq!(WRITTEN.matches(reference).count(), 1, "{reference}");
            assert!(!whole.contains(reference), "{reference}");
            assert_eq!(whole.matches(&format!("<{element}>{text}</{element}>")).count(), 1, "{element}");
            assert!(!text.contains("</"), "{element}: an end tag in it would end the element");
        }
    }

    /// What is sent before the splash has ended is all that its paint may wait for.
    #[test]
    fn the_splash_comes_before_every_other_file() {
        let whole = whole();
        let splash = whole.find("</main>").expect("the splash");
        for later in [" src=\"", "rel=\"stylesheet\"", "modulepreload"] {
            assert!(whole.find(later).is_none_or(|at| at > splash), "{later} is before the splash");
        }
    }
}

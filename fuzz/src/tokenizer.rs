//! Any text, with one of several small vocabularies: encoded and decoded it is the same text.

#[path = "../../inference/tests/roundtrip/mod.rs"]
mod roundtrip;

/// The first byte chooses the vocabulary, the rest is the text.
///
/// # Panics
/// When the text does not come back.
pub fn check(data: &[u8]) {
    if let Some((&vocabulary, text)) = data.split_first() {
        roundtrip::check(vocabulary, &String::from_utf8_lossy(text));
    }
}

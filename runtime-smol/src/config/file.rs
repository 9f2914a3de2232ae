//! The file with settings: TOML, one key a setting, with the names of the flags.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::{DeInteger, DeTable, DeValue};

use super::error::SettingError;
use crate::limits::CONFIG_FILE_BYTES;

/// A file with settings, as it was written.
#[derive(Debug)]
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

/// One line `key = value`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Written,
}

/// What stands behind a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Switch(bool),
    One(OsString),
    List(Vec<OsString>),
    /// What no setting is, and how TOML calls it.
    Other(&'static str),
}

/// Reads a file whole.
///
/// # Errors
/// When it cannot be read, is longer than [`CONFIG_FILE_BYTES`], or is no TOML.
pub(super) fn read(path: &Path) -> Result<SettingsFile, SettingError> {
    let unreadable = |source| SettingError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(unreadable)?.take(CONFIG_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > CONFIG_FILE_BYTES {
        return Err(SettingError::TooLong { path: path.to_owned(), limit: CONFIG_FILE_BYTES });
    }
    let entries =
        parse(&text).map_err(|(line, message)| SettingError::Syntax { path: path.to_owned(), line, message })?;
    Ok(SettingsFile { path: path.to_owned(), entries })
}

/// All entries in the order of the file; or the line of what is no TOML, and why.
fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let line_of = |offset: usize| 1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count();
    let table = DeTable::parse(text)
        .map_err(|error| (line_of(error.span().map_or(0, |span| span.start)), error.message().to_owned()))?;
    let mut entries: Vec<Entry> = table
        .into_inner()
        .into_iter()
        .map(|(key, value)| Entry {
            line: line_of(key.span().start),
            key: key.into_inner().into_owned(),
            value: written(value.get_ref()),
        })
        .collect();
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::Boolean(on) => Written::Switch(*on),
        DeValue::Array(items) => {
            let texts: Option<Vec<OsString>> = items.iter().map(|item| scalar(item.get_ref())).collect();
            texts.map_or(Written::Other("an array of other things than texts and numbers"), Written::List)
        }
        DeValue::Table(_) => Written::Other("a table"),
        DeValue::Datetime(_) => Written::Other("a date"),
        other => scalar(other).map_or(Written::Other("a number that is too large"), Written::One),
    }
}

/// A text or a number, as it would stand on the command line.
fn scalar(value: &DeValue<'_>) -> Option<OsString> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(number) => integer(number),
        DeValue::Float(number) => Some(number.as_str().into()),
        _ => None,
    }
}

fn integer(number: &DeInteger<'_>) -> Option<OsString> {
    i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_with_their_lines() {
        let text = "# settings\nlisten = \"8081\"\n\nthreads = 0x10\noffline = true\nallow-origin = [\n \"a\", 2]\n[x]\ny = 1\n";
        let entries = parse(text).unwrap();
        let read: Vec<(&str, usize, &Written)> =
            entries.iter().map(|entry| (entry.key.as_str(), entry.line, &entry.value)).collect();
        let [one, number, list] =
            [Written::One("8081".into()), Written::One("16".into()), Written::List(vec!["a".into(), "2".into()])];
        assert_eq!(
            read,
            [
                ("listen", 2, &one),
                ("threads", 4, &number),
                ("offline", 5, &Written::Switch(true)),
                ("allow-origin", 6, &list),
                ("x", 8, &Written::Other("a table")),
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_named_by_its_line() {
        let (line, message) = parse("listen = \"8081\"\nthreads = = 2\n").unwrap_err();
        assert_eq!(line, 2);
        assert!(!message.is_empty());
        assert_eq!(parse("user = \"a\"\nuser = \"b\"\n").unwrap_err().0, 2, "twice the same");
    }

    #[test]
    fn a_file_of_the_largest_size_is_read_and_a_larger_one_is_not() {
        let directory = causerie_tests::TempDir::new();
        let path = directory.path().join("causerie.toml");
        let size = usize::try_from(CONFIG_FILE_BYTES).unwrap();
        std::fs::write(&path, "#".repeat(size)).unwrap();
        assert!(read(&path).unwrap().entries.is_empty());
        std::fs::write(&path, "#".repeat(size + 1)).unwrap();
        assert!(matches!(read(&path), Err(SettingError::TooLong { .. })));
    }
}

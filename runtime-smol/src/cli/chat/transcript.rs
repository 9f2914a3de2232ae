//! Conversations in files: those that are saved under a name, and the last one, which is always there.
//!
//! A file is JSON: `{"causerie": 1, "title", "model", "system", "sampling", "messages": [{"role", "content", "name"}]}`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use causerie_inference::chat::{Speaker, Turn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cli::private;

/// The largest file that is read, in bytes: a conversation of some ten million words.
const FILE_BYTES: u64 = 64 << 20;

/// The longest name that a conversation can be saved under, in bytes.
const NAME_BYTES: usize = 64;

/// Saved conversations that are listed, at most.
const LISTED: usize = 200;

/// Characters of a title that is made of the first message.
const TITLE_CHARACTERS: usize = 48;

/// The name of the last conversation, which no saved one can have.
const LAST: &str = ".last.json";

/// Which form the file has.
const FORM: u32 = 1;

/// A conversation as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Transcript {
    /// The form of the file.
    pub(super) causerie: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) sampling: Map<String, Value>,
    pub(super) messages: Vec<Said>,
}

/// A message of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) role: Role,
    pub(super) content: String,
    /// Of a person, in a shared conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    User,
    Assistant,
    System,
}

impl Said {
    /// By somebody without a name.
    pub(super) fn by(role: Role, content: &str) -> Said {
        Said { role, content: content.to_owned(), name: None }
    }

    /// As the engine takes it.
    pub(super) fn turn(&self) -> Turn {
        let role = match self.role {
            Role::User => Speaker::User,
            Role::Assistant => Speaker::Assistant,
            Role::System => Speaker::System,
        };
        Turn { role, content: self.content.clone() }
    }
}

impl Transcript {
    /// Without messages yet.
    pub(super) fn new() -> Transcript {
        Transcript { causerie: FORM, ..Transcript::default() }
    }

    /// Its title, or the beginning of its first message.
    pub(super) fn title(&self) -> String {
        let first = || self.messages.iter().find(|said| said.role == Role::User).map(|said| shortened(&said.content));
        self.title.clone().or_else(first).unwrap_or_else(|| "an empty conversation".to_owned())
    }
}

/// The beginning of a text, on one line.
pub(super) fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TITLE_CHARACTERS) {
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
        None => line,
    }
}

/// The directory of the saved conversations.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
}

/// A saved conversation, as it is listed.
pub(super) struct Saved {
    pub(super) name: String,
    pub(super) changed: SystemTime,
}

impl Shelf {
    /// In the data directory.
    pub(super) fn within(data_dir: &Path) -> Shelf {
        Shelf { directory: data_dir.join("chats") }
    }

    /// Saves a conversation; gives where it is.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub(super) fn save(&self, name: &str, transcript: &Transcript) -> Result<PathBuf, String> {
        let path = self.path(name)?;
        write(&path, transcript)?;
        Ok(path)
    }

    /// Reads a saved conversation.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub(super) fn load(&self, name: &str) -> Result<Transcript, String> {
        let path = self.path(name)?;
        read(&path).map_err(|error| match error {
            Unread::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("There is no {}; /sessions lists what is saved.", path.display())
            }
            Unread::Io(error) => format!("{} cannot be read: {error}.", path.display()),
            Unread::Form(what) => format!("{} is no saved conversation: {what}.", path.display()),
        })
    }

    /// Keeps a conversation as the last one.
    pub(super) fn keep_last(&self, transcript: &Transcript) -> Result<(), String> {
        write(&self.directory.join(LAST), transcript)
    }

    /// The last one, if there is one with messages, and when that was.
    pub(super) fn last(&self) -> Option<(Transcript, SystemTime)> {
        let path = self.directory.join(LAST);
        let transcript = read(&path).ok().filter(|transcript| !transcript.messages.is_empty())?;
        let changed = fs::metadata(&path).and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        Some((transcript, changed))
    }

    /// What is saved, the latest first.
    pub(super) fn list(&self) -> Vec<Saved> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut saved: Vec<Saved> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let name = name.strip_suffix(".json").filter(|name| checked(name).is_ok())?.to_owned();
                Some(Saved { name, changed: entry.metadata().and_then(|file| file.modified()).ok()? })
            })
            .take(LISTED)
            .collect();
        saved.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.name.cmp(&b.name)));
        saved
    }

    /// A name is a file of the shelf; what has a slash in it is a path.
    fn path(&self, name: &str) -> Result<PathBuf, String> {
        if name.contains('/') {
            return Ok(PathBuf::from(name));
        }
        let name = name.strip_suffix(".json").unwrap_or(name);
        checked(name)?;
        Ok(self.directory.join(format!("{name}.json")))
    }
}

fn checked(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
    let good = !name.is_empty() && name.len() <= NAME_BYTES && name.chars().all(fine) && !name.starts_with('.');
    if good {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name: use letters, digits, blanks, - and _, at most {NAME_BYTES} bytes; or a path with a / in it."
    ))
}

fn write(path: &Path, transcript: &Transcript) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{} cannot be written: {error}.", path.display());
    let mut json = serde_json::to_vec_pretty(transcript).map_err(|error| failed(&error))?;
    json.push(b'\n');
    private::write(path, &json).map_err(|error| failed(&error))
}

enum Unread {
    Io(io::Error),
    Form(String),
}

fn read(path: &Path) -> Result<Transcript, Unread> {
    let mut json = Vec::new();
    fs::File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut json)).map_err(Unread::Io)?;
    if json.len() as u64 > FILE_BYTES {
        return Err(Unread::Form(format!("it has more than {FILE_BYTES} bytes, the most that is read")));
    }
    let transcript: Transcript = serde_json::from_slice(&json)
        .map_err(|error| Unread::Form(format!("its JSON is not as it should be: {error}")))?;
    if transcript.causerie != FORM {
        let form = transcript.causerie;
        return Err(Unread::Form(format!("its form is {form}, this program knows {FORM}; use a newer one")));
    }
    Ok(transcript)
}

/// How long ago something was, in few words.
pub(super) fn ago(then: SystemTime) -> String {
    let seconds = then.elapsed().unwrap_or_default().as_secs();
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shelf(name: &str) -> Shelf {
        let directory = std::env::temp_dir().join(format!("causerie-shelf-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        Shelf { directory }
    }

    fn conversation() -> Transcript {
        let messages = vec![Said::by(Role::User, "Which tea\nat night?"), Said::by(Role::Assistant, "Chamomile.")];
        Transcript { system: Some("Be brief.".to_owned()), messages, ..Transcript::new() }
    }

    #[test]
    fn what_is_saved_is_loaded_and_listed() {
        let shelf = shelf("saved");
        assert_eq!(shelf.list().len(), 0);
        let path = shelf.save("my tea", &conversation()).unwrap();
        assert_eq!(shelf.load("my tea").unwrap(), conversation());
        assert_eq!(shelf.load("my tea.json").unwrap(), conversation());
        assert_eq!(shelf.load(path.to_str().unwrap()).unwrap(), conversation());
        shelf.keep_last(&conversation()).unwrap();
        assert_eq!(shelf.last().unwrap().0, conversation());
        let names: Vec<String> = shelf.list().into_iter().map(|saved| saved.name).collect();
        assert_eq!(names, ["my tea"]);
        assert_eq!(conversation().title(), "Which tea at night?");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(&shelf.directory).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::remove_dir_all(&shelf.directory).unwrap();
    }

    #[test]
    fn what_is_no_conversation_is_told_and_no_name_leads_out_of_the_shelf() {
        let shelf = shelf("wrong");
        for name in ["", "..", ".last", "a\nb", "a\0b", &"x".repeat(NAME_BYTES + 1)] {
            assert!(shelf.save(name, &conversation()).unwrap_err().contains("is no name"), "{name:?}");
        }
        assert!(shelf.save(&"x".repeat(NAME_BYTES), &conversation()).is_ok());
        assert!(shelf.load("nothing").unwrap_err().contains("/sessions lists"));
        for (json, told) in [
            ("", "JSON"),
            ("[]", "JSON"),
            (r#"{"causerie":2,"messages":[]}"#, "its form is 2"),
            (r#"{"causerie":1,"messages":[{"role":"ghost","content":""}]}"#, "ghost"),
        ] {
            fs::write(shelf.directory.join("bad.json"), json).unwrap();
            let error = shelf.load("bad").unwrap_err();
            assert!(error.contains("is no saved conversation") && error.contains(told), "{error}");
        }
        fs::remove_dir_all(&shelf.directory).unwrap();
    }

    #[test]
    fn times_and_titles_are_short() {
        let before = |seconds| ago(SystemTime::now() - Duration::from_secs(seconds));
        assert_eq!(before(3), "just now");
        assert_eq!(before(61), "1 minute ago");
        assert_eq!(before(7300), "2 hours ago");
        assert_eq!(before(90_000), "1 day ago");
        assert_eq!(ago(SystemTime::now() + Duration::from_secs(60)), "just now");
        assert_eq!(shortened(&"é".repeat(TITLE_CHARACTERS)), "é".repeat(TITLE_CHARACTERS));
        assert_eq!(shortened(&"é".repeat(TITLE_CHARACTERS + 1)), format!("{}…", "é".repeat(TITLE_CHARACTERS)));
    }
}

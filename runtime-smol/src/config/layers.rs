//! Where the value of a setting is taken from: the flag, else its variable, else the file, else the default.
//!
//! A setting is defined once, as an argument of clap's that has a flag and a variable; its key in the file is the flag's
//! name. What the file says is given to clap as the default before it parses, so that types, limits and help are the
//! argument's own. Of settings that exclude each other, the nearest source wins as well: a flag `--hf` overrules the
//! variable `CAUSERIE_MODEL`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::error::SettingError;
use super::file::{self, Entry, SettingsFile, Written};
use super::{user_directory, variable};

/// The argument that names the file, and so is not in it.
const FILE: &str = "config";

/// What is shown instead of a secret.
const HIDDEN: &str = "(hidden)";

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In the environment, under this name.
    Environment(String),
    /// In the file.
    File {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
    },
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Environment(name) => f.write_str(name),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A setting of the command that runs, and its value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name: that of the flag, without the dashes.
    pub key: String,
    /// Where its value was given.
    pub origin: Origin,
    /// Its values as texts; none where it has no default. Secrets are not among them.
    pub values: Vec<String>,
    /// What the server does when nothing is given, as its help has it.
    pub otherwise: Option<String>,
    /// Whether it is on or off.
    pub is_switch: bool,
    /// Whether it has several values.
    pub is_list: bool,
}

/// A command line with its environment and its file.
#[derive(Debug)]
pub struct Settled {
    /// For `clap::FromArgMatches`.
    pub matches: ArgMatches,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// The settings of the command that runs, in the order of its help.
    pub settings: Vec<Setting>,
}

/// Why there are no settings.
#[derive(Debug)]
pub enum SettleError {
    /// The command line makes no sense, or asks for help.
    Usage(clap::Error),
    /// The environment or the file does not.
    Setting(SettingError),
}

impl From<clap::Error> for SettleError {
    fn from(error: clap::Error) -> SettleError {
        SettleError::Usage(error)
    }
}

impl From<SettingError> for SettleError {
    fn from(error: SettingError) -> SettleError {
        SettleError::Setting(error)
    }
}

/// Whether an argument is a setting: it has a flag and a variable, and does not name the file.
pub fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some() && arg.get_env().is_some() && arg.get_id() != FILE
}

/// Parses a command line, the program's name first, with the environment and the file.
///
/// # Errors
/// [`SettleError`], the first of what is wrong.
pub fn settle(command: &Command, args: &[OsString]) -> Result<Settled, SettleError> {
    let given = match without_variables(command.clone()).try_get_matches_from(args) {
        Ok(given) => given,
        // Help shows the variables, and one of them may be what was missing.
        Err(_) => command.clone().try_get_matches_from(args)?,
    };
    let mut built = command.clone();
    built.build();
    let (path, given) = invoked(&given);
    let leaf = path.iter().fold(&built, |command, name| command.find_subcommand(name).expect("it was parsed"));
    let file = file_of(given)?.map(|path| file::read(&path)).transpose()?;
    if let Some(file) = &file {
        check_keys(&built, file)?;
    }
    let candidates = leaf.get_arguments().filter(|arg| is_setting(arg));
    let candidates = candidates.map(|arg| Candidate::find(arg, given, file.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let layers = Layers::new(exclude(leaf, candidates)?);
    let matches = layers.apply(command.clone(), &path).try_get_matches_from(args)?;
    let settings = layers.settings(leaf, invoked(&matches).1);
    Ok(Settled { matches, file: file.map(|file| file.path), settings })
}

fn without_variables(command: Command) -> Command {
    let command = command.mut_args(|arg| arg.env(Resettable::Reset));
    command.mut_subcommands(without_variables)
}

/// The names down to the subcommand that runs, and what it was given.
fn invoked(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut path, mut leaf) = (Vec::new(), matches);
    while let Some((name, below)) = leaf.subcommand() {
        path.push(name.to_owned());
        leaf = below;
    }
    (path, leaf)
}

/// The file that is named, which must be there, or the user's own, which need not.
fn file_of(given: &ArgMatches) -> Result<Option<PathBuf>, SettleError> {
    let named = given.try_get_one::<PathBuf>(FILE).ok().flatten().cloned();
    if let Some(path) = named.or_else(|| variable("CAUSERIE_CONFIG").map(PathBuf::from)) {
        return Ok(Some(path));
    }
    let own = user_directory("XDG_CONFIG_HOME", ".config").map(|directory| directory.join("causerie.toml"));
    Ok(own.filter(|path| path.exists()))
}

/// Every key is a setting of some command.
fn check_keys(root: &Command, file: &SettingsFile) -> Result<(), SettingError> {
    let mut known = BTreeSet::new();
    collect_keys(root, &mut known);
    for Entry { key, line, .. } in &file.entries {
        if !known.contains(key.as_str()) {
            let (path, key) = (file.path.clone(), key.clone());
            return Err(SettingError::Unknown { path, line: *line, similar: similar(&key, &known), key });
        }
    }
    Ok(())
}

fn collect_keys<'a>(command: &'a Command, keys: &mut BTreeSet<&'a str>) {
    keys.extend(command.get_arguments().filter(|arg| is_setting(arg)).filter_map(Arg::get_long));
    command.get_subcommands().for_each(|below| collect_keys(below, keys));
}

/// What clap would suggest if the key were a flag.
fn similar(key: &str, known: &BTreeSet<&str>) -> Option<String> {
    let arg = |key: &&str| Arg::new((*key).to_owned()).long((*key).to_owned());
    let command = Command::new("causerie").no_binary_name(true).args(known.iter().map(arg));
    let error = command.try_get_matches_from([format!("--{key}")]).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
        _ => None,
    }
}

/// A setting, and what its nearest source says.
struct Candidate {
    id: String,
    key: String,
    origin: Origin,
    /// Of the file.
    values: Vec<OsString>,
    /// False for a switch that is switched off.
    says_something: bool,
}

impl Candidate {
    fn find(arg: &Arg, given: &ArgMatches, file: Option<&SettingsFile>) -> Result<Candidate, SettingError> {
        let id = arg.get_id().as_str().to_owned();
        let key = arg.get_long().expect("settings have flags").to_owned();
        let flag = given.value_source(&id) == Some(ValueSource::CommandLine);
        let name = arg.get_env().expect("settings have variables").to_string_lossy().into_owned();
        let (origin, values) = if flag {
            return Ok(Candidate { id, key, origin: Origin::Flag, values: Vec::new(), says_something: true });
        } else if let Some(value) = variable(&name) {
            let delimiter = arg.get_value_delimiter();
            (Origin::Environment(name), split(value, delimiter))
        } else if let Some((file, entry)) = file.and_then(|file| Some((file, entry_of(file, &key)?))) {
            let origin = Origin::File { path: file.path.clone(), line: entry.line };
            let values = texts(arg, &entry.value).map_err(|why| {
                let (key, seen) = (key.clone(), shown(arg, &entry.value));
                SettingError::Value { origin: origin.clone(), key, seen, why }
            })?;
            (origin, values)
        } else {
            return Ok(Candidate { id, key, origin: Origin::Default, values: Vec::new(), says_something: false });
        };
        let says_something = check(arg, &values).map_err(|why| SettingError::Value {
            origin: origin.clone(),
            key: key.clone(),
            seen: if arg.is_hide_env_values_set() { HIDDEN.to_owned() } else { quoted(&values) },
            why,
        })?;
        Ok(Candidate { id, key, origin, values, says_something })
    }
}

fn entry_of<'a>(file: &'a SettingsFile, key: &str) -> Option<&'a Entry> {
    file.entries.iter().find(|entry| entry.key == key)
}

/// As clap splits it: only what is UTF-8.
fn split(value: OsString, delimiter: Option<char>) -> Vec<OsString> {
    match (value.to_str(), delimiter) {
        (Some(text), Some(delimiter)) => text.split(delimiter).map(OsString::from).collect(),
        _ => vec![value],
    }
}

/// What the file says as it would stand on the command line, or what should stand there.
fn texts(arg: &Arg, value: &Written) -> Result<Vec<OsString>, String> {
    match (value, is_switch(arg)) {
        (Written::Switch(on), true) => Ok(vec![on.to_string().into()]),
        (_, true) => Err("write true or false, without quotes".to_owned()),
        (Written::Switch(on), false) => Ok(vec![on.to_string().into()]),
        (Written::One(text), false) => Ok(vec![text.clone()]),
        (Written::List(texts), false) if is_list(arg) => Ok(texts.clone()),
        (Written::List(_), false) => Err("there can be only one; write a text or a number, not a list".to_owned()),
        (Written::Other(what), false) => Err(format!(
            "this is {what}; write a text or a number{}",
            if is_list(arg) { ", or a list of them" } else { "" }
        )),
    }
}

fn shown(arg: &Arg, value: &Written) -> String {
    match value {
        _ if arg.is_hide_env_values_set() => HIDDEN.to_owned(),
        Written::Switch(on) => on.to_string(),
        Written::One(text) => quoted(std::slice::from_ref(text)),
        Written::List(texts) => format!("[{}]", quoted(texts)),
        Written::Other(_) => "…".to_owned(),
    }
}

fn quoted(values: &[OsString]) -> String {
    values.iter().map(|value| format!("{:?}", value.to_string_lossy())).collect::<Vec<_>>().join(", ")
}

pub(super) fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Whether values other than those of the command line are what an argument takes; whether they say something, as a
/// switch does that is on; otherwise what is wrong and what is right.
fn check(arg: &Arg, values: &[OsString]) -> Result<bool, String> {
    let alone = Arg::new("value").long("value").action(arg.get_action().clone());
    let alone = alone.value_parser(arg.get_value_parser().clone()).default_values(values);
    let command = Command::new("causerie").no_binary_name(true).arg(alone);
    match command.try_get_matches_from(std::iter::empty::<&str>()) {
        Ok(matches) if is_switch(arg) => Ok(matches.try_get_one::<bool>("value").ok().flatten().is_none_or(|on| *on)),
        Ok(_) => Ok(true),
        Err(error) => Err(why(arg, &error)),
    }
}

fn why(arg: &Arg, error: &clap::Error) -> String {
    let mut why = match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid))) => format!("one of {}", valid.join(", ")),
        (ErrorKind::InvalidValue, _) if is_switch(arg) => "true or false".to_owned(),
        _ => std::error::Error::source(error).map_or_else(|| "it cannot be used".to_owned(), ToString::to_string),
    };
    if let Some(ContextValue::String(similar)) = error.get(ContextKind::SuggestedValue) {
        why += &format!("; did you mean {similar:?}?");
    }
    if error.kind() == ErrorKind::ValueValidation
        && let Some(help) = arg.get_help()
    {
        why += &format!(" ({}: {help})", arg.get_long().unwrap_or_default());
    }
    why
}

/// Of settings that exclude each other, leaves what the nearest source says.
fn exclude(leaf: &Command, mut candidates: Vec<Candidate>) -> Result<Vec<Candidate>, SettingError> {
    let mut pairs = Vec::new();
    for arg in leaf.get_arguments().filter(|arg| is_setting(arg) && !arg.is_global_set()) {
        for other in leaf.get_arg_conflicts_with(arg) {
            pairs.push([arg.get_id().as_str(), other.get_id().as_str()]);
        }
    }
    for pair in pairs {
        let [first, second] = pair.map(|id| candidates.iter().position(|it| it.id == id && it.says_something));
        let (Some(first), Some(second)) = (first, second) else { continue };
        let (a, b) = (&candidates[first], &candidates[second]);
        let further = match layer(&a.origin).cmp(&layer(&b.origin)) {
            // Two flags are clap's to refuse.
            std::cmp::Ordering::Equal if a.origin == Origin::Flag => continue,
            std::cmp::Ordering::Equal => {
                let [first, second] = [a, b].map(|it| (it.key.clone(), it.origin.clone()));
                return Err(SettingError::Exclusive { first, second });
            }
            std::cmp::Ordering::Less => second,
            std::cmp::Ordering::Greater => first,
        };
        let further = &mut candidates[further];
        (further.origin, further.says_something) = (Origin::Default, false);
    }
    Ok(candidates)
}

/// From the nearest on.
fn layer(origin: &Origin) -> u8 {
    match origin {
        Origin::Flag => 0,
        Origin::Environment(_) => 1,
        Origin::File { .. } => 2,
        Origin::Default => 3,
    }
}

/// What is said of each setting outside of the command line, by its id.
struct Layers(BTreeMap<String, Candidate>);

impl Layers {
    fn new(candidates: Vec<Candidate>) -> Layers {
        Layers(candidates.into_iter().map(|candidate| (candidate.id.clone(), candidate)).collect())
    }

    /// The command, and the one below it that runs, with what is known as its defaults.
    fn apply(&self, command: Command, path: &[String]) -> Command {
        let command = command.mut_args(|arg| self.apply_to(arg));
        match path.split_first() {
            Some((name, rest)) => command.mut_subcommand(name, |below| self.apply(below, rest)),
            None => command,
        }
    }

    fn apply_to(&self, arg: Arg) -> Arg {
        let Some(candidate) = self.0.get(arg.get_id().as_str()).filter(|_| is_setting(&arg)) else { return arg };
        match candidate.origin {
            Origin::Environment(_) => arg,
            Origin::File { .. } => arg.env(Resettable::Reset).default_values(&candidate.values),
            // A variable that is empty, or overruled by what excludes it.
            Origin::Flag | Origin::Default => arg.env(Resettable::Reset),
        }
    }

    fn settings(&self, leaf: &Command, matches: &ArgMatches) -> Vec<Setting> {
        let args = leaf.get_arguments().filter_map(|arg| Some((arg, self.0.get(arg.get_id().as_str())?)));
        args.map(|(arg, candidate)| {
            let raw = matches.try_get_raw(&candidate.id).ok().flatten();
            let values: Vec<String> = raw.into_iter().flatten().map(|value| value.to_string_lossy().into()).collect();
            let hide = arg.is_hide_env_values_set() && !values.is_empty();
            Setting {
                key: candidate.key.clone(),
                origin: candidate.origin.clone(),
                values: if hide { vec![HIDDEN.to_owned()] } else { values },
                otherwise: otherwise(arg),
                is_switch: is_switch(arg),
                is_list: is_list(arg),
            }
        })
        .collect()
    }
}

/// `one a core` of a help that ends with `[default: one a core]`.
pub(super) fn otherwise(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, otherwise) = help.rsplit_once("[default: ")?;
    Some(otherwise.trim_end_matches(']').to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use causerie_tests::TempDir;
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "causerie")]
    struct Cli {
        #[arg(long, global = true, env = "CAUSERIE_TEST_CONFIG")]
        config: Option<PathBuf>,
        #[arg(long, env = "CAUSERIE_TEST_PORT", default_value = "80", value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        /// How loud [default: as loud as may be]
        #[arg(long, env = "CAUSERIE_TEST_VOLUME", value_parser = ["low", "high"])]
        volume: Option<String>,
        #[arg(long, env = "CAUSERIE_TEST_FILE", conflicts_with = "silent")]
        file: Option<PathBuf>,
        #[arg(long, env = "CAUSERIE_TEST_SILENT", value_parser = clap::builder::FalseyValueParser::new())]
        silent: bool,
        #[arg(long, env = "CAUSERIE_TEST_ORIGIN", value_delimiter = ',')]
        origin: Vec<String>,
        #[arg(long, env = "CAUSERIE_TEST_KEY", hide_env_values = true)]
        key: Option<String>,
        #[arg(long)]
        once: bool,
    }

    /// What a file and flags come to: each setting as `key=values (origin)`, or the message.
    fn settled(file: &str, flags: &[&str]) -> Result<Vec<String>, String> {
        let directory = TempDir::new();
        let path = directory.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        let mut args: Vec<OsString> = vec!["causerie".into(), "--config".into(), path.clone().into()];
        args.extend(flags.iter().map(OsString::from));
        let short = |text: String| text.replace(&path.display().to_string(), "c.toml");
        match settle(&Cli::command(), &args) {
            Ok(settled) => {
                assert_eq!(settled.file.as_deref(), Some(path.as_path()));
                let shown = |it: &Setting| short(format!("{}={} ({})", it.key, it.values.join(","), it.origin));
                Ok(settled.settings.iter().map(shown).collect())
            }
            Err(SettleError::Setting(error)) => Err(short(error.to_string())),
            Err(SettleError::Usage(error)) => Err(error.to_string()),
        }
    }

    #[track_caller]
    fn refused(file: &str, words: &[&str]) {
        let message = settled(file, &[]).expect_err("it is refused");
        for word in words {
            assert!(message.contains(word), "no {word:?} in {message:?}");
        }
    }

    #[test]
    fn the_flag_goes_before_the_file_and_the_file_before_the_default() {
        let file = "port = 81\n# loud\nvolume = \"high\"\norigin = [\"a\", \"b\"]\nsilent = true\n";
        let settings = settled(file, &["--port", "82"]).unwrap();
        assert_eq!(
            settings,
            [
                "port=82 (flag)",
                "volume=high (c.toml:3)",
                "file= (default)",
                "silent=true (c.toml:5)",
                "origin=a,b (c.toml:4)",
                "key= (default)"
            ]
        );
        assert!(settled("", &[]).unwrap().contains(&"port=80 (default)".to_owned()));
    }

    #[test]
    fn of_what_excludes_each_other_the_nearest_is_taken() {
        let settings = settled("silent = true\n", &["--file", "x"]).unwrap();
        assert_eq!(&settings[2..4], ["file=x (flag)", "silent=false (default)"]);
        let settings = settled("file = \"x\"\n", &["--silent"]).unwrap();
        assert_eq!(&settings[2..4], ["file= (default)", "silent=true (flag)"]);
        // What is switched off excludes nothing.
        let settings = settled("file = \"x\"\nsilent = false\n", &[]).unwrap();
        assert_eq!(&settings[2..4], ["file=x (c.toml:1)", "silent=false (c.toml:2)"]);
        refused("file = \"x\"\nsilent = true\n", &["file (c.toml:1)", "silent (c.toml:2)", "exclude each other"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_what_is_right() {
        refused("\nprot = 1\n", &["c.toml:2:", "\"prot\"", "did you mean \"port\"?", "config --example"]);
        refused("once = true\n", &["c.toml:1:", "no setting \"once\""]);
        refused("config = \"x\"\n", &["no setting \"config\""]);
        refused("port = 0\n", &["c.toml:1: port = \"0\"", "1..=65535"]);
        refused("port = true\n", &["port = \"true\"", "invalid digit"]);
        refused("port = [1]\n", &["port = [\"1\"]", "only one"]);
        refused("volume = \"hihg\"\n", &["\"hihg\"", "one of low, high", "did you mean \"high\"?"]);
        refused("silent = \"yes\"\n", &["silent = \"yes\"", "true or false"]);
        refused("origin = [[1]]\n", &["origin", "a list of them"]);
        refused("[port]\n", &["c.toml:1: port", "a table"]);
        refused("port = 1979-05-27\n", &["a date"]);
        refused("port = 1\nport = 2\n", &["c.toml:2:", "TOML"]);
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let args = ["causerie", "--config", "/nowhere/at/all.toml"].map(OsString::from);
        let error = settle(&Cli::command(), &args).expect_err("there is none");
        let SettleError::Setting(SettingError::Unreadable { path, .. }) = error else { panic!("{error:?}") };
        assert_eq!(path, Path::new("/nowhere/at/all.toml"));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(settled("key = \"s3cret\"\n", &[]).unwrap().contains(&"key=(hidden) (c.toml:1)".to_owned()));
        let message = settled("key = [\"s3cret\"]\n", &[]).unwrap_err();
        assert!(!message.contains("s3cret"), "{message}");
    }

    #[test]
    fn what_happens_without_a_value_is_what_the_help_says() {
        let mut command = Cli::command();
        command.build();
        let arg = command.get_arguments().find(|arg| arg.get_id() == "volume").unwrap();
        assert_eq!(otherwise(arg).as_deref(), Some("as loud as may be"));
    }
}

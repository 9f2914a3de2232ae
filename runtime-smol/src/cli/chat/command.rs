//! What begins with a slash.

/// Where a command is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// Wherever the model is.
    Everywhere,
    /// With a model in this process.
    Here,
    /// With a server.
    Server,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Help,
    Set,
    System,
    Model,
    Regenerate,
    Edit,
    New,
    Clear,
    Resume,
    Save,
    Load,
    Sessions,
    Join,
    Leave,
    Who,
    Invite,
    Rename,
    Delete,
    History,
    Status,
    Stats,
    Exit,
    /// Something else; a server may know it.
    Unknown,
}

/// A command as people are told of it.
struct Told {
    verb: Verb,
    name: &'static str,
    /// What follows the name.
    usage: &'static str,
    at: Where,
    about: &'static str,
}

const fn told(verb: Verb, name: &'static str, usage: &'static str, at: Where, about: &'static str) -> Told {
    Told { verb, name, usage, at, about }
}

/// All of them, as `/help` shows them. Where one has two meanings it stands twice.
const COMMANDS: &[Told] = &[
    told(Verb::Help, "/help", "", Where::Everywhere, "this"),
    told(Verb::Set, "/set", "[NAME VALUE]", Where::Everywhere, "show how answers are sampled, or change it"),
    told(
        Verb::System,
        "/system",
        "[TEXT]",
        Where::Here,
        "show the instructions for the model, or give others; - for none",
    ),
    told(
        Verb::System,
        "/system",
        "[TEXT]",
        Where::Server,
        "show the instructions for the next conversation, or give some; - for none",
    ),
    told(Verb::Model, "/model", "[NAME]", Where::Here, "show the models on this machine, or go on with another one"),
    told(Verb::Model, "/model", "", Where::Server, "show the server's model"),
    told(Verb::Regenerate, "/regenerate", "", Where::Everywhere, "another answer to the last message"),
    told(Verb::Edit, "/edit", "TEXT", Where::Everywhere, "say your last message differently"),
    told(Verb::New, "/new", "", Where::Here, "begin a new conversation"),
    told(Verb::New, "/new", "[TITLE]", Where::Server, "begin a new conversation"),
    told(Verb::Clear, "/clear", "", Where::Here, "forget the conversation and begin anew"),
    told(Verb::Clear, "/clear", "", Where::Server, "end this conversation, for everybody in it"),
    told(Verb::Resume, "/resume", "", Where::Everywhere, "go on with the conversation that you had last"),
    told(Verb::Save, "/save", "NAME", Where::Everywhere, "save the conversation as JSON, under a name or to a path"),
    told(Verb::Load, "/load", "NAME", Where::Here, "go on with a saved one"),
    told(Verb::Sessions, "/sessions", "", Where::Here, "list what is saved"),
    told(Verb::Sessions, "/sessions", "", Where::Server, "list your conversations"),
    told(Verb::Join, "/join", "NUMBER|TITLE|ID", Where::Server, "go to one of them"),
    told(Verb::Leave, "/leave", "", Where::Server, "leave this one; it stays where it is"),
    told(Verb::Who, "/who", "", Where::Server, "who is here"),
    told(Verb::Invite, "/invite", "NAME", Where::Server, "let somebody in"),
    told(Verb::Rename, "/rename", "TITLE", Where::Server, "give the conversation another title"),
    told(Verb::Delete, "/delete", "", Where::Server, "delete it, for everybody"),
    told(Verb::History, "/history", "", Where::Everywhere, "show the conversation so far"),
    told(Verb::Status, "/status", "", Where::Everywhere, "about this conversation"),
    told(Verb::Stats, "/stats", "", Where::Here, "how fast the last answer was"),
    told(Verb::Stats, "/stats", "", Where::Server, "about the server"),
    told(Verb::Exit, "/exit", "", Where::Everywhere, "leave (so do Ctrl-D, and Ctrl-C at an empty prompt)"),
];

/// Other names for the same.
const ALIASES: &[(&str, Verb)] = &[
    ("/quit", Verb::Exit),
    ("/bye", Verb::Exit),
    ("/?", Verb::Help),
    ("/retry", Verb::Regenerate),
    ("/stat", Verb::Stats),
    ("/ls", Verb::Sessions),
];

/// How keys and texts are understood, for `/help`.
const KEYS: &str = "\
A line that ends with \\ goes on in the next one; so does what stands between \"\"\" and \"\"\". What is pasted is one message.
Ctrl-C stops an answer, and what there is of it is kept. At an empty prompt it leaves.
Up and Down, or Ctrl-R and a word, find what you typed before; Tab completes commands.";

/// A command and what follows it; `None` for what is to be said.
pub(super) fn parse(text: &str) -> Option<(Verb, &str)> {
    let text = text.trim();
    if !text.starts_with('/') {
        return None;
    }
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let name = name.to_ascii_lowercase();
    let known = COMMANDS.iter().map(|told| (told.name, told.verb)).chain(ALIASES.iter().copied());
    let verb = known.into_iter().find(|(known, _)| *known == name).map_or(Verb::Unknown, |(_, verb)| verb);
    Some((verb, rest.trim()))
}

/// Whether a command is of use there.
pub(super) fn belongs(verb: Verb, place: Where) -> bool {
    verb == Verb::Unknown || of(place).any(|told| told.verb == verb)
}

/// What `/help` says.
pub(super) fn help(place: Where) -> String {
    let left = |told: &Told| format!("{} {}", told.name, told.usage).trim_end().to_owned();
    let width = of(place).map(|told| left(told).len()).max().unwrap_or(0);
    let lines = of(place).map(|told| format!("{:<width$}  {}", left(told), told.about));
    format!("{}\n\n{KEYS}", lines.collect::<Vec<_>>().join("\n"))
}

/// The names that begin so, for completion.
pub(super) fn beginning_with(start: &str, place: Where) -> Vec<&'static str> {
    let start = start.to_ascii_lowercase();
    of(place).map(|told| told.name).filter(|name| name.starts_with(&start)).collect()
}

/// What can follow what was typed of a command, where that is clear.
pub(super) fn hint(typed: &str, place: Where) -> Option<String> {
    let mut fitting = of(place).filter(|told| told.name.starts_with(typed));
    let first = fitting.next()?;
    if first.name != typed && fitting.next().is_some() {
        return None;
    }
    let hint = format!("{} {}", &first.name[typed.len()..], first.usage);
    Some(hint.trim_end().to_owned()).filter(|hint| !hint.is_empty())
}

fn of(place: Where) -> impl Iterator<Item = &'static Told> {
    COMMANDS.iter().filter(move |told| told.at == Where::Everywhere || told.at == place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_names_in_any_case_and_the_rest_is_theirs() {
        assert_eq!(parse("/SET  top_k 4 "), Some((Verb::Set, "top_k 4")));
        assert_eq!(parse(" /quit"), Some((Verb::Exit, "")));
        assert_eq!(parse("/nonsense x"), Some((Verb::Unknown, "x")));
        assert_eq!(parse("/"), Some((Verb::Unknown, "")));
        assert_eq!(parse("1/2"), None);
        assert_eq!(parse("/system be\nbrief"), Some((Verb::System, "be\nbrief")));
    }

    #[test]
    fn help_names_what_is_of_use() {
        let (here, server) = (help(Where::Here), help(Where::Server));
        assert!(here.contains("/load NAME") && !here.contains("/join"), "{here}");
        assert!(server.contains("/join NUMBER|TITLE|ID") && !server.contains("/load"), "{server}");
        assert!(belongs(Verb::Load, Where::Here) && !belongs(Verb::Load, Where::Server));
    }

    #[test]
    fn what_is_clear_is_completed_and_hinted() {
        assert_eq!(beginning_with("/s", Where::Here), ["/set", "/system", "/save", "/sessions", "/status", "/stats"]);
        assert_eq!(hint("/sav", Where::Here).as_deref(), Some("e NAME"));
        assert_eq!(hint("/s", Where::Here), None);
        assert_eq!(hint("/set", Where::Here).as_deref(), Some(" [NAME VALUE]"));
        assert_eq!(hint("/help", Where::Here), None);
        assert_eq!(hint("/é", Where::Here), None);
    }
}

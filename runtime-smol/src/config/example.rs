//! A file with all settings, each explained and commented out.

use clap::{Arg, Command};

use super::layers::{is_list, is_setting, is_switch, otherwise};

/// The longest line of an explanation, in characters.
const WIDTH: usize = 100;

const HEAD: &str = "\
# The settings of Causerie. Each is taken from its flag, else from its variable, else from this file,
# else it is the default, which stands here. Take the # away from what you change. `causerie config`
# shows what holds, and where it comes from.
";

/// The settings of a command as a TOML file for people to begin with.
pub fn example(command: &Command) -> String {
    let mut built = command.clone();
    built.build();
    let mut text = HEAD.to_owned();
    for arg in built.get_arguments().filter(|arg| is_setting(arg)) {
        text.push('\n');
        explain(arg, &mut text);
    }
    text
}

fn explain(arg: &Arg, text: &mut String) {
    let key = arg.get_long().expect("settings have flags");
    let variable = arg.get_env().expect("settings have variables").to_string_lossy();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let about = help.rsplit_once(" [default: ").map_or(help.as_str(), |(about, _)| about);
    comment(about, text);
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter_map(|value| value.get_name_and_aliases().next().map(str::to_owned))
        .collect();
    if !possible.is_empty() && !is_switch(arg) {
        comment(&format!("One of: {}", possible.join(", ")), text);
    }
    if let Some(otherwise) = otherwise(arg) {
        comment(&format!("By default: {otherwise}"), text);
    }
    comment(&format!("--{key}, {variable}"), text);
    *text += &format!("#{key} = {}\n", value(arg));
}

/// The default as TOML, or in its place what the value is called.
fn value(arg: &Arg) -> String {
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    if is_switch(arg) {
        return default.unwrap_or_else(|| "false".to_owned());
    }
    let text = default.unwrap_or_else(|| {
        let names = arg.get_value_names().unwrap_or_default();
        names.first().map_or_else(|| "VALUE".to_owned(), ToString::to_string)
    });
    if text.parse::<i64>().is_ok() {
        return text;
    }
    // Nothing in a default or a name needs another escape than Rust's and TOML's common ones.
    if is_list(arg) { format!("[{text:?}]") } else { format!("{text:?}") }
}

/// Lines of a comment, wrapped.
fn comment(prose: &str, text: &mut String) {
    let mut line = String::from("#");
    for word in prose.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            *text += &line;
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line += word;
    }
    *text += &line;
    text.push('\n');
}

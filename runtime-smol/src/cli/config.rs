//! `causerie config`: what holds, and where it comes from.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};

use super::failure::Failure;
use crate::config::{Origin, ServeOptions, Setting, Settled, example};

/// What `causerie config` takes: all that `causerie serve` takes, and how to show it.
#[derive(Args, Debug)]
pub(crate) struct ShowOptions {
    /// JSON, for scripts
    #[arg(long, conflicts_with = "example")]
    json: bool,

    /// A file with all settings, explained and commented out, to begin with
    #[arg(long)]
    example: bool,

    /// The flags of `causerie serve`, to see what they would come to.
    #[command(flatten)]
    _serve: ServeOptions,
}

/// The settings on stdout: for people, as JSON, or the example of a file.
pub(crate) fn show(options: &ShowOptions, settled: &Settled, root: &clap::Command) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if options.example {
        let mut built = root.clone();
        built.build();
        let serve = built.find_subcommand("serve").expect("there is a server");
        write!(out, "{}", example(serve))?;
    } else if options.json {
        let settings: Vec<Value> = settled.settings.iter().map(as_json).collect();
        writeln!(out, "{}", json!({ "file": settled.file, "settings": settings }))?;
    } else {
        write_table(&mut out, settled)?;
    }
    out.flush()?;
    Ok(())
}

fn as_json(setting: &Setting) -> Value {
    let value = match setting.values.as_slice() {
        values if setting.is_list => json!(values),
        [] => Value::Null,
        [value] if setting.is_switch => json!(value == "true"),
        [value, ..] => json!(value),
    };
    let origin = match &setting.origin {
        Origin::Flag => json!({ "origin": "flag", "flag": format!("--{}", setting.key) }),
        Origin::Environment(name) => json!({ "origin": "environment", "variable": name }),
        Origin::File { path, line } => json!({ "origin": "file", "file": path, "line": line }),
        Origin::Default => json!({ "origin": "default" }),
    };
    let mut shown = json!({ "key": setting.key, "value": value });
    if let (Some(shown), Value::Object(origin)) = (shown.as_object_mut(), origin) {
        shown.extend(origin);
    }
    shown
}

fn write_table(out: &mut impl Write, settled: &Settled) -> io::Result<()> {
    match &settled.file {
        Some(file) => writeln!(out, "Settings of `causerie serve` here, with {}:\n", file.display())?,
        None => writeln!(out, "Settings of `causerie serve` here, without a file:\n")?,
    }
    let rows: Vec<[String; 3]> = settled.settings.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [keys, origins] = [width(0), width(1)];
    rows.iter().try_for_each(|[key, origin, value]| writeln!(out, "  {key:<keys$}  {origin:<origins$}  {value}"))
}

fn row(setting: &Setting) -> [String; 3] {
    let value = match (setting.values.as_slice(), &setting.otherwise) {
        ([], Some(otherwise)) => format!("({otherwise})"),
        ([], None) => "(none)".to_owned(),
        (values, _) => values.join(", "),
    };
    let origin = match &setting.origin {
        Origin::Flag => format!("--{}", setting.key),
        // There is only the one file, whose whole name stands above.
        Origin::File { path, line } => format!("{}:{line}", path.file_name().unwrap_or_default().display()),
        other => other.to_string(),
    };
    [setting.key.clone(), origin, value]
}

//! `causerie doctor`: whether this machine has what a server needs, and what to do where it has not.
//!
//! It changes nothing but a file of no bytes, which it makes in the data directory and takes away again.

mod machine;
mod place;

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::output::{Paint, Style};
use crate::config::ServeOptions;

const EXAMPLES: &str = "\
Examples:
  causerie doctor                                what the server would find with its default settings
  causerie doctor --listen 0.0.0.0:8080 --data-dir /srv/causerie      or with these
  causerie doctor --json | jq '.findings[] | select(.level != \"ok\")'

Exit codes: 0 nothing is broken, 1 something is";

/// What `causerie doctor` takes: what `causerie serve` does.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorOptions {
    /// JSON, for scripts
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    serve: ServeOptions,
}

/// How it stands with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Failure,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    level: Level,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Finding {
        Finding { name, level: Level::Ok, found: found.into(), advice: None }
    }

    fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { name, level: Level::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    fn failure(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { name, level: Level::Failure, found: found.into(), advice: Some(advice.into()) }
    }
}

/// All findings, on stdout.
pub(crate) fn doctor(options: &DoctorOptions) -> Result<(), Failure> {
    let serve = &options.serve;
    let model = place::model(serve);
    let mut findings = vec![machine::processor(), machine::kernels(), machine::threads(serve)];
    findings.push(machine::memory(model.bytes));
    findings.push(model.finding);
    findings.extend(place::data(serve));
    findings.push(place::port(serve.listen));
    findings.push(machine::open_files());
    findings.push(machine::clock(serve));
    let broken = findings.iter().filter(|finding| finding.level == Level::Failure).count();
    if options.json {
        let report = serde_json::json!({ "ok": broken == 0, "findings": findings });
        writeln!(io::stdout().lock(), "{report}")?;
    } else {
        show(&findings)?;
    }
    match broken {
        0 => Ok(()),
        1 => Err(Failure::Failed("one thing is broken; what to do stands beside it".to_owned())),
        several => Err(Failure::Failed(format!("{several} things are broken; what to do stands beside them"))),
    }
}

fn show(findings: &[Finding]) -> io::Result<()> {
    let paint = Paint::on(io::stdout().is_terminal());
    let mut out = io::stdout().lock();
    for finding in findings {
        let (word, style) = match finding.level {
            Level::Ok => ("ok     ", Style::Green),
            Level::Warning => ("warning", Style::Yellow),
            Level::Failure => ("failure", Style::Red),
        };
        writeln!(out, "{}  {:<15}  {}", paint.paint(style, word), finding.name, finding.found)?;
        if let Some(advice) = &finding.advice {
            writeln!(out, "{:26}{}", "", paint.paint(Style::Bold, advice))?;
        }
    }
    Ok(())
}

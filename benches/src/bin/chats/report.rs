//! All that was measured: for people, as JSON and as Markdown.

use std::error::Error;
use std::fmt;

use causerie_benches::{Circumstances, Spread, Subject, number};
use serde::Serialize;

use crate::measured::Measured;
use crate::people::Plan;

/// Tokens a second in units of llama-server's, and milliseconds to the first token: the project's goals.
const GOAL_RATIO: f64 = 5.0;
const GOAL_FIRST_MS: f64 = 60.0;

/// Both servers, one directly after the other.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) causerie: Measured,
    pub(crate) llama_server: Option<Measured>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |m: &Measured| {
            let Measured { tokens_per_second, tokens, seconds, first_token_ms: first, .. } = m;
            format!("{tokens_per_second:.0} tok/s ({tokens} in {seconds:.2} s), first token {:.0} ms", first.median)
        };
        write!(f, "causerie {}", one(&self.causerie))?;
        self.llama_server.as_ref().map_or(Ok(()), |peer| write!(f, "; llama-server {}", one(peer)))
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    circumstances: Circumstances,
    plan: Plan,
    speculate: String,
    llama_server: Option<String>,
    rounds: Vec<Round>,
    ratio: Ratio,
}

/// Causerie's figures by llama-server's, round by round.
#[derive(Clone, Debug, Default, Serialize)]
struct Ratio {
    tokens_per_second: Option<Spread>,
    first_token_ms: Option<Spread>,
}

/// A line of the table: its name, its digits, and its figure in what a server did.
type Line = (&'static str, usize, fn(&Measured) -> f64);

const LINES: [Line; 7] = [
    ("tokens a second, all together", 0, |m| m.tokens_per_second),
    ("question to first token, median, ms", 1, |m| m.first_token_ms.median),
    ("question to first token, 95 %, ms", 1, |m| m.first_token_ms.p95),
    ("question to first token, longest, ms", 1, |m| m.first_token_ms.longest),
    ("the first questions alone, at the same moment: median, ms", 1, |m| m.first_questions_ms.median),
    ("the first questions alone: longest, ms", 1, |m| m.first_questions_ms.longest),
    ("tokens of all answers", 0, |m| m.tokens as f64),
];

/// A line's figures: of both servers, and the ratios of the rounds.
struct Figures {
    causerie: Option<Spread>,
    llama_server: Option<Spread>,
    ratio: Option<Spread>,
}

impl Report {
    pub(crate) fn new(
        circumstances: Circumstances,
        plan: Plan,
        speculate: String,
        llama_server: Option<String>,
        rounds: Vec<Round>,
    ) -> Report {
        let ratio = Ratio::default();
        let mut report = Report { circumstances, plan, speculate, llama_server, rounds, ratio };
        let of = |index: usize| report.figures(LINES[index].2).ratio;
        report.ratio = Ratio { tokens_per_second: of(0), first_token_ms: of(1) };
        report
    }

    fn figures(&self, figure: fn(&Measured) -> f64) -> Figures {
        let spread = |of: &dyn Fn(&Round) -> Option<f64>| {
            let values: Vec<f64> = self.rounds.iter().filter_map(of).collect();
            Spread::of(&values)
        };
        Figures {
            causerie: spread(&|round| Some(figure(&round.causerie))),
            llama_server: spread(&|round| round.llama_server.as_ref().map(figure)),
            ratio: spread(&|round| round.llama_server.as_ref().map(|peer| figure(&round.causerie) / figure(peer))),
        }
    }

    /// Writes it down, if that was wished.
    pub(crate) fn record(&self, subject: &Subject) -> Result<(), Box<dyn Error>> {
        let model = self.circumstances.model.split('.').next().unwrap_or_default().to_lowercase();
        let title = format!("{} chats at once", self.plan.people);
        subject.record(&self.circumstances.date, &format!("chats-{model}"), &title, self)
    }
}

/// As Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { circumstances, plan, rounds, speculate, .. } = self;
        writeln!(f, "{circumstances}; {} rounds.", rounds.len())?;
        writeln!(f, "{plan}, greedy. Causerie {}, speculation: {speculate}.", circumstances.sources())?;
        if let Some(version) = &self.llama_server {
            writeln!(f, "Beside it {version}, with one slot for each person.")?;
        }
        let spread = |figure: Option<Spread>, digits| match figure {
            Some(Spread { median, least, most }) => {
                let part = |value| number(value, digits);
                format!("{} ({}–{})", part(median), part(least), part(most))
            }
            None => "–".to_owned(),
        };
        writeln!(f, "\n| median of the rounds (least–most) | causerie | llama-server | ratio |\n|---|---|---|---|")?;
        for (name, digits, figure) in LINES {
            let Figures { causerie, llama_server, ratio } = self.figures(figure);
            let (ours, theirs) = (spread(causerie, digits), spread(llama_server, digits));
            writeln!(f, "| {name} | {ours} | {theirs} | {} |", spread(ratio, 2))?;
        }
        let met = |met: bool| if met { "met" } else { "not met" };
        writeln!(f)?;
        if let Some(ratio) = self.figures(LINES[0].2).ratio {
            let met = met(ratio.median >= GOAL_RATIO);
            writeln!(
                f,
                "Goal: at least {GOAL_RATIO} times llama-server's tokens a second: {met} ({:.2}).",
                ratio.median
            )?;
        }
        let first = self.figures(LINES[1].2).causerie.map_or(f64::NAN, |first| first.median);
        writeln!(f, "Goal: the first token within {GOAL_FIRST_MS} ms: {} ({first:.1}).", met(first <= GOAL_FIRST_MS))
    }
}

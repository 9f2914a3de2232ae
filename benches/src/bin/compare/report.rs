//! What was measured, as a table for people and as JSON for records.

use std::fmt;

use causerie_benches::{Machine, Spread, number};
use serde::Serialize;

use crate::golden::Accuracy;
use crate::job::{About, Unit};

/// All that one command measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The day, in UTC.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) threads: usize,
    /// How often each engine was measured; they took turns.
    pub(crate) runs: usize,
    /// Short texts and one run: the figures mean little.
    pub(crate) quick: bool,
    pub(crate) causerie: About,
    /// The sources' commit, if git knows it.
    pub(crate) commit: Option<String>,
    pub(crate) llama_cpp: Option<About>,
    pub(crate) models: Vec<ModelReport>,
}

/// What was measured with one model.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModelReport {
    /// Its file's name.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) accuracy: Vec<AccuracyRow>,
}

/// One row of the table: a figure for each run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) causerie: Vec<f64>,
    /// Empty if there was no llama.cpp.
    pub(crate) llama_cpp: Vec<f64>,
    /// Causerie's figure divided by llama.cpp's.
    pub(crate) ratio: Option<Spread>,
}

/// How near the engines come to a float32 forward pass.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AccuracyRow {
    /// How the texts were computed.
    pub(crate) way: String,
    pub(crate) causerie: Accuracy,
    pub(crate) llama_cpp: Option<Accuracy>,
}

impl Row {
    /// A row of figures of which the n-th of both belong to the same run.
    pub(crate) fn new(what: String, unit: Unit, causerie: Vec<f64>, llama_cpp: Vec<f64>) -> Row {
        let ratios: Vec<f64> = causerie.iter().zip(&llama_cpp).map(|(ours, theirs)| ours / theirs).collect();
        Row { what, unit, causerie, llama_cpp, ratio: Spread::of(&ratios) }
    }
}

impl Report {
    /// What the columns and rows mean.
    pub(crate) fn legend(&self) -> String {
        let mut text = "decode: causerie goes on with the likeliest token each time; llama.cpp computes the logits of given tokens, and chooses none.\n\
            load: from the process' start to the first token, the file in the page cache; llama.cpp's time begins when\n\
            \x20     Python has loaded its library.\n\
            memory: what the process has in memory (RSS) beyond what it had before the model was opened, with room for\n\
            \x20       so many sequences of so many tokens, after a short prompt and 16 more tokens of each."
            .to_owned();
        if self.llama_cpp.is_some() {
            text.insert_str(0, "ratio: causerie's figure divided by llama.cpp's in the same run: the median, the least and the most.\n");
        }
        text
    }
}

/// What stands where nothing was measured.
const NOTHING: &str = "–";

impl fmt::Display for ModelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.file)?;
        line(f, ["", "", "causerie", "llama.cpp", "ratio"], "least – most")?;
        for row in &self.rows {
            let median = |figures: &[f64]| {
                Spread::of(figures).map_or(NOTHING.to_owned(), |spread| number(spread.median, row.unit.digits()))
            };
            let ratio = row.ratio.map_or(NOTHING.to_owned(), |ratio| number(ratio.median, 2));
            let mut remark = row.ratio.map_or(String::new(), |ratio| format!("{:.2} – {:.2}", ratio.least, ratio.most));
            if !row.unit.more_is_better() {
                remark = format!("{remark:<15}less is better");
            }
            let columns = [&row.what, row.unit.name(), &median(&row.causerie), &median(&row.llama_cpp), &ratio];
            line(f, columns, &remark)?;
        }
        for AccuracyRow { way, causerie, llama_cpp } in &self.accuracy {
            let divergence = |accuracy: &Accuracy| format!("{:.5}", accuracy.divergence);
            let theirs = llama_cpp.as_ref().map_or(NOTHING.to_owned(), divergence);
            let ratio = llama_cpp.map(|theirs| number(causerie.divergence / theirs.divergence, 2));
            let what = format!("mean KL to float32, {way}");
            let columns = [&what, "", &divergence(causerie), &theirs, ratio.as_deref().unwrap_or(NOTHING)];
            line(f, columns, &format!("{:<15}less is better", ""))?;

            let agreement = |accuracy: &Accuracy| format!("{:.2}", accuracy.agreement * 100.0);
            let theirs = llama_cpp.as_ref().map_or(NOTHING.to_owned(), agreement);
            let what = format!("top-1 as in float32, {way}");
            line(f, [&what, "%", &agreement(causerie), &theirs, ""], &format!("of {} positions", causerie.positions))?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, columns: [&str; 5], remark: &str) -> fmt::Result {
    let [what, unit, ours, theirs, ratio] = columns;
    let text = format!("{what:<41}{unit:>5}{ours:>11}{theirs:>12}{ratio:>8}   {remark}");
    writeln!(f, "{}", text.trim_end())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn model_report() -> ModelReport {
        let row = |what: &str, unit, ours: &[f64], theirs: &[f64]| {
            Row::new(what.to_owned(), unit, ours.to_vec(), theirs.to_vec())
        };
        let accuracy = |divergence| Accuracy { divergence, agreement: 0.975, positions: 240 };
        ModelReport {
            file: "model <1>.gguf".to_owned(),
            bytes: 1,
            rows: vec![
                row("prefill, 512 tokens", Unit::TokensPerSecond, &[9_000.0, 8_000.0], &[1_000.0, 2_000.0]),
                row("load to first token", Unit::Seconds, &[0.1, 0.1], &[0.4, 0.2]),
                row("decode, 1 stream", Unit::TokensPerSecond, &[600.0], &[]),
            ],
            accuracy: vec![AccuracyRow {
                way: "token by token".to_owned(),
                causerie: accuracy(0.002),
                llama_cpp: Some(accuracy(0.004)),
            }],
        }
    }

    pub(crate) fn report() -> Report {
        let about = About { version: "causerie 1".to_owned(), features: Vec::new(), compiler: String::new() };
        Report {
            date: "2026-11-23".to_owned(),
            machine: Machine::this(),
            threads: 2,
            runs: 2,
            quick: false,
            causerie: about,
            commit: None,
            llama_cpp: None,
            models: vec![model_report()],
        }
    }

    #[test]
    fn the_table_has_medians_and_the_spread_of_the_ratios() {
        let expected = "\
model <1>.gguf
                                                 causerie   llama.cpp   ratio   least – most
prefill, 512 tokens                      tok/s    8,500.0     1,500.0    6.50   4.00 – 9.00
load to first token                          s      0.100       0.300    0.38   0.25 – 0.50    less is better
decode, 1 stream                         tok/s      600.0           –       –
mean KL to float32, token by token                0.00200     0.00400    0.50                  less is better
top-1 as in float32, token by token          %      97.50       97.50           of 240 positions
";
        assert_eq!(model_report().to_string(), expected);
    }
}

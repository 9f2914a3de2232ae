//! A record's ratios as a picture (SVG 1.1).

use std::fmt::Write;

use causerie_benches::Spread;

use crate::report::{Report, Row};

// Pixels: the width of all, of the names of rows, and of what stands behind the longest bar; heights.
const WIDTH: f64 = 880.0;
const NAMES: f64 = 220.0;
const FIGURES: f64 = 150.0;
const LINE: f64 = 24.0;
const BAR: f64 = 14.0;

/// How many times better causerie is in each row: a bar for the median, a whisker for the least and the most of one run, and
/// a line where both engines are equal. `None` if there is nothing to compare.
pub(crate) fn svg(report: &Report) -> Option<String> {
    let models: Vec<(&str, Vec<(&str, Spread)>)> = report
        .models
        .iter()
        .map(|model| (&*model.file, model.rows.iter().filter_map(better).collect::<Vec<_>>()))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    if models.is_empty() {
        return None;
    }
    let longest = models.iter().flat_map(|(_, rows)| rows).map(|(_, times)| times.most).fold(1.0, f64::max);
    let lines = 2 + models.iter().map(|(_, rows)| rows.len() + 2).sum::<usize>();
    let mut drawing = Drawing { body: String::new(), scale: (WIDTH - NAMES - FIGURES) / longest };

    drawing.text(8.0, LINE, "start", "bold", "causerie compared with llama.cpp: how many times better");
    let Report { date, machine, threads, runs, .. } = report;
    let where_and_when = format!("{}; threads: {threads}; runs: {runs}; {date}", machine.processor);
    drawing.text(8.0, 2.0 * LINE, "start", "normal", &where_and_when);
    let mut y = 2.0 * LINE;
    for (file, rows) in &models {
        y += 2.0 * LINE;
        drawing.text(8.0, y, "start", "bold", file);
        let top = y + LINE - BAR;
        for (what, times) in rows {
            y += LINE;
            drawing.bar(y, what, *times);
        }
        drawing.equality(top, y + 4.0);
    }
    let height = (lines as f64 + 0.5) * LINE;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
        drawing.body
    ))
}

/// How many times better a row is: a time, and an amount of memory, count the other way round.
fn better(row: &Row) -> Option<(&str, Spread)> {
    let Spread { median, least, most } = row.ratio?;
    let inverse = Spread { median: 1.0 / median, least: 1.0 / most, most: 1.0 / least };
    Some((&row.what, if row.unit.more_is_better() { Spread { median, least, most } } else { inverse }))
}

struct Drawing {
    body: String,
    /// Pixels for one time.
    scale: f64,
}

impl Drawing {
    fn put(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{line}").expect("a string takes everything");
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, weight: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\">{text}</text>"
        ));
    }

    /// The line at which both are equal.
    fn equality(&mut self, from: f64, to: f64) {
        let x = NAMES + self.scale;
        self.put(format_args!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\" stroke=\"#c00\" stroke-dasharray=\"4 3\"/>"
        ));
    }

    fn bar(&mut self, y: f64, what: &str, times: Spread) {
        let Spread { median, least, most } = times;
        let scale = self.scale;
        let at = |times: f64| NAMES + times * scale;
        let (left, right, middle, top) = (at(least), at(most), y - BAR / 2.0 + 2.0, y - BAR + 2.0);
        let width = median * scale;
        self.text(NAMES - 8.0, y, "end", "normal", what);
        self.put(format_args!(
            "<rect x=\"{NAMES}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"#4a7ebb\"/>"
        ));
        self.put(format_args!(
            "<path d=\"M{left:.1} {middle:.1}H{right:.1}M{left:.1} {top:.1}v{BAR}M{right:.1} {top:.1}v{BAR}\" stroke=\"black\"/>"
        ));
        let figures = format!("{median:.2} ({least:.2} – {most:.2})");
        self.text(right.max(at(median)) + 8.0, y, "start", "normal", &figures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn every_row_that_can_be_compared_has_its_bar() {
        let svg = svg(&report()).unwrap();
        assert_eq!(svg.matches("<path").count(), 2, "{svg}");
        assert!(svg.contains(">6.50 (4.00 – 9.00)<"), "{svg}");
        // A time that is a quarter to a half is two to four times as good.
        assert!(svg.contains(">2.67 (2.00 – 4.00)<"), "{svg}");
        assert!(svg.contains(">model &lt;1&gt;.gguf<"), "{svg}");
        // The longest whisker ends where there is still room for its figures.
        assert!(svg.contains(&format!("H{:.1}M", WIDTH - FIGURES)), "{svg}");
    }

    #[test]
    fn without_a_peer_there_is_no_picture() {
        let mut report = report();
        report.models[0].rows.retain(|row| row.ratio.is_none());
        assert_eq!(svg(&report), None);
    }
}

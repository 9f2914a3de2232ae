//! What a record says about where and when it was made.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The machine, as far as Linux tells.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Caches of the first core, as in "L2 2048K".
    pub caches: Vec<String>,
    /// Whether it has Intel's matrix unit for bytes.
    pub amx: bool,
    /// Processes that wanted to run before we began, the mean of a minute: figures made beside others' work mean little.
    pub load_average: Option<f64>,
}

impl Machine {
    /// The one that this runs on.
    #[must_use]
    pub fn this() -> Machine {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
        };
        Machine {
            processor: field("model name").map_or_else(|| std::env::consts::ARCH.to_owned(), str::to_owned),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            caches: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
            amx: field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "amx_int8")),
            load_average: std::fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next().and_then(|mean| mean.parse().ok())),
        }
    }

    /// The processor's name as part of a file's name.
    #[must_use]
    pub fn slug(&self) -> String {
        let bare = self.processor.replace("(R)", "").replace("(TM)", "").to_lowercase();
        let words = bare.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }
}

fn caches(directory: &Path) -> Vec<String> {
    let read = |index: usize, file: &str| {
        let text = std::fs::read_to_string(directory.join(format!("index{index}/{file}"))).ok()?;
        Some(text.trim().to_owned())
    };
    let cache = |index| {
        let (level, kind, size) = (read(index, "level")?, read(index, "type")?, read(index, "size")?);
        let kind =
            if kind == "Unified" { String::new() } else { kind.chars().take(1).collect::<String>().to_lowercase() };
        Some(format!("L{level}{kind} {size}"))
    };
    (0..).map_while(cache).collect()
}

/// The commit of the sources, marked if they were changed since; `None` where git knows nothing of them.
#[must_use]
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { hash } else { format!("{hash} with changes") })
}

/// The present day in UTC, as in "2026-11-23".
#[must_use]
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day is the last; 719,468 days lie between 0000-03-01 and 1970.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_780, (2026, 11, 23)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    #[test]
    fn a_processors_name_makes_a_files_name() {
        let machine =
            Machine { processor: "Intel(R) Xeon(R) Platinum 8581C CPU @ 2.30GHz".to_owned(), ..Machine::this() };
        assert_eq!(machine.slug(), "intel-xeon-platinum-8581c-cpu-2-30ghz");
    }
}

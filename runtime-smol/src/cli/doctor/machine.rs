//! The machine: its processor, its memory, and what the system allows.

use std::fs;
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use causerie_inference::Isa;

use super::Finding;
use crate::cli::output::size;
use crate::config::ServeOptions;

/// Bytes that are read to measure memory: more than caches hold.
const READ: usize = 256 << 20;

/// How long is measured, at most; a pass that has begun is finished.
const MEASURE: Duration = Duration::from_millis(500);

/// Below so many bytes a second answers are slow whatever the processor.
const SLOW: f64 = 4e9;

/// A server with fewer open files can hold few people.
const FEW_FILES: u64 = 1024;

/// Seconds from 1970 to 2026: no clock that is right shows less.
const RELEASED: u64 = 1_767_225_600;

/// On average, in the Gregorian calendar.
const SECONDS_A_YEAR: u64 = 31_556_952;

/// A file may be so much younger than the clock says it can be: clocks of network drives differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

pub(super) fn processor() -> Finding {
    let features = features();
    let name = cpu_name().map_or_else(String::new, |name| format!("{name}; "));
    let found = if features.is_empty() { "none that kernels use".to_owned() } else { features.join(" ") };
    Finding::ok("processor", format!("{name}{found}"))
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! look_for {
        ($($name:tt),*) => { $(if is_x86_feature_detected!($name) { found.push($name); })* };
    }
    look_for!("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni", "avx512bf16");
    if Isa::Amx.is_available() {
        found.push("amx");
    }
    found
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Isa::available().filter(|isa| *isa != Isa::Scalar).map(Isa::name).collect()
}

fn cpu_name() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

pub(super) fn kernels() -> Finding {
    let available = Isa::available().map(Isa::name).collect::<Vec<_>>().join(", ");
    match Isa::choose(None) {
        Ok(Isa::Scalar) => Finding::warning(
            "kernels",
            "scalar: answers are slow",
            "use a processor with AVX2, or with NEON and dotprod; unset CAUSERIE_ISA if it is set",
        ),
        Ok(isa) => Finding::ok("kernels", format!("{} (of {available})", isa.name())),
        Err(error) => Finding::failure("kernels", error.to_string(), "unset CAUSERIE_ISA"),
    }
}

pub(super) fn threads(serve: &ServeOptions) -> Finding {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    match serve.engine.threads.map(NonZeroUsize::get) {
        Some(threads) if threads > cores => Finding::warning(
            "threads",
            format!("{threads} threads for {cores} cores"),
            format!("more threads than cores wait for each other; leave --threads out, or give {cores}"),
        ),
        Some(threads) => Finding::ok("threads", format!("{threads} of {cores} cores")),
        None => Finding::ok("threads", format!("{cores}, one a core")),
    }
}

/// How fast all cores together read memory, which bounds how fast an answer comes: each token reads the whole model.
pub(super) fn memory(model_bytes: Option<u64>) -> Finding {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let speed = read_speed(cores);
    let bound = model_bytes.map_or_else(String::new, |bytes| {
        let times = speed / bytes.max(1) as f64;
        format!("; the model's {} can be read {times:.0} times a second, and each token reads them", size(bytes))
    });
    let found = format!("{} a second, read by {cores} threads{bound}", size(speed as u64));
    if speed < SLOW {
        return Finding::warning(
            "memory",
            found,
            "answers are slow here; end what else uses memory, or take a smaller model",
        );
    }
    Finding::ok("memory", found)
}

/// Bytes a second, of the fastest pass: what else runs here only takes away. Halves are compared, which the C library does
/// as fast as memory is, in every build of this program.
fn read_speed(cores: usize) -> f64 {
    let bytes = vec![1u8; READ];
    let share = READ.div_ceil(cores);
    let began = Instant::now();
    let mut fastest = Duration::MAX;
    while fastest == Duration::MAX || began.elapsed() < MEASURE {
        let pass = Instant::now();
        thread::scope(|scope| {
            for part in bytes.chunks(share) {
                scope.spawn(move || {
                    let (first, second) = part.split_at(part.len() / 2);
                    std::hint::black_box(first == &second[..first.len()])
                });
            }
        });
        fastest = fastest.min(pass.elapsed());
    }
    READ as f64 / fastest.as_secs_f64()
}

#[cfg(unix)]
pub(super) fn open_files() -> Finding {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).maximum;
    let found = limit.map_or_else(|| "as many as wanted".to_owned(), |limit| format!("{limit}, one a connection"));
    if limit.is_some_and(|limit| limit < FEW_FILES) {
        let advice = format!("raise it: `ulimit -Hn {FEW_FILES}` or more, or LimitNOFILE= of the systemd unit");
        return Finding::warning("open files", found, advice);
    }
    Finding::ok("open files", found)
}

#[cfg(not(unix))]
pub(super) fn open_files() -> Finding {
    Finding::ok("open files", "no limit is known")
}

pub(super) fn clock(serve: &ServeOptions) -> Finding {
    const ADVICE: &str = "set it, or let the system set it over the network: tokens begin and end by it";
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if seconds < RELEASED {
        return Finding::failure("clock", format!("{seconds} s after 1970: this program is younger"), ADVICE);
    }
    let newest = serve.data.directory().ok().and_then(|directory| {
        let entries = fs::read_dir(directory).ok()?;
        entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
    });
    match newest.and_then(|newest| newest.duration_since(now).ok()).filter(|ahead| *ahead > CLOCKS_DIFFER) {
        Some(ahead) => {
            let ahead = ahead.as_secs();
            Finding::warning("clock", format!("{ahead} s behind a file in the data directory: it has jumped"), ADVICE)
        }
        None => Finding::ok("clock", format!("it is {}", 1970 + seconds / SECONDS_A_YEAR)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn memory_is_measured_in_a_second() {
        let began = Instant::now();
        assert!(read_speed(2) > 1e6);
        let finding = memory(Some(100_000_000));
        assert!(finding.found.contains("the model's 100.0 MB can be read "), "{}", finding.found);
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn the_machine_that_runs_this_is_told() {
        assert_ne!(kernels().level, Level::Failure);
    }
}

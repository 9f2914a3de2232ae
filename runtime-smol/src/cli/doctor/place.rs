//! What a server stands on: its model, its directories, its port.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use causerie_inference::Gguf;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};

use super::Finding;
use crate::cli::output::size;
use crate::config::{self, ServeOptions};
use crate::fetch::{self, KnownModel, ModelSource};

/// With less room than this a server soon stops taking messages, in bytes.
const ROOM_NEEDED: u64 = 64 << 20;

/// With less room than this it is worth a look, in bytes.
const ROOM_WANTED: u64 = 1 << 30;

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// How long whoever holds the port has to say who they are.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found of the model.
pub(super) struct Model {
    pub(super) finding: Finding,
    /// Of its file, where there is one.
    pub(super) bytes: Option<u64>,
}

/// The model is there, whole, and can be read.
pub(super) fn model(serve: &ServeOptions) -> Model {
    let source = serve.model.source();
    let cache = match config::cache_directory() {
        Ok(cache) => cache,
        Err(error) => {
            let advice = "set HOME or CAUSERIE_CACHE_DIR";
            return Model { finding: Finding::failure("model", error.to_string(), advice), bytes: None };
        }
    };
    match fetch::find(&source, &cache) {
        None => Model { finding: missing(&source, &cache, serve.model.offline), bytes: None },
        Some(path) => {
            let bytes = fs::metadata(&path).map(|file| file.len()).ok();
            Model { finding: checked(&source, &path, bytes.unwrap_or_default()), bytes }
        }
    }
}

fn missing(source: &ModelSource, cache: &Path, offline: bool) -> Finding {
    let models = fetch::models_directory(cache);
    let found = format!("{source} is not in {}", models.display());
    match source {
        ModelSource::File(path) => {
            Finding::failure("model", format!("there is no file {}", path.display()), "give another one with --model")
        }
        _ if offline => {
            Finding::failure("model", found, "--offline fetches nothing: put it there, or leave --offline out")
        }
        _ => {
            let bytes = known(source).map_or_else(String::new, |model| format!(", {}", size(model.bytes)));
            let advice = format!("`causerie pull` fetches it{bytes}; the server does so at its first start");
            Finding::warning("model", found, advice)
        }
    }
}

fn known(source: &ModelSource) -> Option<&'static KnownModel> {
    match source {
        ModelSource::Known(model) => Some(model),
        _ => None,
    }
}

fn checked(source: &ModelSource, path: &Path, bytes: u64) -> Finding {
    let shown = format!("{}, {}", path.display(), size(bytes));
    if let Err(error) = Gguf::open(path) {
        let advice = "it is damaged or no model: delete it, and `causerie pull` fetches it anew";
        return Finding::failure("model", format!("{shown}: {error}"), advice);
    }
    let by_name = || KnownModel::ALL.into_iter().find(|model| path.file_name().is_some_and(|name| name == model.file));
    let Some(model) = known(source).or_else(by_name) else {
        return Finding::ok("model", format!("{shown}; it can be read"));
    };
    match hash(path) {
        Ok(hash) if hash == model.sha256 => Finding::ok("model", format!("{shown}; its SHA-256 is as it should be")),
        Ok(hash) => Finding::failure(
            "model",
            format!("{shown}: its SHA-256 is {hash}, it should be {}", model.sha256),
            "the file is damaged: delete it, and `causerie pull` fetches it anew",
        ),
        Err(error) => Finding::failure("model", format!("{shown}: {error}"), "see to it that it can be read"),
    }
}

/// SHA-256 of a file, in hexadecimal digits.
fn hash(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The data directory, its room, and the database in it.
pub(super) fn data(serve: &ServeOptions) -> Vec<Finding> {
    let directory = match serve.data.directory() {
        Ok(directory) => directory,
        Err(error) => {
            return vec![Finding::failure("data directory", error.to_string(), "set HOME, or give --data-dir")];
        }
    };
    // One that is not there yet is made at the first start, in what is there.
    let there: PathBuf = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new(".")).to_owned();
    let shown = directory.display();
    let is_new = there != directory;
    let mut findings = vec![match writable(&there) {
        Ok(()) if is_new => Finding::ok("data directory", format!("{shown}, made at the first start")),
        Ok(()) => Finding::ok("data directory", format!("{shown}, writable")),
        Err(error) => Finding::failure(
            "data directory",
            format!("{shown}: {} cannot be written to: {error}", there.display()),
            "give another one with --data-dir, or change its owner or mode",
        ),
    }];
    findings.extend(room(&there));
    findings.push(database(&config::database_path(&directory)));
    findings
}

/// By making a file, since modes do not tell all: there are read-only file systems.
fn writable(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".causerie-doctor-{}", std::process::id()));
    fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)
}

#[cfg(unix)]
fn room(directory: &Path) -> Option<Finding> {
    let system = rustix::fs::statvfs(directory).ok()?;
    let left = system.f_bavail.saturating_mul(system.f_frsize);
    let found = format!("{} left for the data directory", size(left));
    let advice = "make room: without it messages are refused, and nothing that was acknowledged is lost";
    Some(match left {
        0..ROOM_NEEDED => Finding::failure("disk", found, advice),
        ROOM_NEEDED..ROOM_WANTED => Finding::warning("disk", found, advice),
        _ => Finding::ok("disk", found),
    })
}

#[cfg(not(unix))]
fn room(_: &Path) -> Option<Finding> {
    None
}

/// Opened for reading alone, so that a server that runs is not disturbed.
fn database(path: &Path) -> Finding {
    let shown = path.display();
    if !path.exists() {
        return Finding::ok("database", "none yet; made at the first start");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = Connection::open_with_flags(path, flags).and_then(|database| {
        database.busy_timeout(PATIENCE)?;
        database.query_row("SELECT count(*) FROM sqlite_master WHERE type = 'table'", [], |row| row.get::<_, u32>(0))
    });
    match read {
        Ok(tables) => {
            // What was written last is not in the file itself yet.
            let mut log = path.as_os_str().to_owned();
            log.push("-wal");
            let bytes_of = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
            let bytes = bytes_of(path) + bytes_of(log.as_ref());
            Finding::ok("database", format!("{shown}, {}, {tables} tables; it can be read", size(bytes)))
        }
        Err(rusqlite::Error::SqliteFailure(error, _))
            if matches!(error.code, rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) =>
        {
            Finding::ok("database", format!("{shown}, in use by a server that runs"))
        }
        Err(error) => Finding::failure(
            "database",
            format!("{shown}: {error}"),
            "put back a copy of it, or move it away: the server then makes a new one, without the old conversations",
        ),
    }
}

/// Somebody may listen there already: a server of ours is fine.
pub(super) fn port(address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("port", format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match is_causerie(address) {
            true => Finding::ok("port", format!("a Causerie server answers at {address} already")),
            false => Finding::failure(
                "port",
                format!("{address} is in use by another program"),
                "end that one, or give another port with --listen",
            ),
        },
        Err(error) => {
            Finding::failure("port", format!("{address}: {error}"), "give an address of this machine with --listen")
        }
    }
}

fn is_causerie(address: SocketAddr) -> bool {
    let mut reached = address;
    if reached.ip().is_unspecified() {
        reached.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
    let Ok(mut answer) = agent.new_agent().get(format!("http://{reached}/health")).call() else { return false };
    let body = answer.body_mut().with_config().limit(64 * 1024).read_to_string().unwrap_or_default();
    serde_json::from_str::<serde_json::Value>(&body).is_ok_and(|health| health["status"].is_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_port_is_free_or_somebody_elses() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        // Whoever holds it says nothing at all.
        let finding = port(address);
        assert_eq!((finding.level, finding.advice.is_some()), (Level::Failure, true), "{}", finding.found);
        assert_eq!(port("127.0.0.1:0".parse().unwrap()).level, Level::Ok);
        assert_eq!(port("192.0.2.1:9".parse().unwrap()).level, Level::Failure, "an address of no machine here");
    }

    #[test]
    fn a_database_that_is_none_is_a_failure() {
        let path = std::env::temp_dir().join(format!("causerie-doctor-{}.db", std::process::id()));
        assert_eq!(database(&path).level, Level::Ok);
        fs::write(&path, "this is no database, and it is long enough to be looked at").unwrap();
        assert_eq!(database(&path).level, Level::Failure);
        fs::remove_file(&path).unwrap();
    }
}

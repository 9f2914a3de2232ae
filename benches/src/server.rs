//! The server under load, seen from outside.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};

/// Files that are open besides sockets.
const OTHER_FILES: usize = 64;

/// How long a server may take to get ready.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at whether it is: what is measured is at most so much too long.
const LOOK: Duration = Duration::from_millis(1);

/// A server, ours or somebody's.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    address: SocketAddr,
    pid: u32,
    data_dir: PathBuf,
    link: String,
    started: Instant,
    /// Ours: it ends with this value.
    own: Option<Child>,
    /// Made for it: removed with this value.
    temporary: bool,
}

/// How a server is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// The model that it loads; otherwise none.
    pub model: Option<&'a Path>,
    /// An existing data directory; otherwise a new one, removed at the end.
    pub data_dir: Option<&'a Path>,
    /// Further arguments for `serve`.
    pub arguments: &'a [&'a str],
}

impl Server {
    /// One that runs already.
    #[must_use]
    pub fn running(program: PathBuf, address: SocketAddr, pid: u32, data_dir: PathBuf) -> Server {
        let (link, started) = (format!("http://{address}/"), Instant::now());
        Server { program, address, pid, data_dir, link, started, own: None, temporary: false }
    }

    /// Starts one on a free port of the loopback. It listens when this returns; its model may still be loading.
    ///
    /// # Errors
    /// When it cannot be started, or ends at once.
    pub fn start(program: PathBuf, start: Start<'_>) -> Result<Server, Box<dyn Error>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = std::env::temp_dir().join(format!("causerie-bench-{}-{number}", std::process::id()));
        let data_dir = start.data_dir.map_or(temporary, Path::to_owned);
        std::fs::create_dir_all(&data_dir)?;
        let none = data_dir.join("no-model.gguf");
        let started = Instant::now();
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data_dir)
            .arg("--model")
            .arg(start.model.unwrap_or(&none))
            .args(start.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        let mut lines = BufReader::new(child.stdout.take().expect("stdout was asked for")).lines();
        let link = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let link = line.split_whitespace().find(|word| word.contains("/#login="))?;
            Some((link.strip_prefix("http://")?.split_once('/')?.0.parse().ok()?, link.to_owned()))
        });
        // From here on the process ends with this value, also when there is no address.
        let mut server = Server {
            program,
            address: ([127, 0, 0, 1], 0).into(),
            pid: child.id(),
            data_dir,
            link: String::new(),
            started,
            own: Some(child),
            temporary: start.data_dir.is_none(),
        };
        // Whatever else it prints is read, so that it never waits for us.
        thread::spawn(move || lines.for_each(drop));
        let ended = "the server ended before it printed its address; what it said stands above";
        (server.address, server.link) = link.ok_or(ended)?;
        Ok(server)
    }

    /// Waits until its model is ready, and tells how long after its start that was.
    ///
    /// # Errors
    /// When it does not get ready within [`PATIENCE`].
    pub fn wait_until_ready(&self) -> Result<Duration, Box<dyn Error>> {
        loop {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
            stream.write_all(request.as_bytes())?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            let after = self.started.elapsed();
            if answer.starts_with(b"HTTP/1.1 200") {
                return Ok(after);
            }
            if after > PATIENCE {
                return Err(format!("not ready after {PATIENCE:?}: {}", String::from_utf8_lossy(&answer)).into());
            }
            thread::sleep(LOOK);
        }
    }

    /// Asks it to stop (SIGTERM), and waits until it has: what it computed is saved then.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(mut self) -> io::Result<()> {
        if let Some(child) = &mut self.own {
            let pid = Pid::from_child(child);
            kill_process(pid, Signal::TERM)?;
            child.wait()?;
        }
        Ok(())
    }

    /// When its process was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The link that logs one browser in, once.
    #[must_use]
    pub fn link(&self) -> &str {
        &self.link
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A token for a user.
    ///
    /// # Errors
    /// When the program makes none.
    pub fn token(&self, user: &str) -> Result<String, Box<dyn Error>> {
        let mut command = Command::new(&self.program);
        let output = command.args(["token", "--user", user, "--data-dir"]).arg(&self.data_dir).output()?;
        if !output.status.success() {
            return Err(format!("`causerie token` failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Bytes of memory that it holds.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn resident(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let kilobytes = kilobytes.and_then(|text| text.trim().parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other("/proc tells no VmRSS"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.own {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.data_dir);
        }
    }
}

/// The program given, or the one beside this one.
///
/// # Errors
/// When it is not there, with what to do about it.
pub fn program(given: Option<PathBuf>) -> Result<PathBuf, Box<dyn Error>> {
    let program = match given {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name(format!("causerie{}", std::env::consts::EXE_SUFFIX)),
    };
    if !program.exists() {
        return Err(format!("there is no {}: run `cargo build --release -p causerie`", program.display()).into());
    }
    Ok(program)
}

/// Lets this process, and the server that it starts, open as many sockets.
///
/// # Errors
/// When the system allows fewer.
pub fn raise_open_files(sockets: usize) -> Result<(), Box<dyn Error>> {
    let wanted = (sockets + OTHER_FILES) as u64;
    let mut limit = getrlimit(Resource::Nofile);
    if let Some(most) = limit.maximum.filter(|most| *most < wanted) {
        return Err(format!("{sockets} sockets need {wanted} open files, and at most {most} are allowed here").into());
    }
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

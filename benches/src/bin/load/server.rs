//! The server under load, seen from outside.

use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that are open besides sockets.
const OTHER_FILES: usize = 64;

/// A server, ours or somebody's.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    address: SocketAddr,
    pid: u32,
    data_dir: PathBuf,
    /// Ours, with its data: both go away with this value.
    own: Option<Child>,
}

impl Server {
    /// One that runs already.
    pub(crate) fn running(program: PathBuf, address: SocketAddr, pid: u32, data_dir: PathBuf) -> Server {
        Server { program, address, pid, data_dir, own: None }
    }

    /// Starts one on a free port, with a data directory of its own.
    pub(crate) fn start(program: PathBuf, model: Option<&Path>) -> Result<Server, Box<dyn Error>> {
        let data_dir = std::env::temp_dir().join(format!("causerie-load-{}", std::process::id()));
        std::fs::create_dir_all(&data_dir)?;
        let none = data_dir.join("no-model.gguf");
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data_dir)
            .arg("--model")
            .arg(model.unwrap_or(&none))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        let mut lines = BufReader::new(child.stdout.take().expect("stdout was asked for")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let link = line.split_whitespace().find(|word| word.contains("/#login="))?;
            link.strip_prefix("http://")?.split_once('/')?.0.parse().ok()
        });
        let mut server =
            Server { program, address: ([127, 0, 0, 1], 0).into(), pid: child.id(), data_dir, own: Some(child) };
        // Whatever else it prints is read, so that it never waits for us.
        thread::spawn(move || lines.for_each(drop));
        server.address = address.ok_or("the server ended before it printed its address; what it said stands above")?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A token for a user.
    pub(crate) fn token(&self, user: &str) -> Result<String, Box<dyn Error>> {
        let mut command = Command::new(&self.program);
        let output = command.args(["token", "--user", user, "--data-dir"]).arg(&self.data_dir).output()?;
        if !output.status.success() {
            return Err(format!("`causerie token` failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Bytes of memory that it holds.
    pub(crate) fn resident(&self) -> io::Result<u64> {
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
            let _ = std::fs::remove_dir_all(&self.data_dir);
        }
    }
}

/// The program given, or the one beside this one.
pub(crate) fn program(given: Option<PathBuf>) -> Result<PathBuf, Box<dyn Error>> {
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
pub(crate) fn raise_open_files(sockets: usize) -> Result<(), Box<dyn Error>> {
    let wanted = (sockets + OTHER_FILES) as u64;
    let mut limit = getrlimit(Resource::Nofile);
    if let Some(most) = limit.maximum.filter(|most| *most < wanted) {
        return Err(format!("{sockets} sockets need {wanted} open files, and at most {most} are allowed here").into());
    }
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

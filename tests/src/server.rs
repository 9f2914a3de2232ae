//! The real server as a child process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Client, Process, TempDir, WITHIN, binary};

/// An empty file: a test is not to depend on the settings of whoever runs it.
const NO_SETTINGS: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

/// How a server is started. The default: a new data directory, a free port on the loopback, the default model.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// An existing data directory, for a server that goes on where another one ended.
    pub data_dir: Option<Arc<TempDir>>,
    /// Another address than a free port on the loopback, for a server that is to be found where one was before.
    pub listen: Option<SocketAddr>,
    /// Another model file. One that does not exist makes a server without a model: its `/health` stays 503, and the
    /// start does not wait for it.
    pub model: Option<PathBuf>,
    /// Further arguments for `serve`.
    pub args: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    address: SocketAddr,
    login_link: String,
    data_dir: Arc<TempDir>,
}

impl Server {
    /// Starts one and waits until its model is ready.
    ///
    /// # Panics
    /// When it ends or does not get ready.
    #[must_use]
    pub fn start() -> Server {
        Server::start_with(Options::default())
    }

    /// Starts one with other [`Options`].
    ///
    /// # Panics
    /// When it ends or does not get ready.
    #[must_use]
    pub fn start_with(options: Options) -> Server {
        let data_dir = options.data_dir.unwrap_or_else(|| Arc::new(TempDir::new()));
        let model = options.model.unwrap_or_else(binary::model);
        let has_model = model.exists();
        let listen = options.listen.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let process = Process::start(
            Command::new(binary::causerie())
                .args(["serve", "--listen", &listen, "--data-dir"])
                .arg(data_dir.path())
                .arg("--model")
                .arg(model)
                .args(options.args)
                .env("CAUSERIE_CONFIG", NO_SETTINGS)
                .envs(options.env),
        );
        let (address, login_link) = process
            .output()
            .wait_for(WITHIN, printed_link)
            .unwrap_or_else(|| panic!("the server printed no login link within {WITHIN:?}"));
        let mut server = Server { process, address, login_link, data_dir };
        if has_model {
            server.wait_until_ready();
        }
        server
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + WITHIN;
        loop {
            let (status, health) = self.health();
            if status == 200 {
                return;
            }
            if let Some(ended) = self.process.ended() {
                panic!("the server ended with {ended}");
            }
            assert!(Instant::now() < deadline, "/health stayed at {status} {health} for {WITHIN:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The link that it printed to log a browser in, once.
    #[must_use]
    pub fn login_link(&self) -> &str {
        &self.login_link
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its data directory, which lives as long as somebody holds it.
    #[must_use]
    pub fn data_dir(&self) -> Arc<TempDir> {
        Arc::clone(&self.data_dir)
    }

    /// The status and the JSON of `/health`.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn health(&self) -> (u16, Value) {
        let mut answer = agent().get(self.url("/health")).call().unwrap_or_else(|error| panic!("GET /health: {error}"));
        let body = answer.body_mut().read_to_string().unwrap_or_default();
        (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// A token for a user, as `causerie token` mints it while the server runs.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        self.token_with(user, &[])
    }

    /// The same with further arguments, such as `--role admin` or `--ttl 2s`.
    ///
    /// # Panics
    /// When the command fails.
    #[must_use]
    pub fn token_with(&self, user: &str, args: &[&str]) -> String {
        let output = Command::new(binary::causerie())
            .args(["token", "--user", user, "--data-dir"])
            .arg(self.data_dir.path())
            .args(args)
            .env("CAUSERIE_CONFIG", NO_SETTINGS)
            .output()
            .unwrap_or_else(|error| panic!("causerie cannot be started: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`causerie token` failed: {errors}");
        String::from_utf8(output.stdout).expect("a token is ASCII").trim_end().to_owned()
    }

    /// A connection of a user, its `connection_established` already taken.
    #[must_use]
    pub fn connect(&self, user: &str) -> Client {
        let mut client = Client::connect(self.address, &self.token(user));
        client.expect("connection_established");
        client
    }

    /// Asks it to stop (SIGTERM), waits until it has, and gives its data directory, for the next one.
    ///
    /// # Panics
    /// When it does not end well.
    #[must_use]
    pub fn stop(mut self) -> Arc<TempDir> {
        let asked = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(asked.is_ok_and(|status| status.success()), "`kill` is in every system");
        let deadline = Instant::now() + WITHIN;
        loop {
            if let Some(ended) = self.process.ended() {
                assert!(ended.success(), "the server ended with {ended}");
                return self.data_dir();
            }
            assert!(Instant::now() < deadline, "the server did not stop within {WITHIN:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as a power cut would (SIGKILL) and gives its data directory, for the next one.
    #[must_use]
    pub fn kill(mut self) -> Arc<TempDir> {
        self.process.kill();
        self.data_dir()
    }
}

/// The address and the link in a line such as `Open http://127.0.0.1:8080/#login=CODE`, or with https.
fn printed_link(line: &str) -> Option<(SocketAddr, String)> {
    let link = line.split_whitespace().find(|word| word.starts_with("http") && word.contains("/#login="))?;
    let (authority, _) = link.split_once("://")?.1.split_once('/')?;
    Some((authority.parse().ok()?, link.to_owned()))
}

/// An HTTP client that takes every status as an answer, and asks no proxy for what is on this machine.
pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(WITHIN));
    config.proxy(None).build().into()
}

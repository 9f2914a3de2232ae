//! `causerie serve`: everything put together, in the order in which it can fail.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use async_signal::{Signal, Signals};
use causerie_core::Hub;
use causerie_core::limits::Limits;
use smol::channel::Sender;
use smol::stream::StreamExt;
use smol::{Async, LocalExecutor};

use crate::admission::Admissions;
use crate::auth::{Auth, AuthError};
use crate::config::{self, ConfigError, DataOptions, ServeOptions};
use crate::drive::{Clock, Drive, Outside, Sources};
use crate::fetch::FetchOptions;
use crate::housekeeping;
use crate::http::{self, Bodies, Health, OriginPolicy, Site};
use crate::limits;
use crate::login::LoginCodes;
use crate::metrics::{EngineLoad, Metrics};
use crate::models::Models;
use crate::notify;
use crate::quota::Quotas;
use crate::reload::{Reload, Source};
use crate::store::{Store, StoreError, StoreOptions};
use crate::tls::{Tls, TlsError};
use crate::worker::{Worker, WorkerOptions};

/// Why the server does not start, or stopped by itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The environment lacks something.
    Config(ConfigError),
    /// The data directory could not be made.
    DataDirectory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keys could not be loaded.
    Auth(AuthError),
    /// The certificate could not be loaded.
    Tls(TlsError),
    /// The address could not be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The database could not be opened.
    Store(StoreError),
    /// The system refused a thread, randomness or signals.
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Config(error) => error.fmt(f),
            ServeError::DataDirectory { path, source } => {
                write!(f, "cannot make the data directory {}: {source}; give another with --data-dir", path.display())
            }
            ServeError::Auth(error) => error.fmt(f),
            ServeError::Tls(error) => error.fmt(f),
            ServeError::Listen { address, source } if source.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is in use, perhaps by another causerie: stop that one, \
                 or listen elsewhere, as with --listen {}",
                SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024))
            ),
            ServeError::Listen { address, source } => {
                write!(f, "cannot listen on {address}: {source}; give another address with --listen HOST:PORT")
            }
            ServeError::Store(error) => error.fmt(f),
            ServeError::System { what, source } => write!(f, "the system refuses {what}: {source}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Runs the server until it is told to stop: by SIGTERM or SIGINT, and at once by a second one. SIGHUP reads certificates
/// and keys again, SIGUSR1 prints another link.
///
/// # Errors
/// [`ServeError`] when it cannot start. A model that cannot be had is no reason not to.
pub fn serve(options: &ServeOptions) -> Result<(), ServeError> {
    let data_dir = options.data.directory().map_err(ServeError::Config)?;
    make_private(&data_dir).map_err(|source| ServeError::DataDirectory { path: data_dir.clone(), source })?;
    let listen = |source| ServeError::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let listener = Async::new(listener).map_err(listen)?;
    let auth = Arc::new(Auth::open(&options.keys.auth(&data_dir)).map_err(ServeError::Auth)?);
    let tls = options.tls.files().map_err(ServeError::Config)?;
    let tls = tls.map(Tls::open).transpose().map_err(ServeError::Tls)?.map(Arc::new);
    let sources = [Some(Source::Keys(auth.clone())), tls.clone().map(Source::Tls)];
    let reload = Reload::start(sources.into_iter().flatten().collect())
        .map_err(|source| ServeError::System { what: "a thread", source })?;
    let (reply, replies) = smol::channel::bounded(limits::STORE_REPLIES);
    let load = Arc::new(EngineLoad::default());
    let metrics = Rc::new(Metrics::new(load.clone()));
    let opened = StoreOptions { latency: Some(metrics.storage()), ..StoreOptions::default() };
    let store = Store::open_with(&config::database_path(&data_dir), &opened, reply).map_err(ServeError::Store)?;

    let (event, events) = smol::channel::bounded(limits::WORKER_EVENTS);
    let worker = WorkerOptions {
        source: options.model.source(),
        fetch: FetchOptions::from_environment(options.model.offline).map_err(ServeError::Config)?,
        engine: options.engine.clone(),
        saved: options.kv_cache.directory(&data_dir).and_then(|directory| saved_cache(&directory)),
        load,
    };
    let model = worker.source.to_string();
    let others = worker.clone();
    let worker = Worker::start(worker, event).map_err(|source| ServeError::System { what: "a thread", source })?;

    let store = Rc::new(store);
    let quotas = Rc::new(Quotas::new(&store, metrics.clone()));
    let (clock, wall_clock) = Clock::start();
    let hub_limits = Limits::default();
    let message_bytes = hub_limits.frame_bytes;
    let hub = Hub::new(causerie_core::Options {
        seed: seed().map_err(|source| ServeError::System { what: "randomness", source })?,
        wall_clock,
        server: concat!("Causerie ", env!("CARGO_PKG_VERSION")).to_owned(),
        limits: hub_limits,
    });

    let (arrival, arrivals) = smol::channel::bounded(limits::ARRIVALS);
    let (stop, stops) = smol::channel::bounded(1);
    let health = Rc::new(Health::new());
    let executor = Rc::new(LocalExecutor::new());
    let models = Models::new(&executor, health.clone(), worker.asker(), others, options.load_on_demand);
    load_also(&models, &options.also);
    let site = Rc::new(Site {
        executor: executor.clone(),
        auth: auth.clone(),
        admissions: Rc::new(Admissions::new(auth.clone(), &store)),
        quotas: quotas.clone(),
        metrics: metrics.clone(),
        logins: RefCell::new(LoginCodes::default()),
        operator: options.user.clone(),
        origins: OriginPolicy::new(address, &options.allow_origin),
        health: health.clone(),
        models,
        store: Rc::downgrade(&store),
        arrivals: arrival,
        message_bytes,
        open: Cell::new(0),
        tls,
        handshakes: Cell::new(0),
        bodies: Bodies::default(),
        log_requests: options.log_requests,
    });
    raise_open_files();
    let secret_file = options.keys.jwt_secret_file.clone();
    let welcome = Welcome { address, model, data_dir, secret_file, site: site.clone() };
    let signals = signals().map_err(|source| ServeError::System { what: "signals", source })?;
    welcome.print();
    let terminal = io::stdin().is_terminal();
    executor.spawn(watch_signals(signals, stop, welcome, reload, terminal)).detach();
    executor.spawn(housekeeping::watch(Rc::downgrade(&store), site.arrivals.clone())).detach();
    let forget = housekeeping::forget(Rc::downgrade(&store), site.arrivals.clone(), options.retain_days);
    executor.spawn(forget).detach();
    executor.spawn(http::accept(site, listener.into())).detach();
    notify::tell("READY=1");
    executor.spawn(notify::live()).detach();
    let drive = Drive::new(hub, Outside::new(health, worker, store, auth, quotas, metrics), clock);
    smol::block_on(executor.run(drive.run(Sources { arrivals, replies, events, stop: stops })));
    tracing::info!("stopped");
    Ok(())
}

/// Loads further models. That one of them cannot be had is no reason not to serve the others.
fn load_also(models: &Models, also: &[String]) {
    for name in also {
        if let Err(error) = models.source(name).and_then(|source| models.load(source)) {
            tracing::error!("the model {name} is not loaded: {error}");
        }
    }
}

/// The file in which conversations are kept as they were computed; none where it cannot be.
fn saved_cache(directory: &Path) -> Option<PathBuf> {
    match make_private(directory) {
        Ok(()) => Some(directory.join("pages.kv")),
        Err(error) => {
            let directory = directory.display();
            tracing::warn!(
                "cannot make {directory}: {error}; after a restart, conversations are computed anew. \
                 Give another directory with --kv-cache-dir, or --no-kv-cache"
            );
            None
        }
    }
}

/// The directory and those above it, readable by their owner alone where they are new.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// As many open files as this process may have: many systems begin with 1024, and each connection is one.
fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current < limit.maximum {
            limit.current = limit.maximum;
            let _ = setrlimit(Resource::Nofile, limit);
        }
    }
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

#[cfg(unix)]
fn signals() -> io::Result<Signals> {
    Signals::new([Signal::Int, Signal::Term, Signal::Hup, Signal::Usr1])
}

#[cfg(not(unix))]
fn signals() -> io::Result<Signals> {
    Signals::new([Signal::Int])
}

async fn watch_signals(mut signals: Signals, stop: Sender<()>, welcome: Welcome, reload: Reload, terminal: bool) {
    let mut stopping = false;
    while let Some(signal) = signals.next().await {
        match signal {
            #[cfg(unix)]
            Ok(Signal::Usr1) => welcome.print_link(),
            // It also says that the terminal, where the server was started on one, is gone: then it goes, too.
            #[cfg(unix)]
            Ok(Signal::Hup) if !terminal || io::stdin().is_terminal() => reload.now(),
            Ok(_) if stopping => {
                tracing::warn!("stopped at once, as asked");
                std::process::exit(1);
            }
            Ok(_) => {
                stopping = true;
                notify::tell("STOPPING=1");
                let _ = stop.try_send(());
            }
            Err(error) => tracing::warn!(%error, "a signal could not be read"),
        }
    }
}

/// What is printed for the person who starts the server. Where the output goes is theirs: if nowhere, so be it.
struct Welcome {
    address: SocketAddr,
    model: String,
    data_dir: PathBuf,
    secret_file: Option<PathBuf>,
    site: Rc<Site>,
}

impl Welcome {
    fn print(&self) {
        let _ = writeln!(
            io::stdout().lock(),
            "Causerie {}: a shared chat with a language model on this machine.\n\n  \
             Model    {}\n  \
             Data     {}\n{}  \
             Stop     Ctrl-C",
            env!("CARGO_PKG_VERSION"),
            self.model,
            self.data_dir.display(),
            self.invitation(),
        );
        self.print_link();
        if !self.address.ip().is_loopback() && self.site.tls.is_none() {
            tracing::warn!(
                "listening on {}, so others can connect, and without TLS tokens and chats can be read on the way: \
                 give --tls-cert and --tls-key, or put a proxy that speaks HTTPS in front",
                self.address
            );
        }
    }

    /// How to let somebody else in: a line, or nothing where somebody else makes the tokens.
    fn invitation(&self) -> String {
        if !self.site.auth.can_issue() {
            return String::new();
        }
        let usual = DataOptions { data_dir: None }.directory();
        let secret = match &self.secret_file {
            Some(file) => format!("--jwt-secret-file '{}' ", file.display()),
            None if usual.is_ok_and(|usual| usual == self.data_dir) => String::new(),
            None => format!("--data-dir '{}' ", self.data_dir.display()),
        };
        let base = if self.address.ip().is_unspecified() {
            format!("{}://ADDRESS-OF-THIS-MACHINE:{}", self.scheme(), self.address.port())
        } else {
            self.base()
        };
        format!("  Invite   causerie token {secret}--user NAME   then send them {base}/#token=TOKEN\n")
    }

    /// A new link, which logs one browser in.
    fn print_link(&self) {
        if !self.site.auth.can_issue() {
            let _ = writeln!(
                io::stdout().lock(),
                "\nOpen {}/ and log in with a token of your identity provider, whose keys are in use.",
                self.base()
            );
            return;
        }
        match self.site.logins.borrow_mut().issue(Instant::now()) {
            Ok(code) => drop(writeln!(
                io::stdout().lock(),
                "\nOpen {}/#login={code}\n\nThe link logs one browser in as {}, once, within {} minutes; \
                 for another one: kill -USR1 {}",
                self.base(),
                self.site.operator,
                limits::LOGIN_TIME.as_secs() / 60,
                std::process::id(),
            )),
            Err(error) => {
                tracing::error!(%error, "no login link: the system gives no randomness; use `causerie token`");
            }
        }
        let _ = io::stdout().flush();
    }

    /// The address as this machine's browser opens it.
    fn base(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        format!("{}://{address}", self.scheme())
    }

    fn scheme(&self) -> &'static str {
        if self.site.tls.is_some() { "https" } else { "http" }
    }
}

//! What the operator says: flags, the environment, a file.
//!
//! Each setting is one argument of clap's with a flag and a variable `CAUSERIE_…`; its key in the file is the flag's
//! name. Precedence: the flag, then its variable, then the file, then the default ([`settle`]).

mod error;
mod example;
mod file;
mod layers;

use std::ffi::OsString;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use causerie_inference::KvType;
use causerie_inference::scheduler::Speculation;
use clap::{Args, ValueEnum};

pub use error::SettingError;
pub use example::example;
pub use layers::{Origin, Setting, SettleError, Settled, is_setting, settle};

use crate::auth::AuthOptions;
use crate::fetch::{DEFAULT_MODEL, ModelSource};
use crate::logging;
use crate::tls::TlsFiles;

/// What every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub struct CommonOptions {
    /// File with settings, which `causerie config --example` shows [default: causerie/causerie.toml in $XDG_CONFIG_HOME
    /// or ~/.config, if it is there]
    #[arg(long, global = true, env = "CAUSERIE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What is logged, as in debug or causerie=debug,info [default: causerie=info,warn when it serves, otherwise warn]
    #[arg(long, global = true, env = "CAUSERIE_LOG", value_name = "FILTER", value_parser = logging::filter)]
    pub log: Option<String>,

    /// Lines for people, or one JSON object a line
    #[arg(long, global = true, env = "CAUSERIE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// An object of JSON: timestamp, level, fields, target, span
    Json,
}

/// Everything that `causerie serve` takes.
#[derive(Args, Clone, Debug)]
pub struct ServeOptions {
    /// Address to listen on: HOST:PORT, or a port on the loopback. Others than the loopback let the network in
    #[arg(long, env = "CAUSERIE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = listen)]
    pub listen: SocketAddr,

    /// Name of the person who follows the link that is printed; they are an administrator
    #[arg(long, env = "CAUSERIE_USER", value_name = "NAME", default_value = "admin")]
    pub user: String,

    /// Web pages of this origin may connect, too, as `https://chat.example`; may be repeated
    #[arg(long, env = "CAUSERIE_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,

    /// Log each HTTP request, with method, path, status and duration; otherwise they are logged with --log debug
    #[arg(long, env = "CAUSERIE_LOG_REQUESTS", value_parser = clap::builder::FalseyValueParser::new())]
    pub log_requests: bool,

    /// Whether HTTPS is spoken.
    #[command(flatten)]
    pub tls: TlsOptions,

    /// Load this model, too, for the API: a name as `causerie pull` takes it, or a file's whole path; may be repeated
    #[arg(long, env = "CAUSERIE_ALSO", value_name = "MODEL", value_delimiter = ',')]
    pub also: Vec<String>,

    /// Load a model of the cache when the API is asked for it by its name, and let it go when it is not used for five minutes
    #[arg(long, env = "CAUSERIE_LOAD_ON_DEMAND", value_parser = clap::builder::FalseyValueParser::new())]
    pub load_on_demand: bool,

    /// Delete sessions in which nothing has happened for so many days, unless somebody has them open [default: never]
    #[arg(long, env = "CAUSERIE_RETAIN_DAYS", value_name = "DAYS")]
    pub retain_days: Option<NonZeroU32>,

    /// Where things are kept.
    #[command(flatten)]
    pub data: DataOptions,

    /// Where computed conversations are kept over a restart.
    #[command(flatten)]
    pub kv_cache: KvCacheOptions,

    /// Which model.
    #[command(flatten)]
    pub model: ModelOptions,

    /// How the engine runs.
    #[command(flatten)]
    pub engine: EngineOptions,

    /// Which keys tokens are checked with.
    #[command(flatten)]
    pub keys: KeyOptions,
}

/// HTTPS instead of HTTP, where both files are given.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsOptions {
    /// PEM file with the certificate and those that lead to its root: HTTPS is spoken instead of HTTP. Read again when it
    /// changes and on SIGHUP
    #[arg(long, env = "CAUSERIE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's private key
    #[arg(long, env = "CAUSERIE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// Where the server keeps what must not be lost.
#[derive(Args, Clone, Debug, Default)]
pub struct DataOptions {
    /// Directory of the database and the secret [default: $XDG_DATA_HOME/causerie or ~/.local/share/causerie]
    #[arg(long, env = "CAUSERIE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Where the keys and values of conversations are kept over a restart, so that nothing is computed twice.
#[derive(Args, Clone, Debug, Default)]
pub struct KvCacheOptions {
    /// Directory for what was computed of conversations, 256 MiB at most [default: kv in the data directory]
    #[arg(long, env = "CAUSERIE_KV_CACHE_DIR", value_name = "DIR", conflicts_with = "no_kv_cache")]
    pub kv_cache_dir: Option<PathBuf>,

    /// Keep nothing of it: after a restart, conversations are computed anew
    #[arg(long, env = "CAUSERIE_NO_KV_CACHE", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_kv_cache: bool,
}

/// Which model answers.
#[derive(Args, Clone, Debug, Default)]
pub struct ModelOptions {
    /// A GGUF file [default: the default model, fetched when it is first needed]
    #[arg(long, env = "CAUSERIE_MODEL", value_name = "FILE", conflicts_with = "hf")]
    pub model: Option<PathBuf>,

    /// A known model (smollm2-135m, gemma3-270m) or a GGUF file of a Hugging Face repository, fetched if it is not there
    /// yet
    #[arg(long, env = "CAUSERIE_HF", value_name = "NAME|OWNER/REPO[:FILE]")]
    pub hf: Option<ModelSource>,

    /// Fetch nothing; use what is on this machine
    #[arg(long, env = "CAUSERIE_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub offline: bool,
}

/// How the engine runs.
#[derive(Args, Clone, Debug, Default)]
pub struct EngineOptions {
    /// Threads that compute [default: one a core]
    #[arg(long, env = "CAUSERIE_THREADS", value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Tokens of one conversation, question and answer together [default: what the model was trained for]
    #[arg(long, env = "CAUSERIE_CONTEXT", value_name = "TOKENS")]
    pub context: Option<NonZeroUsize>,

    /// Answers that are generated at once; more wait for their turn [default: 8]
    #[arg(long, env = "CAUSERIE_PARALLEL", value_name = "N")]
    pub parallel: Option<NonZeroUsize>,

    /// Whether to guess from the conversation what comes next, and compute it ahead; answers are the same either way
    #[arg(long, env = "CAUSERIE_SPECULATE", value_name = "WHEN", default_value = "auto")]
    pub speculate: Speculate,

    /// What keys and values, which are what is remembered of a conversation's tokens, are kept as
    #[arg(long, env = "CAUSERIE_KV", value_name = "TYPE", default_value = "bf16")]
    pub kv: Kv,
}

/// What keys and values are kept as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kv {
    /// 16 bits each
    #[default]
    Bf16,
    /// 8 bits each: half of the memory, and faster where there is much context; a little less exact
    Q8,
}

impl From<Kv> for KvType {
    fn from(kv: Kv) -> KvType {
        match kv {
            Kv::Bf16 => KvType::Bf16,
            Kv::Q8 => KvType::Q8,
        }
    }
}

/// When what comes next is guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Speculate {
    /// Where it makes answers faster
    #[default]
    Auto,
    /// Never
    Off,
    /// Wherever something can be guessed
    On,
}

impl From<Speculate> for Speculation {
    fn from(when: Speculate) -> Speculation {
        match when {
            Speculate::Auto => Speculation::Auto,
            Speculate::Off => Speculation::Off,
            Speculate::On => Speculation::On,
        }
    }
}

/// Which keys tokens are checked with; one kind at a time.
#[derive(Args, Clone, Debug, Default)]
pub struct KeyOptions {
    /// File with the HS256 secret [default: jwt.secret in the data directory, made at the first start]
    #[arg(long, env = "CAUSERIE_JWT_SECRET_FILE", value_name = "FILE", conflicts_with_all = ["jwt_public_key", "jwt_jwks"])]
    pub jwt_secret_file: Option<PathBuf>,

    /// PEM file with the public key of your identity provider (RSA, P-256, P-384 or Ed25519)
    #[arg(long, env = "CAUSERIE_JWT_PUBLIC_KEY", value_name = "FILE", conflicts_with = "jwt_jwks")]
    pub jwt_public_key: Option<PathBuf>,

    /// JWKS file with the public keys of your identity provider
    #[arg(long, env = "CAUSERIE_JWT_JWKS", value_name = "FILE")]
    pub jwt_jwks: Option<PathBuf>,

    /// What a token's "iss" must be
    #[arg(long, env = "CAUSERIE_JWT_ISSUER", value_name = "ISS")]
    pub jwt_issuer: Option<String>,

    /// What a token's "aud" must be; without it, tokens that have one are refused
    #[arg(long, env = "CAUSERIE_JWT_AUDIENCE", value_name = "AUD")]
    pub jwt_audience: Option<String>,
}

impl TlsOptions {
    /// Both files; `None` where HTTP is spoken.
    ///
    /// # Errors
    /// When only one of them is given.
    pub fn files(&self) -> Result<Option<TlsFiles>, ConfigError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert: cert.clone(), key: key.clone() })),
            (None, None) => Ok(None),
            _ => Err(ConfigError::HalfOfTls),
        }
    }
}

impl DataOptions {
    /// The data directory, which may not exist yet.
    ///
    /// # Errors
    /// When none is given and the environment does not say where the user's home is.
    pub fn directory(&self) -> Result<PathBuf, ConfigError> {
        match &self.data_dir {
            Some(directory) => Ok(directory.clone()),
            None => user_directory("XDG_DATA_HOME", ".local/share").ok_or(ConfigError::NoDataDirectory),
        }
    }
}

impl KvCacheOptions {
    /// The directory, if there is to be one.
    pub fn directory(&self, data_dir: &Path) -> Option<PathBuf> {
        (!self.no_kv_cache).then(|| self.kv_cache_dir.clone().unwrap_or_else(|| data_dir.join("kv")))
    }
}

impl ModelOptions {
    /// Where the model comes from.
    pub fn source(&self) -> ModelSource {
        match (&self.model, &self.hf) {
            (Some(path), _) => ModelSource::File(path.clone()),
            (None, Some(source)) => source.clone(),
            (None, None) => ModelSource::Known(DEFAULT_MODEL),
        }
    }
}

impl KeyOptions {
    /// As [`crate::auth`] wants them.
    pub fn auth(&self, data_dir: &Path) -> AuthOptions {
        AuthOptions {
            data_dir: data_dir.to_owned(),
            secret_file: self.jwt_secret_file.clone(),
            public_key: self.jwt_public_key.clone(),
            jwks: self.jwt_jwks.clone(),
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
        }
    }
}

/// The database of a data directory.
pub fn database_path(data_dir: &Path) -> PathBuf {
    data_dir.join("causerie.db")
}

/// The cache: `$CAUSERIE_CACHE_DIR`, `$XDG_CACHE_HOME/causerie` or `~/.cache/causerie`. Models are in its `models`.
///
/// # Errors
/// When the environment names none of them.
pub fn cache_directory() -> Result<PathBuf, ConfigError> {
    match variable("CAUSERIE_CACHE_DIR") {
        Some(directory) => Ok(directory.into()),
        None => user_directory("XDG_CACHE_HOME", ".cache").ok_or(ConfigError::NoCacheDirectory),
    }
}

/// A directory of ours by the XDG Base Directory Specification.
fn user_directory(variable_name: &str, below_home: &str) -> Option<PathBuf> {
    let base = variable(variable_name).map(PathBuf::from).filter(|path| path.is_absolute());
    base.or_else(|| Some(Path::new(&variable("HOME")?).join(below_home))).map(|base| base.join("causerie"))
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// What the environment or the settings lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nowhere to keep data.
    NoDataDirectory,
    /// Nowhere to keep models.
    NoCacheDirectory,
    /// A certificate without its key, or a key without its certificate.
    HalfOfTls,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigError::NoDataDirectory => {
                "no data directory: neither --data-dir nor CAUSERIE_DATA_DIR, XDG_DATA_HOME or HOME is set; give one"
            }
            ConfigError::NoCacheDirectory => {
                "no cache directory: none of CAUSERIE_CACHE_DIR, XDG_CACHE_HOME and HOME is set; set one"
            }
            ConfigError::HalfOfTls => "HTTPS needs both --tls-cert and --tls-key, and only one of them is given",
        })
    }
}

impl std::error::Error for ConfigError {}

/// HOST:PORT, or a port alone on the loopback.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let resolved = if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    } else {
        text.to_socket_addrs()
    };
    let mut addresses = resolved.map_err(|error| format!("{error}; write HOST:PORT, as in 127.0.0.1:8080"))?;
    addresses.next().ok_or_else(|| "the name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_host_and_a_port() {
        assert_eq!(listen("8081"), Ok(SocketAddr::from(([127, 0, 0, 1], 8081))));
        assert_eq!(listen("0.0.0.0:80"), Ok(SocketAddr::from(([0, 0, 0, 0], 80))));
        assert_eq!(listen("[::1]:9").unwrap().to_string(), "[::1]:9");
        assert!(listen("localhost:9").unwrap().ip().is_loopback());
        for wrong in ["", "127.0.0.1", "65536", "localhost", ":::"] {
            assert!(listen(wrong).is_err(), "{wrong:?}");
        }
    }
}

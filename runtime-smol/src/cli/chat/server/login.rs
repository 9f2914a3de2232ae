//! Tokens: from a login link, renewed before they end, and kept for the next time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::address::Address;
use crate::cli::private;

/// How long a server may take to answer, the connection included.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest answer that is read, in bytes: a token of 8 KiB and its surroundings.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Servers that are remembered; those with the least names are forgotten beyond.
const SERVERS: usize = 64;

/// The largest file of kept tokens that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Asks a server for tokens.
pub(super) struct Login {
    agent: Agent,
    base: String,
}

/// A token that was given.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Given {
    pub(super) token: String,
}

/// Why there is none.
pub(super) enum NotGiven {
    /// The server says no; what it said.
    Refused(String),
    /// It cannot be reached.
    Unreachable(String),
}

impl Login {
    /// `authority` is the file with the certificates that are believed instead of the common ones.
    pub(super) fn new(address: &Address, authority: Option<&Path>) -> Result<Login, String> {
        let mut config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).max_redirects(0);
        if let Some(path) = authority {
            let pem = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(format!("{}: there is no certificate in it; it is to be a PEM file", path.display()));
            }
            let roots = RootCerts::new_with_certs(&certificates);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Login { agent: config.build().new_agent(), base: address.base() })
    }

    /// A token for the code of a link.
    pub(super) fn redeem(&self, code: &str) -> Result<Given, NotGiven> {
        let url = format!("{}/api/login", self.base);
        let body = json!({ "code": code }).to_string();
        self.read(self.agent.post(url).header("Content-Type", "application/json").send(body))
    }

    /// A fresh token for one that lives.
    pub(super) fn renew(&self, token: &str) -> Result<Given, NotGiven> {
        let url = format!("{}/api/token", self.base);
        self.read(self.agent.post(url).header("Authorization", format!("Bearer {token}")).send_empty())
    }

    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Given, NotGiven> {
        let unreachable = |error: ureq::Error| NotGiven::Unreachable(format!("cannot reach {}: {error}", self.base));
        let mut answer = answer.map_err(unreachable)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES).read_to_string().map_err(unreachable)?;
        if answer.status().is_success() {
            return serde_json::from_str(&body)
                .map_err(|_| NotGiven::Refused(format!("{} is no Causerie server: it gives no token", self.base)));
        }
        let json: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let message = json["message"].as_str().map_or_else(|| answer.status().to_string(), str::to_owned);
        Err(NotGiven::Refused(message))
    }
}

/// What is remembered of servers, in a file that is the person's alone.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
}

/// What is remembered of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Server {
    /// From a login link; one that was given by hand is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    /// The last conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
}

impl Kept {
    /// In the data directory.
    pub(super) fn within(data_dir: &Path) -> Kept {
        Kept { path: data_dir.join("chats").join(".servers.json") }
    }

    /// What is known of a server.
    pub(super) fn of(&self, base: &str) -> Server {
        self.all().remove(base).unwrap_or_default()
    }

    /// Changes it. What cannot be kept is no reason not to talk.
    pub(super) fn change(&self, base: &str, change: impl FnOnce(&mut Server)) {
        let mut all = self.all();
        let before = all.get(base).cloned();
        change(all.entry(base.to_owned()).or_default());
        if all.get(base) == before.as_ref() {
            return;
        }
        while all.len() > SERVERS {
            let Some(other) = all.keys().find(|other| *other != base).cloned() else { break };
            all.remove(&other);
        }
        let written = serde_json::to_vec_pretty(&all).map_err(std::io::Error::from);
        if let Err(error) = written.and_then(|json| private::write(&self.path, &json)) {
            tracing::warn!(%error, path = %self.path.display(), "the login is not kept");
        }
    }

    fn all(&self) -> BTreeMap<String, Server> {
        let small = fs::metadata(&self.path).is_ok_and(|file| file.len() <= FILE_BYTES);
        let json = small.then(|| fs::read(&self.path).ok()).flatten();
        json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_private() {
        let directory = std::env::temp_dir().join(format!("causerie-kept-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let kept = Kept::within(&directory);
        assert_eq!(kept.of("http://a"), Server::default());
        for i in 0..=SERVERS {
            kept.change(&format!("http://{i:03}"), |server| server.token = Some("t".to_owned()));
        }
        assert_eq!(kept.all().len(), SERVERS);
        let last = format!("http://{SERVERS:03}");
        kept.change(&last, |server| server.session = Some("s".to_owned()));
        assert_eq!(kept.of(&last), Server { token: Some("t".to_owned()), session: Some("s".to_owned()) });
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&kept.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&kept.path, "not JSON").unwrap();
        assert_eq!(kept.of(&last), Server::default());
        fs::remove_dir_all(&directory).unwrap();
    }
}

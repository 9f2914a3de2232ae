//! Who may speak to this server from a browser: the `Host` and `Origin` headers.
//!
//! A web page of somebody else can make a browser connect here (cross-site WebSocket hijacking), or can name its own
//! host and point it at the loopback address (DNS rebinding). Neither gets a token that way, since tokens are not
//! cookies; both are refused all the same. Clients that are no browsers send no `Origin` and are let through.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue, ORIGIN};

/// Which hosts this server answers to, and which pages may connect to it.
#[derive(Debug)]
pub(crate) struct OriginPolicy {
    /// Bound to the loopback alone, so that only names of the loopback are right.
    loopback: bool,
    /// Further origins (`https://chat.example`), in lower case, without a slash at the end.
    allowed: Vec<String>,
}

/// A request that is refused for where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// `Host` names somebody else.
    Host(String),
    /// `Origin` is a page of somebody else.
    Origin(String),
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Foreign::Host(host) => write!(
                f,
                "the request is for the host {host:?}, and this server answers on the loopback only: \
                 open it as http://127.0.0.1 or http://localhost, or start it with --allow-origin https://HOST"
            ),
            Foreign::Origin(origin) => write!(
                f,
                "pages of {origin:?} may not connect to this server: start it with --allow-origin {origin} to let them"
            ),
        }
    }
}

impl OriginPolicy {
    /// For a server bound to `bound`, and with the origins of `--allow-origin`.
    pub(crate) fn new(bound: SocketAddr, allowed: &[String]) -> OriginPolicy {
        OriginPolicy {
            loopback: bound.ip().is_loopback(),
            allowed: allowed.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect(),
        }
    }

    /// Whether a request may be answered at all.
    pub(crate) fn check_host(&self, headers: &HeaderMap) -> Result<(), Foreign> {
        let Some(host) = headers.get(HOST) else { return Ok(()) };
        let host = text(host);
        if !self.loopback || is_loopback_name(name_of(&host)) || self.allowed.iter().any(|o| authority(o) == host) {
            return Ok(());
        }
        Err(Foreign::Host(host))
    }

    /// Whether a page may use what needs a token: those of this server itself, and those allowed by name.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Foreign> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let origin = text(origin);
        let same = headers.get(HOST).is_some_and(|host| {
            // A proxy in front may speak TLS, so that the scheme says nothing here.
            matches!(origin.split_once("://"), Some(("http" | "https", rest)) if rest == text(host))
        });
        if same || self.allowed.contains(&origin) { Ok(()) } else { Err(Foreign::Origin(origin)) }
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase()
}

fn authority(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, rest)| rest)
}

/// The host of `host[:port]`, of `[v6][:port]` without its brackets.
fn name_of(host: &str) -> &str {
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split_once(']').map_or(v6, |(address, _)| address);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    fn policy(bound: &str, allowed: &[&str]) -> OriginPolicy {
        let allowed: Vec<String> = allowed.iter().map(|&origin| origin.to_owned()).collect();
        OriginPolicy::new(bound.parse().unwrap(), &allowed)
    }

    #[test]
    fn on_the_loopback_only_its_own_names_are_right() {
        let policy = policy("127.0.0.1:8080", &["https://chat.example/"]);
        for host in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LocalHost",
            "[::1]:8080",
            "a.localhost:1",
            "127.9.9.9",
            "chat.example",
        ] {
            assert_eq!(policy.check_host(&headers(host, None)), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", ""]
        {
            assert_eq!(policy.check_host(&headers(host, None)), Err(Foreign::Host(host.to_owned())), "{host}");
        }
        assert_eq!(policy.check_host(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn bound_to_the_world_any_host_is_right() {
        assert_eq!(policy("0.0.0.0:80", &[]).check_host(&headers("chat.example", None)), Ok(()));
    }

    #[test]
    fn pages_of_this_server_may_connect() {
        let policy = policy("0.0.0.0:80", &[]);
        for (host, origin) in [
            ("localhost:8080", "http://localhost:8080"),
            ("chat.example", "https://chat.example"),
            ("Chat.Example", "https://chat.example"),
        ] {
            assert_eq!(policy.check_origin(&headers(host, Some(origin))), Ok(()), "{host} {origin}");
        }
        assert_eq!(policy.check_origin(&headers("any", None)), Ok(()), "not a browser");
    }

    #[test]
    fn pages_of_others_may_not_unless_named() {
        let policy = policy("127.0.0.1:8080", &["https://friend.example"]);
        assert_eq!(policy.check_origin(&headers("localhost:8080", Some("https://friend.example"))), Ok(()));
        for origin in [
            "null",
            "http://evil.example",
            "http://localhost:8081",
            "http://localhost:8080.evil.example",
            "ftp://localhost:8080",
            "https://friend.example.evil",
        ] {
            let refused = policy.check_origin(&headers("localhost:8080", Some(origin)));
            assert_eq!(refused, Err(Foreign::Origin(origin.to_owned())), "{origin}");
        }
    }
}

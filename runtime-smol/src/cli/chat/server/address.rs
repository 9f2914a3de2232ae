//! Where a server is, as people write it or paste it.

use tungstenite::http::Uri;

/// The WebSocket's path.
const CHAT: &str = "/ws/chat";

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Whether the way is encrypted.
    pub(super) tls: bool,
    /// Its name, without brackets where it is an address of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// Name and port, as in `Host`.
    authority: String,
    /// What stands before our paths, where a proxy puts something there; without a slash at its end.
    prefix: String,
    /// What came behind the address, to log in with.
    pub(super) credential: Option<Credential>,
    /// The conversation that was pasted.
    pub(super) session: Option<String>,
}

/// What logs somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A code that works once.
    Login(String),
    /// A token.
    Token(String),
}

impl std::str::FromStr for Address {
    type Err = String;

    /// `http://`, `https://`, `ws://` or `wss://`, or the host alone, which is `http://`; with what the page has behind `#`.
    fn from_str(text: &str) -> Result<Address, String> {
        let text = text.trim();
        let wrong =
            |why: &str| format!("{text:?} is no address of a server: {why}; write http://HOST:PORT or https://HOST");
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            other => return Err(wrong(&format!("{other}:// is not spoken"))),
        };
        let uri: Uri = format!("{}://{rest}", if tls { "https" } else { "http" })
            .parse()
            .map_err(|error: tungstenite::http::uri::InvalidUri| wrong(&error.to_string()))?;
        let authority = uri.authority().ok_or_else(|| wrong("there is no host"))?;
        if authority.host().is_empty() {
            return Err(wrong("there is no host"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("a name and a password are of no use here"));
        }
        // What stands behind the host's colon and is no port is none to the parser.
        let written = authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        if written && authority.port_u16().is_none() {
            return Err(wrong("the port is none"));
        }
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix(CHAT).unwrap_or(path).to_owned();
        let mut credential = uri.query().and_then(|query| value(query, "token")).map(Credential::Token);
        if let Some(code) = value(fragment, "login") {
            credential = Some(Credential::Login(code));
        } else if let Some(token) = value(fragment, "token") {
            credential = Some(Credential::Token(token));
        }
        Ok(Address {
            tls,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            prefix,
            credential,
            session: value(fragment, "session"),
        })
    }
}

impl Address {
    /// The address without what logs in: how it is shown, and how it is known again.
    pub(super) fn base(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.prefix)
    }

    /// Where the WebSocket is.
    pub(super) fn socket(&self) -> String {
        format!("{}://{}{}{CHAT}", if self.tls { "wss" } else { "ws" }, self.authority, self.prefix)
    }

    /// Whether a token that goes there stays on this machine or is encrypted.
    pub(super) fn is_private(&self) -> bool {
        let loopback = self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.tls || loopback || self.host.eq_ignore_ascii_case("localhost")
    }
}

/// A value of `name=value&…`.
fn value(pairs: &str, name: &str) -> Option<String> {
    let of = |pair: &str| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    pairs.split('&').find_map(of).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn every_way_to_write_it_is_understood() {
        for (text, base, socket, port) in [
            ("http://localhost:8080", "http://localhost:8080", "ws://localhost:8080/ws/chat", 8080),
            ("localhost:8080/", "http://localhost:8080", "ws://localhost:8080/ws/chat", 8080),
            ("wss://chat.example", "https://chat.example", "wss://chat.example/ws/chat", 443),
            ("HTTPS://chat.example/", "https://chat.example", "wss://chat.example/ws/chat", 443),
            ("ws://h/ws/chat", "http://h", "ws://h/ws/chat", 80),
            ("https://h/tea/ws/chat", "https://h/tea", "wss://h/tea/ws/chat", 443),
            ("http://[::1]:9/#login=ab", "http://[::1]:9", "ws://[::1]:9/ws/chat", 9),
        ] {
            let address = parsed(text);
            assert_eq!((address.base(), address.socket(), address.port), (base.into(), socket.into(), port), "{text}");
        }
        assert_eq!(parsed("http://[::1]:9").host, "::1");
        assert!(parsed("http://[::1]:9").is_private() && parsed("https://h").is_private());
        assert!(!parsed("http://192.168.1.2").is_private());
    }

    #[test]
    fn what_logs_in_is_taken_from_a_link() {
        let login = |text: &str| parsed(text).credential;
        assert_eq!(login("http://h/#login=abc"), Some(Credential::Login("abc".into())));
        assert_eq!(login("http://h/#token=a.b.c"), Some(Credential::Token("a.b.c".into())));
        assert_eq!(login("ws://h/ws/chat?token=a.b.c"), Some(Credential::Token("a.b.c".into())));
        assert_eq!(login("http://h/#login="), None);
        assert_eq!(parsed("http://h/#session=12").session.as_deref(), Some("12"));
        assert!(!parsed("http://h/#login=abc").base().contains("abc"));
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (text, told) in [
            ("", "write http://HOST"),
            ("ftp://h", "ftp:// is not spoken"),
            ("http://", "write http://HOST"),
            ("http://:80", "no host"),
            ("http://a b", "write http://HOST"),
            ("http://u:p@h", "password"),
            ("http://h:99999", "write http://HOST"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}

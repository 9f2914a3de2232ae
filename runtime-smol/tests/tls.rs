//! HTTPS and WebSockets over it: a real server, real certificates, real clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use causerie_tests::{Options, Process, Server, TempDir, WITHIN, binary};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Files of a certificate for 127.0.0.1 and its key.
struct Certificate {
    directory: TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Certificate {
        let mut certificate = Certificate { directory: TempDir::new(), der: CertificateDer::from(Vec::new()) };
        certificate.renew();
        certificate
    }

    fn cert(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    /// Another certificate in the same files, each replaced in one step.
    fn renew(&mut self) {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        for (path, pem) in [(self.key(), signing_key.serialize_pem()), (self.cert(), cert.pem())] {
            let part = path.with_extension("part");
            std::fs::write(&part, pem).unwrap();
            std::fs::rename(part, path).unwrap();
        }
        self.der = cert.der().clone();
    }

    fn serve(&self) -> Server {
        self.serve_with(Vec::new())
    }

    fn serve_with(&self, env: Vec<(String, String)>) -> Server {
        let args =
            [format!("--tls-cert={}", self.cert().display()), format!("--tls-key={}", self.key().display())].into();
        let model = Some("/nowhere/at-all.gguf".into());
        Server::start_with(Options { model, args, env, ..Options::default() })
    }

    /// What trusts this certificate and no other.
    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn connect(&self, address: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        let name = ServerName::from(address.ip());
        StreamOwned::new(ClientConnection::new(self.client(), name).unwrap(), stream)
    }

    /// `GET path`, as a client that trusts this certificate: the answer, or why there is no connection.
    fn get(&self, address: SocketAddr, path: &str) -> std::io::Result<String> {
        let mut stream = self.connect(address);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        // It ends with the farewell of TLS, or this is an error.
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until the server shows this certificate.
    fn wait_until_shown(&self, server: &Server) {
        let deadline = std::time::Instant::now() + WITHIN;
        while let Err(error) = self.get(server.address(), "/health") {
            assert!(std::time::Instant::now() < deadline, "it does not show the new one: {error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

type Socket = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

fn chat(certificate: &Certificate, server: &Server, user: &str) -> Socket {
    let address = server.address();
    let url = format!("wss://{address}/ws/chat?token={}", server.token(user));
    let (mut socket, _) = tungstenite::client(url, certificate.connect(address)).unwrap();
    expect(&mut socket, "connection_established");
    socket
}

fn expect(socket: &mut Socket, kind: &str) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap_or_else(|error| panic!("no {kind}: {error}")) {
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["type"] == kind {
                return frame;
            }
        }
    }
}

fn say(socket: &mut Socket, frame: &Value) {
    socket.send(Message::text(frame.to_string())).unwrap();
}

#[test]
fn the_page_and_the_chat_come_over_tls_and_links_say_so() {
    let certificate = Certificate::new();
    let server = certificate.serve();
    assert!(server.login_link().starts_with("https://127.0.0.1:"), "{}", server.login_link());
    assert!(server.process().output().text().contains(&format!("https://{}/#token=", server.address())));
    let page = certificate.get(server.address(), "/").unwrap();
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("</html>"), "{page}");
    assert!(
        !page.to_lowercase().contains("strict-transport-security"),
        "whether there is only HTTPS is not ours to say"
    );

    // A client of everyday use.
    let root = ureq::tls::Certificate::from_der(&certificate.der).to_owned();
    let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&[root])).build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).proxy(None).build().into();
    assert_eq!(agent.get(format!("https://{}/", server.address())).call().unwrap().status(), 200);

    let mut ada = chat(&certificate, &server, "ada");
    say(&mut ada, &json!({"type": "create_session", "title": "Under TLS"}));
    expect(&mut ada, "session_joined");
    // More than a record holds, and more than the buffers of the socket.
    for number in 0..20 {
        say(&mut ada, &json!({"type": "chat_message", "message": format!("{number} {}", "ü".repeat(10_000))}));
        let message = expect(&mut ada, "message");
        assert!(message["content"].as_str().unwrap().starts_with(&format!("{number} ü")), "{number}");
    }
    ada.close(None).unwrap();
    let closed = loop {
        match ada.read() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(closed, tungstenite::Error::ConnectionClosed), "{closed}");
}

#[test]
fn a_renewed_certificate_is_shown_and_open_connections_stay() {
    let mut certificate = Certificate::new();
    let server = certificate.serve();
    let mut ada = chat(&certificate, &server, "ada");
    certificate.renew();
    certificate.wait_until_shown(&server);
    say(&mut ada, &json!({"type": "create_session", "title": "Still here"}));
    expect(&mut ada, "session_joined");

    // A key that is none: what was there stays, and the log says so.
    let good = std::fs::read(certificate.key()).unwrap();
    std::fs::write(certificate.key(), "-----BEGIN NOTHING-----").unwrap();
    let key = certificate.key().display().to_string();
    let said = |what: &'static str| {
        let key = key.clone();
        move |line: &str| (line.contains(what) && (what.contains("read again") || line.contains(&key))).then_some(())
    };
    assert!(server.process().output().wait_for(WITHIN, said("stay as they were")).is_some());
    certificate.get(server.address(), "/health").unwrap();
    // Nobody has to wait for the next look.
    std::fs::write(certificate.key(), good).unwrap();
    let status = Command::new("kill").args(["-HUP", &server.process().id().to_string()]).status();
    assert!(status.unwrap().success());
    certificate.get(server.address(), "/health").unwrap();
    say(&mut ada, &json!({"type": "create_session", "title": "And still"}));
    expect(&mut ada, "session_joined");
}

#[test]
fn plain_http_on_the_port_is_told_what_is_spoken_there() {
    let certificate = Certificate::new();
    let server = certificate.serve();
    let mut plain = TcpStream::connect(server.address()).unwrap();
    plain.set_read_timeout(Some(WITHIN)).unwrap();
    write!(plain, "GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address()).unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https_required"), "{answer}");
    // Who says nothing, or begins and does not go on, hinders nobody and is given up.
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(&[22, 3, 1]).unwrap();
    certificate.get(server.address(), "/").unwrap();
    slow.set_read_timeout(Some(WITHIN)).unwrap();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn no_more_handshakes_at_once_than_the_limit() {
    let certificate = Certificate::new();
    let server = certificate.serve();
    let begun = || {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(&[22, 3, 1]).unwrap();
        stream
    };
    let waiting: Vec<TcpStream> = (0..causerie::limits::TLS_HANDSHAKES).map(|_| begun()).collect();
    let mut further = begun();
    let before = std::time::Instant::now();
    further.set_read_timeout(Some(WITHIN)).unwrap();
    let _ = further.read(&mut [0]);
    assert!(before.elapsed() < causerie::limits::TLS_HANDSHAKE_TIME / 2, "it is dropped at once");
    drop(waiting);
    // When they are gone there is room again.
    certificate.wait_until_shown(&server);
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let (one, other) = (Certificate::new(), Certificate::new());
    let refused = |cert: &Path, key: Option<&Path>, words: &[&str]| {
        let data = TempDir::new();
        let mut command = Command::new(binary::causerie());
        command.args(["serve", "--listen=0", "--offline", "--tls-cert"]).arg(cert).arg("--data-dir").arg(data.path());
        if let Some(key) = key {
            command.arg("--tls-key").arg(key);
        }
        let output = command.env("CAUSERIE_CONFIG", "/dev/null").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in words {
            assert!(said.contains(word), "no {word} in {said}");
        }
    };
    refused(&one.cert(), None, &["--tls-cert and --tls-key"]);
    refused(Path::new("/nowhere/c.pem"), Some(&one.key()), &["/nowhere/c.pem"]);
    refused(&one.cert(), Some(&one.cert()), &["holds no private key"]);
    refused(&one.key(), Some(&one.key()), &["holds no certificate"]);
    refused(&one.cert(), Some(&other.key()), &["cannot be used together"]);
    let large = one.directory.path().join("large.pem");
    std::fs::write(&large, vec![b'#'; usize::try_from(causerie::limits::TLS_FILE_BYTES).unwrap() + 1]).unwrap();
    refused(&large, Some(&one.key()), &["larger than"]);
}

#[test]
fn new_keys_of_an_identity_provider_are_taken_without_a_restart() {
    let directory = TempDir::new();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let mut command = Command::new(binary::causerie());
    command
        .args(["serve", "--listen=127.0.0.1:0", "--offline", "--model=/nowhere.gguf", "--jwt-secret-file"])
        .arg(&secret);
    command.arg("--data-dir").arg(directory.path().join("data")).env("CAUSERIE_CONFIG", "/dev/null");
    let process = Process::start(&mut command);
    let address: SocketAddr = process
        .output()
        .wait_for(WITHIN, |line| line.split_once("http://")?.1.split_once("/#login=")?.0.parse().ok())
        .expect("a link");
    let token = || {
        let mut command = Command::new(binary::causerie());
        command.args(["token", "--user=ada", "--jwt-secret-file"]).arg(&secret).env("CAUSERIE_CONFIG", "/dev/null");
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let greeted = |token: &str| {
        let (mut socket, _) =
            tungstenite::client(format!("ws://{address}/ws/chat?token={token}"), TcpStream::connect(address).unwrap())
                .unwrap();
        matches!(socket.read(), Ok(Message::Text(text)) if text.contains("connection_established"))
    };
    let old = token();
    assert!(greeted(&old));
    std::fs::write(&secret, "another secret of thirty-two bytes").unwrap();
    let new = token();
    let deadline = std::time::Instant::now() + WITHIN;
    while !greeted(&new) {
        assert!(std::time::Instant::now() < deadline, "the new key is not used");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!greeted(&old), "and the old one no more");
}

//! What a start says and to whom, what it leaves on the disk, and signals that stop nothing.

use super::*;

#[cfg(unix)]
#[test]
fn systemd_is_told_when_it_listens_and_when_it_stops() {
    let directory = TempDir::new();
    let path = directory.path().join("notify");
    let notified = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    notified.set_read_timeout(Some(WITHIN)).unwrap();
    let next = || {
        let mut state = [0; 64];
        let length = notified.recv(&mut state).expect("it tells");
        String::from_utf8(state[..length].to_vec()).unwrap()
    };
    let env = vec![("NOTIFY_SOCKET".to_owned(), path.display().to_string())];
    let model = Some("/nowhere/at-all.gguf".into());
    let server = Server::start_with(Options { model, env, ..Options::default() });
    assert_eq!(next(), "READY=1");
    assert!(std::net::TcpStream::connect(server.address()).is_ok());
    signal(server.process().id(), "TERM");
    assert_eq!(next(), "STOPPING=1");
}

#[cfg(unix)]
#[test]
fn systemd_gets_signs_of_life_where_it_wants_them() {
    let directory = TempDir::new();
    let path = directory.path().join("notify");
    let notified = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let start = |others: &[(&str, &str)]| {
        let variables = [&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")], others].concat();
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Server::start_with(Options { model: Some("/nowhere/at-all.gguf".into()), env, ..Options::default() })
    };
    let next = || {
        let mut state = [0; 64];
        notified.recv(&mut state).ok().map(|length| String::from_utf8(state[..length].to_vec()).unwrap())
    };
    notified.set_read_timeout(Some(WITHIN)).unwrap();
    let server = start(&[]);
    assert_eq!(next().as_deref(), Some("READY=1"));
    for _ in 0..3 {
        assert_eq!(next().as_deref(), Some("WATCHDOG=1"));
    }
    // Standing still is what it is for.
    signal(server.process().id(), "STOP");
    notified.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let left = std::iter::from_fn(next).count();
    assert!(left <= 5, "{left} signs of life of who does not live");
    signal(server.process().id(), "CONT");
    notified.set_read_timeout(Some(WITHIN)).unwrap();
    assert_eq!(next().as_deref(), Some("WATCHDOG=1"));
    drop(server);
    // What is meant for another process is not answered.
    while notified.set_nonblocking(true).is_ok() && next().is_some() {}
    notified.set_nonblocking(false).unwrap();
    let _server = start(&[("WATCHDOG_PID", "1")]);
    assert_eq!(next().as_deref(), Some("READY=1"));
    notified.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(next(), None);
}

#[cfg(unix)]
#[test]
fn a_hangup_without_a_terminal_stops_nothing_and_says_what_was_read_again() {
    let server = without_model();
    let mut ada = server.connect("ada");
    signal(server.process().id(), "HUP");
    let said = |line: &str| line.contains("there is nothing to read again").then_some(());
    assert!(server.process().output().wait_for(WITHIN, said).is_some());
    ada.create_session("Still here");
}

#[test]
fn a_signal_prints_another_link() {
    let server = without_model();
    let first = server.login_link().to_owned();
    signal(server.process().id(), "USR1");
    let second = server.process().output().wait_for(WITHIN, |line| {
        let link = line.split_whitespace().find(|word| word.contains("/#login="))?;
        (link != first).then(|| link.to_owned())
    });
    assert!(second.is_some(), "no other link than {first}");
}

#[test]
fn a_busy_port_is_said_with_what_to_do() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let data = TempDir::new();
    let output = Command::new(binary::causerie())
        .args(["serve", "--offline", "--listen", &address, "--data-dir"])
        .arg(data.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("{address} is in use")) && said.contains("--listen"), "{said}");
    assert!(output.stdout.is_empty());
}

#[cfg(unix)]
#[test]
fn the_data_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let above = TempDir::new();
    let data = above.path().join("new/data");
    check_modes(&data);
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);

    // A directory that is there already is left as it is; what is written into it is private all the same.
    let open = above.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    check_modes(&open);
}

#[cfg(unix)]
fn check_modes(data: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let process = Process::start(
        Command::new(binary::causerie())
            .args(["--listen", "0", "--offline", "--model", "/nowhere/at-all.gguf", "--data-dir"])
            .arg(data),
    );
    // Without a subcommand it serves as well.
    process.output().wait_for(WITHIN, |line| line.contains("/#login=").then_some(())).expect("a link");
    for file in ["jwt.secret", "causerie.db", "causerie.db-wal"] {
        let mode = std::fs::metadata(data.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file} has mode {mode:o}");
    }
}

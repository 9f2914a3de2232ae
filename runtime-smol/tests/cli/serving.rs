//! The server, started as people start it.

use super::*;

/// A server on a port of its own choice, with no model: started, and ended when this goes.
struct Server {
    child: std::process::Child,
    /// What it prints first.
    welcome: String,
}

impl Server {
    fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut welcome = String::new();
        while !welcome.contains("#login=") {
            let line = lines.next().expect("it prints a link").unwrap();
            welcome.push_str(&line);
            welcome.push('\n');
        }
        // It may go on printing.
        thread::spawn(move || lines.for_each(drop));
        Server { child, welcome }
    }

    /// Where it listens, from the link.
    fn address(&self) -> &str {
        let rest = self.welcome.split("http://").last().unwrap();
        rest.split('/').next().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_command_it_serves_and_what_is_in_its_way_is_named() {
    let scratch = Scratch::new();
    let data_dir = scratch.join("data");
    let flags = |listen: &str, data_dir: &Path| {
        ["--listen", listen, "--offline", "--data-dir", data_dir.to_str().unwrap()].map(str::to_owned)
    };
    let cache = scratch.join("cache");
    let mut command = causerie(&[]);
    let server = Server::start(command.args(flags("127.0.0.1:0", &data_dir)).env("CAUSERIE_CACHE_DIR", &cache));
    let address = server.address().to_owned();

    let serve = |listen: &str, data_dir: &Path| {
        let mut command = causerie(&["serve"]);
        command.args(flags(listen, data_dir)).env("CAUSERIE_CACHE_DIR", &cache);
        command
    };
    fail(&mut serve(&address, &scratch.join("other")), 1, &[&address, "in use", "--listen"]);
    fail(&mut serve("127.0.0.1:0", &data_dir), 1, &["in use by another causerie server", "--data-dir"]);
    // A token can be had while it runs.
    let flags = ["token", "--user", "ada", "--data-dir", data_dir.to_str().unwrap()];
    assert_eq!(succeed(&mut causerie(&flags), "").trim_end().split('.').count(), 3);

    drop(server);
    Server::start(&mut serve("127.0.0.1:0", &data_dir));
    fs::write(data_dir.join("jwt.secret"), "short").unwrap();
    fail(&mut serve("127.0.0.1:0", &data_dir), 1, &["jwt.secret", "at least 32"]);
    fail(&mut serve("nowhere", &data_dir), 2, &["--listen", "HOST:PORT"]);
    fail(causerie(&["serve", "--model", "a.gguf", "--hf", "a/b"]).env("CAUSERIE_CACHE_DIR", &cache), 2, &["--hf"]);
}

#[test]
fn the_log_goes_to_stderr_and_is_as_chatty_as_asked() {
    let answer = |filter: &str| {
        let mut command = with_model(&["run", "--max-tokens", "1", "Hi"]);
        let output = run(command.env("CAUSERIE_LOG", filter), "");
        assert!(output.status.success());
        text(&output.stderr).to_owned()
    };
    assert!(!answer("").contains("tokens of prompt"));
    assert!(answer("info").contains("tokens of prompt"));
    assert!(!answer("info").contains('\x1b'), "colours without a terminal");
    fail(with_model(&["run", "Hi"]).env("CAUSERIE_LOG", "a=b=c"), 2, &["CAUSERIE_LOG: log = \"a=b=c\"", "as in debug"]);
}

//! Tokens of people, and tokens of text.

use super::*;

#[test]
fn a_token_is_alone_on_stdout_and_good() {
    let scratch = Scratch::new();
    let data_dir = scratch.join("data");
    let flags = ["token", "--data-dir", data_dir.to_str().unwrap(), "--user", "grace"];
    let first = causerie(&flags).output().unwrap();
    let told = String::from_utf8_lossy(&first.stderr);
    assert!(told.contains("jwt.secret is new"), "whoever mistypes the directory is told: {told}");
    let token = String::from_utf8(first.stdout).unwrap();
    let auth = Auth::open(&AuthOptions { data_dir: data_dir.clone(), ..AuthOptions::default() }).unwrap();
    let claims = auth.verify(token.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!((claims.username.as_str(), claims.role), ("grace", Role::User));
    assert_eq!(claims.exp - claims.iat.unwrap(), 30 * 60);

    let admin = succeed(causerie(&flags).args(["--role", "admin", "--ttl", "7d"]), "");
    let claims = auth.verify(admin.trim_end()).unwrap();
    assert_eq!((claims.role, claims.exp - claims.iat.unwrap()), (Role::Admin, 7 * 86_400));

    // The same by the environment.
    let by_variable = succeed(causerie(&["token", "--user", "grace"]).env("CAUSERIE_DATA_DIR", &data_dir), "");
    assert_eq!(auth.verify(by_variable.trim_end()).unwrap().sub, claims.sub);
}

#[test]
fn a_token_that_cannot_be_made_says_why() {
    let scratch = Scratch::new();
    let data_dir = scratch.join("");
    let flags = ["token", "--data-dir", data_dir.to_str().unwrap(), "--user"];
    fail(causerie(&flags).arg(""), 2, &["user name", "empty"]);
    fail(causerie(&flags).args(["ada", "--ttl", "99999d"]), 2, &["3653 days"]);
    fail(causerie(&flags).args(["ada", "--jwt-secret-file", "/no/such/file"]), 1, &["/no/such/file"]);
    fs::write(secret_path(&data_dir), "short").unwrap();
    fail(causerie(&flags).arg("ada"), 1, &["jwt.secret has 5 bytes", "at least 32"]);
    fail(
        causerie(&["token", "--user", "ada"]).env_remove("HOME").env_remove("XDG_DATA_HOME"),
        1,
        &["no data directory", "--data-dir"],
    );
}

#[test]
fn tokenize_gives_a_json_array_of_the_reference_ids() {
    let model = model::default_model();
    let flags = ["tokenize", "--model", model.to_str().unwrap()];
    assert_eq!(succeed(&mut causerie(&flags), ""), "[]\n");
    let ids = succeed(&mut causerie(&flags), "<|im_start|>user\nHello world<|im_end|>\n");
    assert_eq!(ids, "[1,4093,198,19556,905,2,198]\n");
    assert_eq!(
        succeed(causerie(&["tokenize"]).env("CAUSERIE_MODEL", &model), "two  spaces   three"),
        "[11355,216,5600,256,1296]\n"
    );
}

#[test]
fn input_that_is_no_text_or_no_model_is_refused() {
    let scratch = Scratch::new();
    let model = model::default_model();
    let mut command = causerie(&["tokenize", "--model", model.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"ab\xff").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("offset 2"), "{}", text(&output.stderr));

    fail(&mut causerie(&["tokenize", "--model", "/no/such.gguf"]), 1, &["/no/such.gguf"]);
    fs::write(scratch.join("x.gguf"), "GGUF").unwrap();
    fail(&mut causerie(&["tokenize", "--model", scratch.join("x.gguf").to_str().unwrap()]), 1, &["x.gguf"]);
}

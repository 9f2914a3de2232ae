//! The tables of `docs/http.md` and the sources say the same: no route, code or limit stands in one of them alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tungstenite::http::StatusCode;

use crate::document::{errors, limits, routes, workspace};

/// The sources of all that speaks HTTP, without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    fn collect(path: &Path, found: &mut Vec<(PathBuf, String)>) {
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                collect(&entry.unwrap().path(), found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            // Routes that a module's own table names count as those that stand in its code.
            let named = text.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
            let named = named.map(|path| format!("\"{path}\""));
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).chain(named);
            found.push((path.to_owned(), code.collect::<Vec<_>>().join("\n")));
        }
    }
    let mut found = Vec::new();
    for path in ["runtime-smol/src/http.rs", "runtime-smol/src/http"] {
        collect(&workspace().join(path), &mut found);
    }
    assert!(found.len() > 3, "{found:?}");
    found
}

/// What looks like a path in a string of its own, as routes are written.
fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '/' | '_' | '-');
    text.len() > 1 && text.starts_with('/') && !text.starts_with("//") && text.chars().all(plain)
}

#[test]
fn every_route_is_documented() {
    // What is counted has names of its own.
    for (file, text) in sources().into_iter().filter(|(file, _)| !file.ends_with("metrics.rs")) {
        for path in text.split('"').skip(1).step_by(2).filter(|text| is_path(text)) {
            // One that ends with a slash is the beginning of several, and one that is matched behind it is the rest of one.
            let known = routes().iter().any(|route| {
                let documented = route.path.as_str();
                documented == path
                    || (path.ends_with('/') && documented.starts_with(path))
                    || documented.ends_with(path)
            });
            assert!(known, "docs/http.md has no route {path} of {}", file.display());
        }
    }
}

#[test]
fn every_error_is_documented_and_no_other() {
    let named = |name: &str| {
        let all = (100..600).filter_map(|code| StatusCode::from_u16(code).ok());
        let constant = |status: &StatusCode| {
            status.canonical_reason().map(|reason| reason.to_uppercase().replace([' ', '-'], "_"))
        };
        let found = all.into_iter().find(|status| constant(status).as_deref() == Some(name));
        found.unwrap_or_else(|| panic!("no status is called {name}")).as_u16()
    };
    let (mut made, sources) = (BTreeSet::new(), sources());
    for (_, text) in &sources {
        // As arguments, `StatusCode::NOT_FOUND, "not_found"`, in whatever is made of them.
        for pair in text.split("StatusCode::").skip(1) {
            let Some((status, rest)) = pair.split_once(',') else { continue };
            let code = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            if let Some(code) = code.filter(|_| status.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
                made.insert((named(status), code.to_owned()));
            }
        }
    }
    let documented: BTreeSet<_> = errors().iter().cloned().collect();
    assert!(made.len() > 20, "{made:?}");
    assert_eq!(made.difference(&documented).collect::<Vec<_>>(), Vec::<&(u16, String)>::new(), "not in docs/http.md");
    for (status, code) in documented {
        let code = format!("\"{code}\"");
        assert!(sources.iter().any(|(_, text)| text.contains(&code)), "{status} {code} stands in docs/http.md alone");
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let source = std::fs::read_to_string(workspace().join("runtime-smol/src/limits.rs")).unwrap();
    for (name, documented) in limits() {
        let definition = source.split(&format!("pub const {name}:")).nth(1);
        let definition = definition.unwrap_or_else(|| panic!("limits.rs has no {name}"));
        let value = definition.split(['=', ';']).nth(1).expect("a constant has a value");
        let value = value.trim().trim_start_matches("Duration::from_secs(").trim_end_matches(')').replace('_', "");
        let number = |text: &str| text.trim().parse::<u64>().expect("a number");
        let value = match value.split_once("<<") {
            Some((one, bits)) => number(one) << number(bits),
            None => value.split('*').map(number).product(),
        };
        assert_eq!(value, documented, "{name}");
    }
}

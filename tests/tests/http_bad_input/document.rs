//! The tables of `docs/http.md`: what the other tests go by.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// One route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// As documented, with `{name}` for what is variable.
    pub(crate) path: String,
    /// As in the header `Allow`.
    pub(crate) methods: String,
    pub(crate) who: Who,
    /// Bytes of its body, if it takes one.
    pub(crate) body: Option<usize>,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Anybody,
    Token,
    Admin,
}

impl Route {
    /// The path with something in the place of what is variable.
    pub(crate) fn example(&self) -> String {
        self.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
    }

    pub(crate) fn method(&self) -> &str {
        self.methods.split(", ").next().expect("a route has a method")
    }

    /// The methods that take a body.
    pub(crate) fn takes_body(&self) -> impl Iterator<Item = &str> {
        self.methods.split(", ").filter(|method| ["POST", "PUT", "PATCH"].contains(method))
    }
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

/// The cells of the table whose first column has this name, code marks taken off.
fn table(first_column: &str) -> Vec<Vec<String>> {
    let path: PathBuf = workspace().join("docs/http.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let head = format!("| {first_column} |");
    let lines = text.lines().skip_while(|line| !line.starts_with(&head)).skip(2);
    let lines = lines.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    };
    let rows: Vec<_> = lines.map(cells).collect();
    assert!(!rows.is_empty(), "docs/http.md has no table of {first_column}");
    rows
}

/// Every route.
pub(crate) fn routes() -> &'static [Route] {
    static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
        let route = |row: Vec<String>| {
            let who = match row[2].as_str() {
                "anybody" => Who::Anybody,
                "token" => Who::Token,
                "admin" => Who::Admin,
                other => panic!("{}: nobody is called {other:?}", row[0]),
            };
            let body = Some(&row[3]).filter(|body| !body.is_empty());
            let body =
                body.map(|body| body.replace(',', "").parse().unwrap_or_else(|_| panic!("{}: {body:?}", row[0])));
            Route { path: row[0].clone(), methods: row[1].clone(), who, body }
        };
        table("path").into_iter().map(route).collect()
    });
    &ROUTES
}

/// Every error: its status and code.
pub(crate) fn errors() -> &'static [(u16, String)] {
    static ERRORS: LazyLock<Vec<(u16, String)>> = LazyLock::new(|| {
        let error = |row: Vec<String>| (row[0].parse().expect("a status is a number"), row[1].clone());
        table("status").into_iter().map(error).collect()
    });
    &ERRORS
}

/// Every limit: its name, and its number, of seconds or bytes or whatever it counts.
pub(crate) fn limits() -> Vec<(String, u64)> {
    let number = |text: &str| text.trim_end_matches(" s").replace(',', "").parse().expect("a limit is a number");
    table("name").into_iter().map(|row| (row[0].clone(), number(&row[1]))).collect()
}

/// The number of a limit.
pub(crate) fn limit(name: &str) -> usize {
    let found = limits().into_iter().find(|(limit, _)| limit == name);
    usize::try_from(found.unwrap_or_else(|| panic!("docs/http.md has no limit {name}")).1).expect("a small number")
}

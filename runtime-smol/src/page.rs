//! The web page, in the binary: its files, what they are, and how a browser may treat them.

mod document;

use std::sync::LazyLock;

use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::coding::{self, Coding};
use crate::http::Body;

/// What the page may load and do: its own files and its own server, nothing inline but what [`document`] puts there, nothing
/// of others, and nobody may put it into a frame. Forms are JavaScript's here: a form that were really sent would put a token into an address. And
/// no text can become HTML or code, whoever asks for it (Trusted Types): not a library's `innerHTML` either.
///
/// `script` and `style` are the sources of inline elements, each after a blank.
fn policy(script: &str, style: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'self'{script}; style-src 'self'{style}; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    HeaderValue::from_str(&policy).expect("a policy is of printable ASCII characters")
}

/// The policy of every file, none of which has anything inline.
static FILES: LazyLock<HeaderValue> = LazyLock::new(|| policy("", ""));

/// The policy of the page's document.
static DOCUMENT: LazyLock<HeaderValue> = LazyLock::new(|| {
    let [script, style] = [document::EARLY, document::STYLE].map(|inline| format!(" {}", inline.source()));
    policy(&script, &style)
});

/// Browsers keep the files and ask each time whether they are still the same: a new binary is a new page at once.
const CACHE_CONTROL: &str = "no-cache";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// One file of the page.
#[derive(Debug)]
pub(crate) struct Asset {
    path: &'static str,
    content_type: &'static str,
    policy: &'static LazyLock<HeaderValue>,
    #[cfg(test)]
    body: fn() -> Bytes,
    /// As it is, and in gzip where that is shorter: each made when it is first asked for.
    plain: LazyLock<Representation>,
    gzip: LazyLock<Option<Representation>>,
}

/// A file as it goes over the line (RFC 9110, 3.2).
#[derive(Debug)]
struct Representation {
    body: Bytes,
    /// A strong validator (RFC 9110, 8.8.3), of this coding alone.
    etag: String,
}

macro_rules! asset {
    ($path:expr, $content_type:expr, $policy:expr, $body:expr) => {
        Asset {
            path: $path,
            content_type: $content_type,
            policy: $policy,
            #[cfg(test)]
            body: || $body,
            plain: LazyLock::new(|| Representation::new($body)),
            gzip: LazyLock::new(|| coding::gzip(&$body).map(|coded| Representation::new(coded.into()))),
        }
    };
}

macro_rules! assets {
    ($($path:literal, $file:literal, $content_type:expr;)*) => {
        [$({
            const BODY: &[u8] = include_bytes!(concat!("page/", $file));
            asset!($path, $content_type, &FILES, Bytes::from_static(BODY))
        }),*]
    };
}

static PAGE: Asset = asset!("/", HTML, &DOCUMENT, Bytes::from(document::whole()));

static ASSETS: [Asset; 53] = assets! {
    "/style.css", "style.css", CSS;
    "/drawer.css", "drawer.css", CSS;
    "/favicon.svg", "favicon.svg", SVG;
    "/app.js", "app.js", JAVASCRIPT;
    "/auth.js", "auth.js", JAVASCRIPT;
    "/branches.js", "branches.js", JAVASCRIPT;
    "/chat.js", "chat.js", JAVASCRIPT;
    "/code.js", "code.js", JAVASCRIPT;
    "/colours.js", "colours.js", JAVASCRIPT;
    "/connection.js", "connection.js", JAVASCRIPT;
    "/dialogs.js", "dialogs.js", JAVASCRIPT;
    "/drawer.js", "drawer.js", JAVASCRIPT;
    "/early.js", "early.js", JAVASCRIPT;
    "/export.js", "export.js", JAVASCRIPT;
    "/gauges.js", "gauges.js", JAVASCRIPT;
    "/invitation.js", "invitation.js", JAVASCRIPT;
    "/item.js", "item.js", JAVASCRIPT;
    "/log.js", "log.js", JAVASCRIPT;
    "/markdown.js", "markdown.js", JAVASCRIPT;
    "/model.js", "model.js", JAVASCRIPT;
    "/outbox.js", "outbox.js", JAVASCRIPT;
    "/receiving.js", "receiving.js", JAVASCRIPT;
    "/render.js", "render.js", JAVASCRIPT;
    "/requests.js", "requests.js", JAVASCRIPT;
    "/search.js", "search.js", JAVASCRIPT;
    "/sessions.js", "sessions.js", JAVASCRIPT;
    "/settings.js", "settings.js", JAVASCRIPT;
    "/shortcuts.js", "shortcuts.js", JAVASCRIPT;
    "/sidebar.js", "sidebar.js", JAVASCRIPT;
    "/speaking.js", "speaking.js", JAVASCRIPT;
    "/state.js", "state.js", JAVASCRIPT;
    "/title.js", "title.js", JAVASCRIPT;
    "/tuning.js", "tuning.js", JAVASCRIPT;
    "/view.js", "view.js", JAVASCRIPT;
    // highlight.js 11.12.0, BSD-3-Clause, from @highlightjs/cdn-assets: see code.js.
    "/vendor/highlight/core.min.js", "vendor/highlight/core.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/bash.min.js", "vendor/highlight/languages/bash.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/c.min.js", "vendor/highlight/languages/c.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/cpp.min.js", "vendor/highlight/languages/cpp.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/css.min.js", "vendor/highlight/languages/css.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/diff.min.js", "vendor/highlight/languages/diff.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/go.min.js", "vendor/highlight/languages/go.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/ini.min.js", "vendor/highlight/languages/ini.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/java.min.js", "vendor/highlight/languages/java.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/javascript.min.js", "vendor/highlight/languages/javascript.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/json.min.js", "vendor/highlight/languages/json.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/markdown.min.js", "vendor/highlight/languages/markdown.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/python.min.js", "vendor/highlight/languages/python.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/rust.min.js", "vendor/highlight/languages/rust.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/sql.min.js", "vendor/highlight/languages/sql.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/typescript.min.js", "vendor/highlight/languages/typescript.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/xml.min.js", "vendor/highlight/languages/xml.min.js", JAVASCRIPT;
    "/vendor/highlight/languages/yaml.min.js", "vendor/highlight/languages/yaml.min.js", JAVASCRIPT;
    "/vendor/highlight/LICENSE", "vendor/highlight/LICENSE", TEXT;
};

/// The administrators' page, which brings little of its own.
static ADMIN: [Asset; 6] = assets! {
    "/admin", "admin/index.html", HTML;
    "/admin/style.css", "admin/style.css", CSS;
    "/admin/app.js", "admin/app.js", JAVASCRIPT;
    "/admin/api.js", "admin/api.js", JAVASCRIPT;
    "/admin/plot.js", "admin/plot.js", JAVASCRIPT;
    "/admin/table.js", "admin/table.js", JAVASCRIPT;
};

fn all() -> impl Iterator<Item = &'static Asset> {
    std::iter::once(&PAGE).chain(&ASSETS).chain(&ADMIN)
}

/// The file at a path of the address, if there is one.
pub(crate) fn asset(path: &str) -> Option<&'static Asset> {
    all().find(|asset| asset.path == path)
}

impl Asset {
    /// The file in the coding that the browser prefers, or 304 when it has it already.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response<Body> {
        let coded = match Coding::preferred(request) {
            Coding::Gzip => self.gzip.as_ref(),
            Coding::Identity => None,
        };
        let Representation { body, etag } = coded.unwrap_or(&self.plain);
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim().trim_start_matches("W/") == etag);
        let mut response = Response::new(Body::from(if known { Bytes::new() } else { body.clone() }));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
        headers.insert(header::CONTENT_SECURITY_POLICY, (*self.policy).clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if coded.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Ok(etag) = HeaderValue::from_str(etag) {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

impl Representation {
    /// The validator is half of the SHA-256 of the bytes that are sent.
    fn new(body: Bytes) -> Representation {
        let digest = Sha256::digest(&body);
        let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Representation { body, etag: format!("\"{digits}\"") }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use http_body_util::BodyExt as _;

    use super::*;

    /// Status, headers and body of an answer to these headers.
    fn get(asset: &Asset, request: &[(header::HeaderName, &str)]) -> (StatusCode, HeaderMap, Bytes) {
        let request =
            request.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        let (head, body) = asset.answer(&request).into_parts();
        let body = smol::block_on(body.collect()).unwrap_or_else(|_| unreachable!("bytes in memory")).to_bytes();
        (head.status, head.headers, body)
    }

    #[test]
    fn each_file_is_the_same_in_gzip_and_each_coding_has_a_tag_of_its_own() {
        let (mut plain_bytes, mut coded_bytes) = (0, 0);
        for asset in all() {
            let (status, plain, body) = get(asset, &[]);
            assert_eq!(
                (status, &body[..], plain.get(header::CONTENT_ENCODING)),
                (StatusCode::OK, &(asset.body)()[..], None)
            );
            assert_eq!(plain[header::VARY], "Accept-Encoding");

            let accepts = (header::ACCEPT_ENCODING, "gzip, deflate, br");
            let (status, coded, sent) = get(asset, std::slice::from_ref(&accepts));
            assert_eq!((status, &coded[header::VARY]), (StatusCode::OK, &plain[header::VARY]));
            assert_eq!(coded[header::CONTENT_TYPE], plain[header::CONTENT_TYPE]);
            assert_eq!(coded[header::CONTENT_ENCODING], "gzip", "{}", asset.path);
            assert!(sent.len() < body.len(), "{}", asset.path);
            let mut decoded = Vec::new();
            GzDecoder::new(&sent[..]).read_to_end(&mut decoded).unwrap();
            assert!(decoded == (asset.body)(), "{}", asset.path);
            assert_ne!(coded[header::ETAG], plain[header::ETAG], "{}", asset.path);

            // A coding that the browser has is known again, and is no other one.
            let tag = format!("W/\"x\", {}", coded[header::ETAG].to_str().unwrap());
            let (status, headers, sent) = get(asset, &[accepts, (header::IF_NONE_MATCH, &tag)]);
            assert_eq!((status, sent.len()), (StatusCode::NOT_MODIFIED, 0));
            assert_eq!((&headers[header::ETAG], &headers[header::VARY]), (&coded[header::ETAG], &coded[header::VARY]));
            assert_eq!(get(asset, &[(header::IF_NONE_MATCH, &tag)]).0, StatusCode::OK);
            (plain_bytes, coded_bytes) =
                (plain_bytes + body.len(), coded_bytes + asset.gzip.as_ref().unwrap().body.len());
        }
        assert!(coded_bytes * 2 < plain_bytes, "{coded_bytes} of {plain_bytes}");
    }

    #[test]
    fn every_file_that_the_page_names_is_served() {
        for asset in std::iter::once(&PAGE).chain(&ASSETS) {
            let body = (asset.body)();
            let text = std::str::from_utf8(&body).unwrap();
            let quoted = text.split(['"', '\'']).map(|word| word.trim_start_matches("./"));
            for name in quoted.filter(|word| !word.contains(['/', ' ', '<', '#'])) {
                if [".js", ".css", ".svg", ".html"].iter().any(|end| name.len() > end.len() && name.ends_with(end)) {
                    assert!(super::asset(&format!("/{name}")).is_some(), "{} names {name}", asset.path);
                }
            }
        }
    }

    #[test]
    fn every_language_with_colours_is_served() {
        let colours = (asset("/colours.js").unwrap().body)();
        let colours = std::str::from_utf8(&colours).unwrap();
        let list = colours.split_once("LANGUAGES = {").unwrap().1.split_once("};").unwrap().0;
        let languages: Vec<&str> =
            list.split("],").filter_map(|entry| Some(entry.split_once(": [")?.0.trim())).collect();
        assert!(languages.len() > 10, "{languages:?}");
        for language in languages {
            assert!(asset(&format!("/vendor/highlight/languages/{language}.min.js")).is_some(), "{language}");
        }
    }

    #[test]
    fn nothing_in_the_page_is_inline() {
        let admin = (asset("/admin").unwrap().body)();
        for html in [document::WRITTEN, std::str::from_utf8(&admin).unwrap()] {
            for inline in ["<style", " style=", "<script>", " onclick=", " onload=", "javascript:"] {
                assert!(!html.contains(inline), "the policy would refuse {inline}");
            }
        }
    }

    #[test]
    fn the_policy_of_the_document_names_what_is_inline_and_allows_nothing_more() {
        let (_, headers, body) = get(&PAGE, &[]);
        let html = std::str::from_utf8(&body).unwrap();
        let hash = |element: &str| {
            let (_, rest) = html.split_once(&format!("<{element}>")).unwrap();
            let (text, rest) = rest.split_once(&format!("</{element}>")).unwrap();
            assert!(!rest.contains(&format!("<{element}>")), "there is another inline {element}");
            format!("'sha256-{}'", crate::base64::encode(&Sha256::digest(text)))
        };
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let directive = |name: &str| policy.split("; ").find(|part| part.starts_with(name)).unwrap();
        assert_eq!(directive("script-src"), format!("script-src 'self' {}", hash("script")));
        assert_eq!(directive("style-src"), format!("style-src 'self' {}", hash("style")));
        for asset in ASSETS.iter().chain(&ADMIN) {
            let (_, headers, _) = get(asset, &[]);
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains("script-src 'self'; style-src 'self';"), "{}: {policy}", asset.path);
        }
        assert!(policy.contains("trusted-types 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

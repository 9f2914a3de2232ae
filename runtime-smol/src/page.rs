//! The web page, in the binary: its files, what they are, and how a browser may treat them.

use std::sync::LazyLock;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use sha2::{Digest, Sha256};

/// What the page may load and do: its own files and its own server, nothing inline, nothing of others, and nobody may
/// put it into a frame. Forms are JavaScript's here: a form that were really sent would put a token into an address.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Browsers keep the files and ask each time whether they are still the same: a new binary is a new page at once.
const CACHE_CONTROL: &str = "no-cache";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file of the page.
#[derive(Debug)]
pub(crate) struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
    etag: LazyLock<String>,
}

macro_rules! assets {
    ($($path:literal, $file:literal, $content_type:expr;)*) => {
        [$({
            const BODY: &[u8] = include_bytes!(concat!("page/", $file));
            Asset { path: $path, content_type: $content_type, body: BODY, etag: LazyLock::new(|| etag(BODY)) }
        }),*]
    };
}

static ASSETS: [Asset; 15] = assets! {
    "/", "index.html", HTML;
    "/style.css", "style.css", CSS;
    "/favicon.svg", "favicon.svg", SVG;
    "/app.js", "app.js", JAVASCRIPT;
    "/auth.js", "auth.js", JAVASCRIPT;
    "/branches.js", "branches.js", JAVASCRIPT;
    "/chat.js", "chat.js", JAVASCRIPT;
    "/connection.js", "connection.js", JAVASCRIPT;
    "/item.js", "item.js", JAVASCRIPT;
    "/log.js", "log.js", JAVASCRIPT;
    "/markdown.js", "markdown.js", JAVASCRIPT;
    "/outbox.js", "outbox.js", JAVASCRIPT;
    "/requests.js", "requests.js", JAVASCRIPT;
    "/state.js", "state.js", JAVASCRIPT;
    "/view.js", "view.js", JAVASCRIPT;
};

/// The file at a path of the address, if there is one.
pub(crate) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    /// The file, or 304 when the browser has it already.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response<Full<Bytes>> {
        let etag = self.etag.as_str();
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim().trim_start_matches("W/") == etag);
        let body = if known { Bytes::new() } else { Bytes::from_static(self.body) };
        let mut response = Response::new(Full::new(body));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
        if let Ok(etag) = HeaderValue::from_str(etag) {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

/// A strong validator (RFC 9110, 8.8.3): half of the content's SHA-256.
fn etag(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_served() {
        for asset in &ASSETS {
            let text = std::str::from_utf8(asset.body).unwrap();
            let quoted = text.split(['"', '\'']).map(|word| word.trim_start_matches("./"));
            for name in quoted.filter(|word| !word.contains(['/', ' ', '<', '#'])) {
                if [".js", ".css", ".svg", ".html"].iter().any(|end| name.len() > end.len() && name.ends_with(end)) {
                    assert!(super::asset(&format!("/{name}")).is_some(), "{} names {name}", asset.path);
                }
            }
        }
    }

    #[test]
    fn nothing_in_the_page_is_inline() {
        let html = std::str::from_utf8(asset("/").unwrap().body).unwrap();
        for inline in ["<style", " style=", "<script>", " onclick=", " onload=", "javascript:"] {
            assert!(!html.contains(inline), "the policy would refuse {inline}");
        }
    }
}

//! Which pages may read the answers: CORS (<https://fetch.spec.whatwg.org/#http-cors-protocol>), by `--allow-origin`.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};

use super::super::{Body, Response};
use hyper::body::Bytes;

/// What pages may do here.
const METHODS: &str = "GET, HEAD, POST, DELETE, OPTIONS";

/// What they may read besides the usual.
const EXPOSED: &str = "retry-after, x-request-id, x-causerie-dropped-messages";

/// Seconds for which a browser need not ask again.
const MAX_AGE: &str = "600";

/// Tells a page's browser that it may ask, which `origin` has been checked for.
pub(super) fn preflight<B>(request: &Request<B>) -> Response {
    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    // Official clients send headers of their own (`x-stainless-…`), which do no harm.
    if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

/// Lets the page of `origin`, if it is one, read an answer.
pub(super) fn allow(origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

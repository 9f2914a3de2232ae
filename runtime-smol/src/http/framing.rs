//! What is checked of every request before its route looks at it (RFC 9112): which host it is for, and that its body comes as
//! it is. How long a body is hyper has settled by then: lengths that contradict each other are refused there, and a length
//! beside `Transfer-Encoding` counts for nothing and is the connection's last.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Version};

use super::Refusal;

/// Refuses a request that names no host or several, or whose body is coded for its transfer in a way that we do not speak.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let (host, more) = (hosts.next(), hosts.next());
    // RFC 9112, section 3.2: a server must refuse both, and what is in the target counts more than the header.
    if more.is_some() {
        return Err(invalid_host("it names several in its header `Host`"));
    }
    if host.is_none() && request.version() == Version::HTTP_11 {
        return Err(invalid_host("it has no header `Host`"));
    }
    if let (Some(target), Some(host)) = (request.uri().authority(), host)
        && !target.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
    {
        return Err(invalid_host("its target names another one than its header `Host`"));
    }
    match coding(headers, header::TRANSFER_ENCODING) {
        Some(coding) if !coding.eq_ignore_ascii_case(b"chunked") => {
            let what =
                format!("the transfer coding {:?} is not spoken here, only chunked", coding.escape_ascii().to_string());
            // Where its body ends is not known to all who may have passed it on: nothing behind it is read.
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "unsupported_encoding", what)
                .with(header::CONNECTION, "close"))
        }
        _ => Ok(()),
    }
}

/// Refuses a body that is compressed, or says that it is something else than JSON. One that does not say what it is, is read.
pub(super) fn check_json<B>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    if let Some(coding) = coding(headers, header::CONTENT_ENCODING).filter(|coding| *coding != b"identity") {
        let what = format!("a body in the coding {:?} is not read: send it plain", coding.escape_ascii().to_string());
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", what));
    }
    match headers.get(header::CONTENT_TYPE) {
        Some(kind) if !is_json(kind) => {
            let kind = kind.as_bytes().escape_ascii().to_string();
            let what = format!("the body is said to be {kind:?}: send JSON, with Content-Type: application/json");
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", what))
        }
        _ => Ok(()),
    }
}

fn invalid_host(why: &str) -> Refusal {
    let what = format!("the request is not clearly for one host (RFC 9112, section 3.2): {why}");
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_host", what).with(header::CONNECTION, "close")
}

/// The value of a header of codings; of several lines, none of which is spoken together with another, `several`.
fn coding(headers: &HeaderMap, name: header::HeaderName) -> Option<&[u8]> {
    let mut lines = headers.get_all(name).into_iter().map(|value| value.as_bytes().trim_ascii());
    let first = lines.next()?;
    Some(lines.next().map_or(first, |_| b"several"))
}

/// `application/json` and what is derived from it (RFC 6839, section 3.1), with or without parameters.
fn is_json(kind: &HeaderValue) -> bool {
    let Ok(kind) = kind.to_str() else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.strip_prefix("application/").is_some_and(|kind| kind.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(checked: Result<(), Refusal>) -> Option<(u16, &'static str)> {
        checked.err().map(|refusal| (refusal.status.as_u16(), refusal.code))
    }

    fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn a_request_is_for_one_host() {
        let check = |target, headers: &[(&str, &str)]| code(check(&request(target, headers)));
        assert_eq!(check("/", &[("Host", "a:1")]), None);
        assert_eq!(check("http://A:1/x", &[("Host", "a:1")]), None);
        let refused = Some((400, "invalid_host"));
        assert_eq!(check("/", &[]), refused);
        assert_eq!(check("/", &[("Host", "a"), ("Host", "a")]), refused);
        assert_eq!(check("http://evil.example/", &[("Host", "a")]), refused);
        let mut old = request("/", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(code(super::check(&old)), None);
    }

    #[test]
    fn codings_that_are_not_spoken_are_named() {
        let check = |name, value| code(check(&request("/", &[("Host", "a"), (name, value)])));
        assert_eq!(check("Transfer-Encoding", "Chunked"), None);
        assert_eq!(check("Transfer-Encoding", "gzip, chunked"), Some((501, "unsupported_encoding")));
        let json = |name, value| code(check_json(&request("/", &[(name, value)])));
        assert_eq!(json("Content-Encoding", "identity"), None);
        assert_eq!(json("Content-Encoding", "gzip"), Some((415, "unsupported_encoding")));
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/ld+json"] {
            assert_eq!(json("Content-Type", kind), None, "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/ld+json", ""] {
            assert_eq!(json("Content-Type", kind), Some((415, "unsupported_media_type")), "{kind}");
        }
    }
}

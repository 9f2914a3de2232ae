//! `/ws/chat`: from an HTTP request to a WebSocket (RFC 6455, section 4.2).

use std::rc::Rc;

use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::Parts;
use hyper::{Request, StatusCode, Version};
use smol_hyper::rt::FuturesIo;
use tracing::Instrument;
use tungstenite::handshake::derive_accept_key;

use super::{Counted, Refusal, Response, check_origin};
use crate::auth::{self, Handshake};
use crate::socket::{self, Door};
use crate::stream::Stream;

/// Answers 101 and lets the connection go on as a WebSocket; the token is checked, and its fault told there.
pub(super) async fn answer(counted: &Rc<Counted>, mut request: Request<Incoming>) -> Result<Response, Refusal> {
    let site = counted.site.clone();
    check_origin(&site, &request)?;
    if site.health.draining() {
        return Err(Refusal::draining());
    }
    let mut response = switching(&accept(&request)?);
    let headers = request.headers();
    let texts = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let authorization = texts(header::AUTHORIZATION).next();
    let handshake = Handshake::read(request.uri().query(), texts(header::SEC_WEBSOCKET_PROTOCOL), authorization);
    if handshake.offers_protocol {
        // The other subprotocol, which holds the token, is never sent back: answers stand in logs.
        let protocol = HeaderValue::from_static(auth::PROTOCOL);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let identity = match handshake.token {
        Some(token) => {
            let admitted = site.admissions.admit(&token, counted.source()).await;
            admitted.map_err(|rejection| rejection.to_string()).and_then(|visitor| {
                if visitor.may_chat() { Ok(visitor) } else { Err("this API key is for /metrics alone".to_owned()) }
            })
        }
        None => Err("there is no token: give one as ?token=JWT, as Authorization: Bearer JWT, \
                     or as the WebSocket subprotocol bearer.JWT"
            .to_owned()),
    };

    let upgraded = hyper::upgrade::on(&mut request);
    let counted = counted.clone();
    let door =
        Door { executor: site.executor.clone(), arrivals: site.arrivals.clone(), message_bytes: site.message_bytes };
    let executor = door.executor.clone();
    let task = async move {
        let upgraded = match upgraded.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a WebSocket was gone before it began"),
        };
        let Ok(parts) = upgraded.downcast::<FuturesIo<Stream>>() else {
            return tracing::error!("a connection of an unknown kind was upgraded");
        };
        // Nothing of hyper's is to live on here: its buffer alone has 8 KiB.
        let Parts { io, read_buf, .. } = parts;
        let (stream, early) = (io.into_inner(), read_buf.to_vec());
        drop(read_buf);
        socket::open(door, stream, early, identity, counted).await;
    };
    executor.spawn(task.in_current_span()).detach();
    Ok(response)
}

/// 101, without the extensions that may have been offered: none is spoken.
fn switching(accept: &str) -> Response {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(accept).expect("base64 is visible ASCII");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The answer to a request's key, if it asks for a WebSocket as RFC 6455, section 4.2.1, wants it.
fn accept<B: Body>(request: &Request<B>) -> Result<String, Refusal> {
    let headers = request.headers();
    if request.version() != Version::HTTP_11 {
        return Err(upgrade_required("it is not HTTP/1.1"));
    }
    if !lists(headers, header::CONNECTION, "upgrade") {
        return Err(upgrade_required("its header `Connection` does not say `Upgrade`"));
    }
    if !lists(headers, header::UPGRADE, "websocket") {
        return Err(upgrade_required("its header `Upgrade` does not say `websocket`"));
    }
    match single(headers, &header::SEC_WEBSOCKET_VERSION)? {
        Some(version) if version == "13" => {}
        _ => return Err(upgrade_required("its header `Sec-WebSocket-Version` does not say `13`")),
    }
    let Some(key) = single(headers, &header::SEC_WEBSOCKET_KEY)?.filter(|key| is_key(key.as_bytes())) else {
        return Err(invalid("its header `Sec-WebSocket-Key` does not hold 16 bytes in base64"));
    };
    if !request.body().is_end_stream() {
        return Err(invalid("it has a body, and what follows it would be taken for frames"));
    }
    Ok(derive_accept_key(key.as_bytes()))
}

/// Whether a header, which may stand in several lines, lists a token, of any case (RFC 9110, 5.6.1).
fn lists(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// The value of a header that must not come twice.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(invalid(&format!("its header `{name}` comes more than once"))),
        (value, None) => Ok(value),
    }
}

/// 16 bytes in base64 (RFC 4648, section 4): 22 digits and the padding.
fn is_key(text: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(text.split_last_chunk(), Some((digits, b"==")) if digits.len() == 22 && digits.iter().all(is_digit))
}

fn invalid(why: &str) -> Refusal {
    let message = format!("this is no handshake of a WebSocket (RFC 6455, section 4.2.1): {why}");
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_handshake", message)
}

fn upgrade_required(why: &str) -> Refusal {
    let message = format!("this is a WebSocket of version 13 over HTTP/1.1 (RFC 6455), and the request is none: {why}");
    Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
        .with(header::UPGRADE, "websocket")
        .with(header::SEC_WEBSOCKET_VERSION, "13")
}

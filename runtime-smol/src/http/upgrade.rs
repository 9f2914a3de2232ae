//! `/ws/chat`: from an HTTP request to a WebSocket (RFC 6455, section 4.2).

use std::rc::Rc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::server::create_response_with_body;

use super::{Counted, Refusal, Response, check_origin};
use crate::auth::{self, Handshake};
use crate::socket;

/// Answers 101 and lets the connection go on as a WebSocket; the token is checked, and its fault told there.
pub(super) fn answer(counted: &Rc<Counted>, mut request: Request<Incoming>) -> Result<Response, Refusal> {
    let site = counted.0.clone();
    check_origin(&site, &request)?;
    if site.health.draining() {
        let message = "the server is stopping: connect again in a moment";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "server_draining", message));
    }
    let mut response =
        create_response_with_body(&request, || Full::new(Bytes::new())).map_err(|error| not_a_handshake(&error))?;
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
        Some(token) => site.auth.verify(&token).map_err(|error| error.to_string()),
        None => Err("there is no token: give one as ?token=JWT, as Authorization: Bearer JWT, \
                     or as the WebSocket subprotocol bearer.JWT"
            .to_owned()),
    };

    let upgraded = hyper::upgrade::on(&mut request);
    let counted = counted.clone();
    let executor = site.executor.clone();
    let task = async move {
        let upgraded = match upgraded.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a WebSocket was gone before it began"),
        };
        let Ok(parts) = upgraded.downcast::<FuturesIo<TcpStream>>() else {
            return tracing::error!("a connection of an unknown kind was upgraded");
        };
        let (stream, early) = (parts.io.into_inner(), parts.read_buf.to_vec());
        let (arrivals, limit) = (site.arrivals.clone(), site.message_bytes);
        socket::run(&site.executor, arrivals, stream, early, identity, limit).await;
        drop(counted);
    };
    executor.spawn(task).detach();
    Ok(response)
}

fn not_a_handshake(error: &Error) -> Refusal {
    use ProtocolError::{
        MissingConnectionUpgradeHeader, MissingSecWebSocketVersionHeader, MissingUpgradeWebSocketHeader,
        WrongHttpVersion,
    };
    let upgrade_required = matches!(
        error,
        Error::Protocol(
            MissingConnectionUpgradeHeader
                | MissingSecWebSocketVersionHeader
                | MissingUpgradeWebSocketHeader
                | WrongHttpVersion
        )
    );
    let message =
        format!("this is a WebSocket of version 13 over HTTP/1.1 (RFC 6455), and the request is none: {error}");
    if !upgrade_required {
        return Refusal::new(StatusCode::BAD_REQUEST, "invalid_handshake", message);
    }
    Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
        .with(header::UPGRADE, "websocket")
        .with(header::SEC_WEBSOCKET_VERSION, "13")
}

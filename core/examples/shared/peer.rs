//! What is to be known of the program at the other end of a WebSocket, however its socket is read.

use std::time::Duration;

use causerie_core::Violation;
use causerie_core::limits::Limits;
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::WebSocketConfig;

/// How long a peer that was told goodbye may take to leave, and anybody to shake hands.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The token of a handshake: its `token` parameter.
pub(crate) fn token(query: Option<&str>) -> Option<String> {
    query?.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::to_owned)
}

/// No longer messages than the hub takes.
pub(crate) fn config() -> WebSocketConfig {
    let limit = Limits::default().frame_bytes;
    WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit))
}

/// What an error of the WebSocket says against the peer; `None` when it is just gone.
pub(crate) fn violation(error: &Error) -> Option<Violation> {
    match error {
        Error::Capacity(_) => Some(Violation::TooBig { limit: Limits::default().frame_bytes as u32 }),
        Error::Utf8(_) => Some(Violation::NotUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(Violation::Framing),
        _ => None,
    }
}

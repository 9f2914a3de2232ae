//! What systemd is told (sd_notify(3)): a datagram to the socket that it names. Nobody is told when there is none.

/// The variable that names the socket: a path, or a name of Linux's abstract namespace behind an `@`.
#[cfg(unix)]
const SOCKET: &str = "NOTIFY_SOCKET";

/// Tells a state, as in `READY=1`. It is nothing to stop for when that fails.
#[cfg(unix)]
pub(crate) fn tell(state: &str) {
    let Some(name) = std::env::var_os(SOCKET).filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(&name, state.as_bytes()) {
        tracing::warn!(%error, "cannot tell {} that {state}", name.display());
    }
}

/// There is no systemd.
#[cfg(not(unix))]
pub(crate) fn tell(_: &str) {}

#[cfg(unix)]
fn send(name: &std::ffi::OsStr, state: &[u8]) -> std::io::Result<()> {
    use std::os::unix::net::UnixDatagram;

    let socket = UnixDatagram::unbound()?;
    // Whoever reads is not waited for: this is the thread of all sockets.
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::net::SocketAddr;
        if let Some(name) = name.as_bytes().strip_prefix(b"@") {
            return socket.send_to_addr(state, &SocketAddr::from_abstract_name(name)?).map(drop);
        }
    }
    socket.send_to(state, name).map(drop)
}

//! What systemd is told (sd_notify(3)): a datagram to the socket that it names. Nobody is told when there is none.

use std::time::Duration;

/// The variable that says within how many microseconds systemd wants a sign of life, where its unit has `WatchdogSec=`.
const WATCHDOG: &str = "WATCHDOG_USEC";

/// Signs of life closer than this tell nobody more.
const SHORTEST: Duration = Duration::from_millis(100);

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

/// Gives signs of life for as long as the thread that it runs on turns to its tasks: twice as often as systemd wants them,
/// as sd_watchdog_enabled(3) says. At once over where none are wanted.
pub(crate) async fn live() {
    let wanted = std::env::var(WATCHDOG).ok().and_then(|wanted| wanted.parse().ok());
    // Variables are inherited; this one may be meant for the process that has started this one.
    let of_another = std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid != std::process::id().to_string());
    let Some(within) = wanted.filter(|&within| within > 0 && !of_another).map(Duration::from_micros) else { return };
    loop {
        tell("WATCHDOG=1");
        smol::Timer::after((within / 2).max(SHORTEST)).await;
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

//! Connecting as the gateway would: from its source addresses, within its limits.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::config::schema::Config;
use crate::logic::reason::Reason;
use crate::sys;

use super::verdict::Refused;

/// A connection to the first of `addresses` that takes one, and what there is to tell of it. The time
/// runs since `started`.
///
/// # Errors
/// None does within `limits.dial_ms`.
pub(super) fn connect(
    addresses: &[IpAddr],
    port: u16,
    config: &Config,
    started: Stopwatch,
) -> Result<(TcpStream, String), Refused> {
    let limit = Duration::from_millis(config.limits.dial_ms);
    let mut failures = Vec::new();
    let mut reason = Reason::DialFailed;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        let left = limit.saturating_sub(started.elapsed());
        let attempt = Stopwatch::start();
        match connect_one(address, left, &config.source_addresses) {
            Ok(stream) => {
                let told = format!("{address} connected in {}", attempt.shown());
                return Ok((stream, told));
            }
            Err(error) => {
                let is_late = error.kind() == io::ErrorKind::TimedOut;
                reason = match (is_late, sys::is_out_of_ports(&error)) {
                    (true, _) => Reason::DialTimeout,
                    (_, true) => Reason::NoSourcePort,
                    _ => reason,
                };
                failures.push(format!("{address}: {error}"));
            }
        }
    }
    Err(Refused { reason, detail: failures.join("; "), hint: None })
}

fn connect_one(address: SocketAddr, left: Duration, sources: &[IpAddr]) -> io::Result<TcpStream> {
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "no time is left (limits.dial_ms)"));
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(source) = sources.iter().find(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(&SocketAddr::new(*source, 0).into())?;
    }
    socket.connect_timeout(&address.into(), left)?;
    Ok(socket.into())
}

/// Time since it was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Stopwatch {
        Stopwatch(clock())
    }

    pub(super) fn elapsed(self) -> Duration {
        clock().saturating_duration_since(self.0)
    }

    pub(super) fn shown(self) -> String {
        format!("{:.1} ms", self.elapsed().as_secs_f64() * 1_000.0)
    }
}

/// A command measures in its own time; no event loop waits for it.
#[expect(clippy::disallowed_methods, reason = "a command that measures has no kernel to ask")]
fn clock() -> Instant {
    Instant::now()
}

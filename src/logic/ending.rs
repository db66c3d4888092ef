//! How a session ended: who, where and why, as one value for event, counter and test.

use std::fmt;

use super::reason::Reason;

/// Identity of one session, unique across restarts: seconds of the start, worker, running number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The `number`th session of `worker` in a process started at `start_s` (Unix seconds).
    pub fn new(start_s: u64, worker: usize, number: u32) -> SessionId {
        SessionId((start_s & 0xff_ffff) << 40 | (worker as u64 & 0xff) << 32 | u64::from(number))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The end of the client's request head.
    AwaitHead,
    /// The addresses of the target's name.
    AwaitAddress,
    /// A connected remote: the target, or a relay proxy.
    AwaitDial,
    /// The relay proxy's answer.
    AwaitRelayProxy,
    /// The whole of the client's hello.
    AwaitHello,
    /// The server's answer to the hello.
    AwaitServerHello,
    /// The rest of the handshake up to the server's change of cipher; only with a list of client
    /// certificates.
    AwaitHandshake,
    /// Nothing: both flows run freely.
    Tunnel,
    /// The client to read its refusal.
    Refusing,
}

impl Stage {
    /// All stages, in the order a session passes them.
    pub const ALL: [Stage; 9] = [
        Stage::AwaitHead,
        Stage::AwaitAddress,
        Stage::AwaitDial,
        Stage::AwaitRelayProxy,
        Stage::AwaitHello,
        Stage::AwaitServerHello,
        Stage::AwaitHandshake,
        Stage::Tunnel,
        Stage::Refusing,
    ];

    /// The spelling in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::AwaitHead => "await_head",
            Stage::AwaitAddress => "await_address",
            Stage::AwaitDial => "await_dial",
            Stage::AwaitRelayProxy => "await_relay_proxy",
            Stage::AwaitHello => "await_hello",
            Stage::AwaitServerHello => "await_server_hello",
            Stage::AwaitHandshake => "await_handshake",
            Stage::Tunnel => "tunnel",
            Stage::Refusing => "refusing",
        }
    }
}

/// One of the two ends of a session, or the gateway between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who connected to us.
    Client,
    /// The socket we dialled.
    Remote,
    /// The gateway itself: policy, a deadline, a stop.
    Gateway,
}

impl Side {
    /// The spelling in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Remote => "remote",
            Side::Gateway => "gateway",
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Both directions ended, everything was delivered; the side is the one that ended last.
    Finished,
    /// The side closed before the session had anything to relay.
    Closed,
    /// The side reset its connection, or it broke.
    Reset,
    /// No byte in either direction for `limits.idle_ms`.
    Idle,
    /// One direction had ended and the other was silent for `limits.half_closed_ms`.
    HalfClosed,
    /// The session reached `limits.session_ms`.
    TooOld,
    /// The hello, or its answer (all of the handshake where client certificates are looked at), did
    /// not come within `limits.hello_ms`.
    HelloTimeout,
    /// A health check was answered.
    HealthChecked,
    /// The session was refused.
    Refused(Reason),
    /// The target is not allowed any more, and open tunnels to it are cut.
    Cut,
    /// The gateway stops.
    Stopping,
    /// The session's code panicked.
    Panicked,
}

impl Cause {
    /// The spelling in events; the reason of a refusal is spelled by itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Finished => "finished",
            Cause::Closed => "closed",
            Cause::Reset => "reset",
            Cause::Idle => "idle",
            Cause::HalfClosed => "half_closed",
            Cause::TooOld => "too_old",
            Cause::HelloTimeout => "hello_timeout",
            Cause::HealthChecked => "health_checked",
            Cause::Refused(reason) => reason.as_str(),
            Cause::Cut => "cut",
            Cause::Stopping => "stopping",
            Cause::Panicked => "panicked",
        }
    }
}

/// Stage, side and cause of the close. Shown as `tunnel.client.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// What the session waited for when it ended.
    pub stage: Stage,
    /// Who ended it.
    pub side: Side,
    /// Why.
    pub cause: Cause,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.stage.as_str(), self.side.as_str(), self.cause.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_reads_as_stage_side_cause() {
        let ending = Ending { stage: Stage::Tunnel, side: Side::Client, cause: Cause::Reset };
        assert_eq!(ending.to_string(), "tunnel.client.reset");
        let refused = Ending {
            stage: Stage::AwaitHead,
            side: Side::Gateway,
            cause: Cause::Refused(Reason::HostNotAllowed),
        };
        assert_eq!(refused.to_string(), "await_head.gateway.host_not_allowed");
    }

    #[test]
    fn session_ids_of_workers_and_starts_differ() {
        let ids = [SessionId::new(1, 0, 1), SessionId::new(1, 1, 1), SessionId::new(2, 0, 1)];
        assert_eq!(ids[0].to_string(), "0000010000000001");
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
}

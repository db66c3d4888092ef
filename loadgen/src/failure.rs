//! Why an upload or a tunnel did not come about: a kind to count by, and the full reason to show.

use std::io;
use std::time::Duration;

use crate::platform;

/// What a tunnel was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The TCP connection to the gateway.
    Dialing,
    /// The gateway's answer to CONNECT.
    AwaitReply,
    /// The TLS handshake with the target.
    Handshake,
    /// Nothing: the tunnel is open and at rest.
    Open,
    /// The upload's last byte to leave.
    Sending,
    /// The target's answer to the upload.
    AwaitAnswer,
    /// The end of what the other side has to say, after ours.
    Closing,
}

impl Stage {
    /// For people: the stage after the word "while".
    pub fn doing(self) -> &'static str {
        match self {
            Stage::Dialing => "connecting to the gateway",
            Stage::AwaitReply => "waiting for the answer to CONNECT",
            Stage::Handshake => "shaking hands with the target",
            Stage::Open => "the tunnel was at rest",
            Stage::Sending => "sending the upload",
            Stage::AwaitAnswer => "waiting for the answer to the upload",
            Stage::Closing => "waiting for the other side to close",
        }
    }
}

/// What went wrong, to count by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The gateway could not be reached.
    Dial,
    /// The gateway answered CONNECT with this status.
    Refused(u16),
    /// TLS failed, or an alert came.
    Tls,
    /// The connection was reset.
    Reset,
    /// The connection was closed in the middle.
    Closed,
    /// The endpoint found other bytes than were sent.
    HashMismatch,
    /// An answer that is no success, or no HTTP.
    Reply,
    /// A deadline passed.
    Timeout,
    /// This machine has no descriptor or no port left for loadgen: not the gateway's doing.
    Exhausted,
    /// Any other error of the operating system.
    System,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// To count by.
    pub cause: Cause,
    /// Where it happened.
    pub stage: Stage,
    /// The reason in full.
    pub reason: String,
    /// How long the gateway asked to be left alone (RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure with its reason in full.
    pub fn new(cause: Cause, stage: Stage, reason: impl Into<String>) -> Failure {
        Failure { cause, stage, reason: reason.into(), retry_after: None }
    }

    /// What an I/O error means in `stage`.
    pub fn io(stage: Stage, why: &io::Error) -> Failure {
        let cause = match why.kind() {
            io::ErrorKind::AddrNotAvailable => Cause::Exhausted,
            _ if platform::is_out_of_descriptors(why) => Cause::Exhausted,
            _ if stage == Stage::Dialing => Cause::Dial,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Cause::Reset,
            io::ErrorKind::InvalidData => Cause::Tls,
            _ => Cause::System,
        };
        Failure::new(cause, stage, why.to_string())
    }

    /// The same, with what the gateway said about another attempt.
    pub fn with_retry_after(self, retry_after_s: Option<u64>) -> Failure {
        Failure { retry_after: retry_after_s.map(Duration::from_secs), ..self }
    }

    /// Whether another attempt may have a better end. What the gateway or the target has judged stays
    /// judged, and damaged bytes must show, so neither is tried again.
    pub fn may_pass(&self) -> bool {
        match self.cause {
            Cause::Dial | Cause::Reset | Cause::Closed | Cause::Timeout => true,
            Cause::Refused(status) => matches!(status, 408 | 429 | 500..=599),
            Cause::Tls | Cause::HashMismatch | Cause::Reply | Cause::Exhausted | Cause::System => {
                false
            }
        }
    }

    /// The peer's end of file in `stage`.
    pub fn closed(stage: Stage) -> Failure {
        Failure::new(Cause::Closed, stage, "the connection was closed")
    }

    /// The heading it is counted under.
    pub fn kind(&self) -> String {
        match self.cause {
            Cause::Dial => "gateway not reached".to_owned(),
            Cause::Refused(status) => format!("refused with {status}"),
            Cause::Tls => "TLS".to_owned(),
            Cause::Reset => "reset".to_owned(),
            Cause::Closed => "closed".to_owned(),
            Cause::HashMismatch => "hash mismatch".to_owned(),
            Cause::Reply => "bad answer".to_owned(),
            Cause::Timeout => "timeout".to_owned(),
            Cause::Exhausted => "out of ports or descriptors here".to_owned(),
            Cause::System => "system error".to_owned(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}: {}", self.kind(), self.stage.doing(), self.reason)
    }
}

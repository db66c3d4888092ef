//! What each contestant carries, and what `loadgen` measured of it.

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::contestants::{Contestant, Running};
use crate::network::Network;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// 1,000 agents with tunnels that stay open, 200 KB every 6 s each.
    Kept,
    /// The same with a tunnel for each upload.
    PerUpload,
    /// 50 tunnels flat out.
    Bulk,
    /// CONNECT, handshake, close: 500 a second.
    Churn,
    /// 1,000 tunnels that carry nothing.
    Idle,
    /// 9,000 tunnels that carry nothing: what each costs.
    ManyIdle,
    /// 100 agents with kept tunnels.
    FewAgents,
    /// 9,000 agents with kept tunnels.
    ManyAgents,
}

impl Load {
    /// All of them.
    pub const ALL: [Load; 8] = [
        Load::Kept,
        Load::PerUpload,
        Load::Bulk,
        Load::Churn,
        Load::Idle,
        Load::ManyIdle,
        Load::FewAgents,
        Load::ManyAgents,
    ];

    /// As the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Load::Kept => "kept",
            Load::PerUpload => "per-upload",
            Load::Bulk => "bulk",
            Load::Churn => "churn",
            Load::Idle => "idle",
            Load::ManyIdle => "idle-9000",
            Load::FewAgents => "agents-100",
            Load::ManyAgents => "agents-9000",
        }
    }

    /// What its table is called.
    pub fn title(self) -> &'static str {
        match self {
            Load::Kept => "1,000 kept tunnels, 200 KB every 6 s: CPU s per GiB",
            Load::PerUpload => "1,000 agents, a tunnel per upload: CPU us per upload",
            Load::Bulk => "50 tunnels flat out: CPU s per GiB",
            Load::Churn => "CONNECT, hello, close, 500/s: CPU us per session",
            Load::Idle => "1,000 idle tunnels: PSS in MiB",
            Load::ManyIdle => "9,000 idle tunnels: PSS in MiB",
            Load::FewAgents => "100 agents, kept tunnels: CPU us per upload",
            Load::ManyAgents => "9,000 agents, kept tunnels: CPU us per upload",
        }
    }

    /// Whether `contestant` carries it where nobody is named. Apache takes a thread for each tunnel: it held
    /// 1,536 of 9,000, and 8,422 where it was allowed 9,600 threads, as it starts processes too slowly.
    pub fn is_for(self, contestant: Contestant) -> bool {
        match contestant {
            // It has no cost: it is there where a target asks for the latency that a gateway adds.
            Contestant::Direct => matches!(self, Load::Kept | Load::PerUpload),
            Contestant::Apache => !matches!(self, Load::ManyIdle | Load::ManyAgents),
            _ => true,
        }
    }

    /// How many of `rounds` it takes: memory is the same each time.
    pub fn rounds(self, rounds: usize) -> usize {
        match self {
            Load::Idle | Load::ManyIdle => rounds.div_ceil(2),
            _ => rounds,
        }
    }

    fn arguments(self, seconds: u32) -> Vec<String> {
        let line = match self {
            Load::Kept => "agents --tls replay",
            Load::PerUpload => "agents --tls replay --tunnel per-upload",
            Load::Bulk => "bulk --tunnels 50",
            Load::Churn => "churn --rate 500/s",
            Load::Idle => "idle --agents 1000",
            Load::ManyIdle => "idle --agents 9000 --pace 3000",
            Load::FewAgents => "agents --tls replay --agents 100",
            Load::ManyAgents => "agents --tls replay --agents 9000",
        };
        let seconds = match self {
            // Held long enough to be looked at.
            Load::Idle | Load::ManyIdle => seconds.min(2),
            _ => seconds,
        };
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words.extend(["--for".to_owned(), format!("{seconds}s"), "--json".to_owned()]);
        words
    }
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Processor time per unit of the load, or memory: what the load's table is of.
    pub cost: Option<f64>,
    /// Proportional set size, in MiB, at most.
    pub pss_mib: Option<f64>,
    /// The kernel's memory for TCP sockets, in MiB, of the whole host.
    pub tcp_mib: Option<f64>,
    /// Pipes held by the contestant and its children, at most.
    pub pipes: Option<f64>,
    /// What those can hold together, in KiB.
    pub pipe_kib: Option<f64>,
    /// Latency or set-up, the 99th of a hundred, in ms.
    pub p99_ms: Option<f64>,
    /// What did not arrive, or not in time.
    pub lost: u64,
    /// How late the load itself was, the 99th of a hundred, in ms: above a few, nobody is to be judged.
    pub own_lag_ms: f64,
}

/// Puts `load` on `contestant` for `seconds`.
pub fn measure(
    load: Load,
    contestant: Contestant,
    seconds: u32,
    programs: &Path,
    network: &Network,
) -> io::Result<Measured> {
    let endpoint = network.endpoint(programs)?;
    let running = Running::start(contestant, network, endpoint.address(), programs)?;
    let mut command = network.beside_the_agents(&programs.join("loadgen"));
    command.args(load.arguments(seconds));
    command.args(endpoint.arguments());
    command.args(["--gateway", &running.address.to_string()]);
    if let Some(pid) = running.pid() {
        command.args(["--gateway-pid", &pid.to_string()]);
    }
    if !contestant.has_connect() {
        command.arg("--without-connect");
    }
    let output = command.output()?;
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        io::Error::other(format!(
            "loadgen gave no report: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    })?;
    Ok(Measured::read(load, &report))
}

impl Measured {
    /// What a report of `loadgen` says of `load`.
    pub fn read(load: Load, report: &Value) -> Measured {
        let number = |path: &str| report.pointer(path).and_then(Value::as_f64);
        let count = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let mib = |path: &str| number(path).map(|bytes| bytes / f64::from(1 << 20));
        let is_idle = matches!(load, Load::Idle | Load::ManyIdle);
        let usage = if is_idle { "/hold" } else { "/usage" };
        let pss_mib = mib(&format!("{usage}/pss_bytes/peak"));
        let cost = match load {
            Load::Kept | Load::Bulk => number("/cost/per_gib_s"),
            Load::PerUpload | Load::FewAgents | Load::ManyAgents => number("/cost/per_upload_us"),
            Load::Churn => number("/cost/per_session_us"),
            Load::Idle | Load::ManyIdle => pss_mib,
        };
        let lost = match load {
            Load::Kept | Load::PerUpload | Load::FewAgents | Load::ManyAgents => {
                count("/uploads/planned").saturating_sub(count("/uploads/on_time"))
            }
            Load::Churn => count("/sessions/planned").saturating_sub(count("/sessions/done")),
            Load::Bulk | Load::Idle | Load::ManyIdle => count("/tunnels/failed"),
        };
        let p99 = match load {
            Load::Kept | Load::PerUpload | Load::FewAgents | Load::ManyAgents => {
                number("/uploads/latency_us/p99")
            }
            Load::Churn => number("/sessions/setup_us/p99"),
            Load::Bulk | Load::Idle | Load::ManyIdle => number("/tunnels/setup_us/p99"),
        };
        Measured {
            cost,
            pss_mib,
            tcp_mib: mib(&format!("{usage}/tcp_memory_bytes/peak")),
            pipes: number(&format!("{usage}/pipes/peak")),
            pipe_kib: number(&format!("{usage}/pipe_bytes/peak")).map(|bytes| bytes / 1024.0),
            p99_ms: p99.map(|us| us / 1000.0),
            lost,
            own_lag_ms: number("/own_lag_us/p99").unwrap_or(0.0) / 1000.0,
        }
    }
}

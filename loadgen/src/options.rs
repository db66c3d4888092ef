//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::quantity::{duration, rate, size_bytes};

/// The longest body an upload may have: a gibibyte, far more than any agent sends at once.
const LARGEST_BURST_BYTES: u64 = 1 << 30;

/// Puts a gateway under load and tells whether it carried it.
///
/// Without a command it does the whole main job on this machine: it starts an ingestion endpoint and the
/// `sluice` beside it, lets 1,000 agents upload 200 KB every 6 s for 30 s, and ends with a table and a
/// verdict. Exit code: 0 every upload arrived on time, 1 not, 2 usage.
#[derive(Parser, Debug)]
#[command(name = "loadgen", version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Examples:\n  loadgen\n  loadgen --agents 100 --tunnel per-upload --for 60s\n  \
    loadgen --agents 9000 --tls replay\n  loadgen idle --agents 9000\n  loadgen churn --rate 500/s\n  \
    loadgen bulk --tunnels 50\n  loadgen capacity --most 9000\n  \
    loadgen endpoint --listen 127.0.0.1:4433 --ca-out ca.pem"
)]
pub struct Cli {
    /// What to do; `agents` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of `agents`.
    #[command(flatten)]
    pub agents: AgentsOptions,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Agents that upload on a timetable
    ///
    /// Late is an upload that is begun more than a second after its time, or not done before the agent's
    /// next one is due. Latency counts from the intended time. With --retries an upload that fails is
    /// tried again on a new tunnel, until the agent's next one is due; it is the arrival that counts.
    /// Exit code: 0 every upload arrived on time, 1 not, 2 usage.
    #[command(
        after_help = "Examples:\n  loadgen agents --agents 1000 --burst 200KB --every 6s --for 60s\n  \
        loadgen agents --agents 9000 --tls replay --retries 3\n  \
        loadgen agents --gateway 10.0.0.5:8080 --target logs.example.com:443 --ca ca.pem --report out"
    )]
    Agents(AgentsOptions),
    /// Tunnels that stand open and carry nothing
    ///
    /// Opens them, holds them, measures the gateway meanwhile, and then sends a small upload through each
    /// to see that it is alive. Exit code: 0 all opened and all alive, 1 not, 2 usage.
    #[command(after_help = "Examples:\n  loadgen idle --agents 9000\n  \
        loadgen idle --agents 500 --for 30s --tls 1.3 --json")]
    Idle(IdleOptions),
    /// Sessions that open, shake hands and close, at a rate
    ///
    /// Each session is CONNECT, the TLS handshake, and a close from both sides. Its set-up counts from its
    /// intended time; late is one that is begun more than a second after it, because --agents were all
    /// busy or the gateway slow. At the end the gateway has to have let go of every descriptor.
    /// Exit code: 0 every session was opened and closed on time, 1 not, 2 usage.
    #[command(after_help = "Examples:\n  loadgen churn --rate 500/s --for 30s\n  \
        loadgen churn --rate 100/s --agents 50 --tls 1.3 --json")]
    Churn(ChurnOptions),
    /// Tunnels that move bytes as fast as they go
    ///
    /// The bytes are verified by hash in parts of 4 MiB, those that go up by the endpoint and those that
    /// come down by loadgen. Exit code: 0 every byte came as it was sent and no tunnel was lost, 1 not,
    /// 2 usage.
    #[command(after_help = "Examples:\n  loadgen bulk --tunnels 50 --for 20s\n  \
        loadgen bulk --direction both --tls 1.3 --carrier copy")]
    Bulk(BulkOptions),
    /// The most agents that still pass
    ///
    /// Runs the load of `agents` again and again, each time with an endpoint and a gateway of its own,
    /// and halves the distance between the most that passed and the fewest that failed. Exit code: 0 a
    /// number was found, 1 none passes, 2 usage.
    #[command(after_help = "Examples:\n  loadgen capacity --most 9000 --for 10s\n  \
        loadgen capacity --most 2000 --within 50 --tls 1.3 --tunnel per-upload")]
    Capacity(CapacityOptions),
    /// The ingestion endpoint alone, until Ctrl-C
    ///
    /// Speaks TLS 1.2, 1.3 and the replayed flights of `--tls replay`; answers every POST, that of the
    /// Logs Ingestion API with a 204, and verifies those of a loadgen.
    #[command(after_help = "Example:\n  loadgen endpoint --listen 0.0.0.0:4433 --ca-out ca.pem")]
    Endpoint(EndpointOptions),
}

/// Options of `agents`.
#[derive(Args, Debug, Clone)]
pub struct AgentsOptions {
    /// How many agents
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub agents: u32,
    /// How much each upload carries: 200KB is 200,000 bytes, 200KiB is 204,800
    #[arg(long, default_value = "200KB", value_parser = burst_bytes)]
    pub burst: u64,
    /// How often each agent uploads
    #[arg(long, default_value = "6s", value_parser = duration)]
    pub every: Duration,
    /// How long uploads go on being intended
    #[arg(long = "for", default_value = "30s", value_parser = duration)]
    pub span: Duration,
    /// One tunnel for all uploads of an agent, or a new one for each
    #[arg(long, default_value = "kept")]
    pub tunnel: TunnelChoice,
    /// How often an upload that was refused for now, cut or not answered is tried again
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,
    /// TLS version; replay sends well-formed flights without cryptography, for many agents
    #[arg(long, default_value = "1.3")]
    pub tls: TlsChoice,
    /// What is the same for all loads.
    #[command(flatten)]
    pub around: Around,
}

/// Options of `idle`.
#[derive(Args, Debug, Clone)]
pub struct IdleOptions {
    /// How many tunnels
    #[arg(long, default_value_t = 9000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub agents: u32,
    /// How long they are held
    #[arg(long = "for", default_value = "10s", value_parser = duration)]
    pub span: Duration,
    /// How many are opened in a second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pace: u32,
    /// TLS version; replay sends well-formed flights without cryptography
    #[arg(long, default_value = "replay")]
    pub tls: TlsChoice,
    /// What is the same for all loads.
    #[command(flatten)]
    pub around: Around,
}

/// Options of `churn`.
#[derive(Args, Debug, Clone)]
pub struct ChurnOptions {
    /// How many sessions are begun in a second: 500/s, 90/m
    #[arg(long, default_value = "500/s", value_parser = rate)]
    pub rate: f64,
    /// How long sessions go on being begun
    #[arg(long = "for", default_value = "30s", value_parser = duration)]
    pub span: Duration,
    /// How many sessions may be open at once
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub agents: u32,
    /// TLS version; replay sends well-formed flights without cryptography
    #[arg(long, default_value = "replay")]
    pub tls: TlsChoice,
    /// What is the same for all loads.
    #[command(flatten)]
    pub around: Around,
}

/// Options of `bulk`.
#[derive(Args, Debug, Clone)]
pub struct BulkOptions {
    /// How many tunnels
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tunnels: u32,
    /// How long new parts are begun
    #[arg(long = "for", default_value = "20s", value_parser = duration)]
    pub span: Duration,
    /// Which way the bytes go
    #[arg(long, default_value = "up")]
    pub direction: DirectionChoice,
    /// TLS version; replay sends well-formed flights without cryptography
    #[arg(long, default_value = "replay")]
    pub tls: TlsChoice,
    /// What is the same for all loads.
    #[command(flatten)]
    pub around: Around,
}

/// Options of `capacity`.
#[derive(Args, Debug, Clone)]
pub struct CapacityOptions {
    /// The most agents that are tried; fewer where descriptors are short
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub most: u32,
    /// How near the answer has to be; a twentieth of --most where nothing is said
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub within: Option<u32>,
    /// How long uploads go on being intended in each step
    #[arg(long = "for", default_value = "10s", value_parser = duration)]
    pub span: Duration,
    /// How much each upload carries
    #[arg(long, default_value = "200KB", value_parser = burst_bytes)]
    pub burst: u64,
    /// How often each agent uploads
    #[arg(long, default_value = "6s", value_parser = duration)]
    pub every: Duration,
    /// One tunnel for all uploads of an agent, or a new one for each
    #[arg(long, default_value = "kept")]
    pub tunnel: TunnelChoice,
    /// TLS version; replay sends well-formed flights without cryptography
    #[arg(long, default_value = "replay")]
    pub tls: TlsChoice,
    /// What is the same for all loads.
    #[command(flatten)]
    pub around: Around,
}

/// Options that all loads have: what the load goes through and to, and how it is reported.
#[derive(Args, Debug, Clone)]
pub struct Around {
    /// A gateway that runs already, as HOST:PORT; without it the `sluice` beside this program is started
    #[arg(long, value_name = "ADDR")]
    pub gateway: Option<String>,
    /// The process of that gateway, to measure its processor time and memory
    #[arg(long, value_name = "PID", requires = "gateway")]
    pub gateway_pid: Option<u32>,
    /// That gateway forwards TCP to the target as it is, as HAProxy does: tunnels begin with TLS
    #[arg(long, requires = "gateway")]
    pub without_connect: bool,
    /// What the gateway that is started here moves bytes with
    #[arg(long, default_value = "auto", conflicts_with = "gateway")]
    pub carrier: CarrierChoice,
    /// An endpoint that runs already; without it one is started here, reached as localhost
    #[arg(long, value_name = "HOST:PORT")]
    pub target: Option<String>,
    /// The CA that the target's certificate is verified with (PEM); needed with --target and real TLS
    #[arg(long, value_name = "FILE", requires = "target")]
    pub ca: Option<PathBuf>,
    /// The port of the endpoint that is started here; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0, conflicts_with = "target")]
    pub endpoint_port: u16,
    /// Threads for the agents, and as many for the endpoint
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// A folder for report.json and the histograms (.hgrm)
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// The report as JSON on standard output instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Options of `endpoint`.
#[derive(Args, Debug, Clone)]
pub struct EndpointOptions {
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
    /// Certificate chain (PEM); without it a CA and a certificate for localhost are made
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Where to write the CA that was made, for --ca and other clients
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    pub ca_out: Option<PathBuf>,
    /// The counts at the end as JSON instead of a sentence
    #[arg(long)]
    pub json: bool,
    /// How many threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
}

/// How agents use tunnels.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelChoice {
    /// One tunnel for all uploads
    Kept,
    /// A tunnel for each upload, as the Linux agent does
    PerUpload,
}

/// Which TLS the agents speak.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsChoice {
    /// TLS 1.2
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3
    #[value(name = "1.3")]
    Tls13,
    /// The flights of TLS 1.3 without its cryptography
    Replay,
}

/// Which way the bytes of `bulk` go.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectionChoice {
    /// From the client
    Up,
    /// To the client
    Down,
    /// Both at once in every tunnel
    Both,
}

/// How the gateway moves bytes.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarrierChoice {
    /// As it sees fit
    Auto,
    /// In the kernel
    Splice,
    /// Through buffers
    Copy,
}

/// The name a choice has on the command line.
pub fn name(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn burst_bytes(text: &str) -> Result<u64, String> {
    match size_bytes(text)? {
        bytes @ 0..=LARGEST_BURST_BYTES => Ok(bytes),
        bytes => Err(format!("{bytes} bytes is more than the {LARGEST_BURST_BYTES} allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn agents_is_what_happens_without_a_command() {
        let cli =
            Cli::try_parse_from(["loadgen", "--agents", "5", "--burst", "1KiB"]).expect("read");
        assert!(cli.command.is_none());
        assert_eq!((cli.agents.agents, cli.agents.burst), (5, 1024));
        assert_eq!(cli.agents.span, Duration::from_secs(30));
        let cli = Cli::try_parse_from(["loadgen", "idle", "--pace", "10"]).expect("read");
        assert!(matches!(cli.command, Some(Command::Idle(idle)) if idle.agents == 9000));
        let cli = Cli::try_parse_from(["loadgen", "churn"]).expect("read");
        assert!(matches!(cli.command, Some(Command::Churn(churn)) if churn.rate == 500.0));
        let cli = Cli::try_parse_from(["loadgen", "bulk", "--direction", "both"]).expect("read");
        assert!(matches!(cli.command, Some(Command::Bulk(bulk)) if bulk.tunnels == 50));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            &["loadgen", "--agents", "0"][..],
            &["loadgen", "--burst", "2GiB"],
            &["loadgen", "--tls", "1.1"],
            &["loadgen", "--gateway-pid", "1"],
            &["loadgen", "--gateway", "h:1", "--carrier", "copy"],
            &["loadgen", "--ca", "x"],
            &["loadgen", "--without-connect"],
            &["loadgen", "endpoint", "--cert", "x"],
            &["loadgen", "churn", "--rate", "0/s"],
            &["loadgen", "bulk", "--direction", "sideways"],
            &["loadgen", "capacity", "--most", "0"],
            &["loadgen", "nonsense"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}

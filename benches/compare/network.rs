//! What the load and the contestants run on: loopback, or three network namespaces whose links carry
//! 1 Gbit/s.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

const START_MS: u64 = 10_000;
const LOOK_AGAIN_MS: u64 = 20;
const RATE: &str = "1gbit";
const AGENTS: Ipv4Addr = Ipv4Addr::new(10, 231, 0, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 231, 0, 2);
const GATEWAY_AHEAD: Ipv4Addr = Ipv4Addr::new(10, 231, 1, 2);
const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 231, 1, 1);
const GATEWAY_PORT: u16 = 18_080;
const ENDPOINT_PORT: u16 = 14_433;

/// What packets go through.
pub enum Network {
    /// This machine's loopback.
    Loopback,
    /// Agents, gateway and endpoint in namespaces of their own.
    Links(Links),
}

/// Three namespaces in a row, which go with this value.
pub struct Links {
    agents: String,
    gateway: String,
    endpoint: String,
}

/// The ingestion endpoint.
pub enum Endpoint {
    /// `loadgen` has one of its own.
    OfLoadgen(SocketAddr),
    /// One that runs beyond the gateway.
    Apart(Child, SocketAddr),
}

impl Network {
    /// Three namespaces with links of 1 Gbit/s each way.
    ///
    /// # Errors
    /// Where the system or the user's rights do not allow them: what was tried, and the answer to it.
    pub fn links() -> io::Result<Network> {
        let name = |side: &str| format!("compare-{}-{side}", std::process::id());
        let links =
            Links { agents: name("agents"), gateway: name("gateway"), endpoint: name("endpoint") };
        let Links { agents, gateway, endpoint } = &links;
        for space in [agents, gateway, endpoint] {
            run(&format!("ip netns add {space}"))?;
            run(&format!("ip -n {space} link set lo up"))?;
        }
        link(agents, AGENTS, gateway, GATEWAY, "back")?;
        link(gateway, GATEWAY_AHEAD, endpoint, ENDPOINT, "ahead")?;
        // The way of those who go direct.
        run(&format!("ip netns exec {gateway} sysctl -q net.ipv4.ip_forward=1"))?;
        run(&format!("ip -n {agents} route add default via {GATEWAY}"))?;
        run(&format!("ip -n {endpoint} route add default via {GATEWAY_AHEAD}"))?;
        Ok(Network::Links(links))
    }

    /// As the command line and the tables call it.
    pub fn name(&self) -> &'static str {
        match self {
            Network::Loopback => "loopback",
            Network::Links(_) => "veth, HTB at 1 Gbit/s each way",
        }
    }

    /// Whether programs run under the user that they are started for; namespaces are entered as root.
    pub fn has_ordinary_users(&self) -> bool {
        matches!(self, Network::Loopback)
    }

    /// Where a gateway is to listen.
    ///
    /// # Errors
    /// Where there is no free port.
    pub fn gateway_address(&self) -> io::Result<SocketAddr> {
        match self {
            Network::Loopback => free_address(),
            Network::Links(_) => Ok(SocketAddr::from((GATEWAY, GATEWAY_PORT))),
        }
    }

    /// The endpoint as clients name it to a gateway.
    pub fn target(&self, endpoint: SocketAddr) -> String {
        match self {
            Network::Loopback => format!("localhost:{}", endpoint.port()),
            Network::Links(_) => endpoint.to_string(),
        }
    }

    /// Runs `program` where gateways run.
    pub fn beside_the_gateway(&self, program: &Path) -> Command {
        match self {
            Network::Loopback => Command::new(program),
            Network::Links(links) => within(&links.gateway, program),
        }
    }

    /// Runs `program` where agents run.
    pub fn beside_the_agents(&self, program: &Path) -> Command {
        match self {
            Network::Loopback => Command::new(program),
            Network::Links(links) => within(&links.agents, program),
        }
    }

    /// The endpoint of one run.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn endpoint(&self, programs: &Path) -> io::Result<Endpoint> {
        let Network::Links(links) = self else {
            return Ok(Endpoint::OfLoadgen(free_address()?));
        };
        let address = SocketAddr::from((ENDPOINT, ENDPOINT_PORT));
        let mut command = within(&links.endpoint, &programs.join("loadgen"));
        command.args(["endpoint", "--listen", &address.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let endpoint = Endpoint::Apart(command.spawn()?, address);
        let Endpoint::Apart(child, _) = &endpoint else { return Ok(endpoint) };
        let deadline = Instant::now() + Duration::from_millis(START_MS);
        while !accepts(child.id(), ENDPOINT_PORT) {
            if Instant::now() > deadline {
                return Err(io::Error::other("the endpoint does not accept"));
            }
            std::thread::sleep(Duration::from_millis(LOOK_AGAIN_MS));
        }
        Ok(endpoint)
    }
}

impl Endpoint {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match self {
            Endpoint::OfLoadgen(address) | Endpoint::Apart(_, address) => *address,
        }
    }

    /// How `loadgen` is told of it.
    pub fn arguments(&self) -> [String; 2] {
        match self {
            Endpoint::OfLoadgen(address) => {
                ["--endpoint-port".to_owned(), address.port().to_string()]
            }
            Endpoint::Apart(_, address) => ["--target".to_owned(), address.to_string()],
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Endpoint::Apart(child, _) = self {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for space in [&self.agents, &self.gateway, &self.endpoint] {
            // One that was never made is nobody's loss.
            let _ = run(&format!("ip netns delete {space}"));
        }
    }
}

/// Whether somebody listens on `port` in the network of process `pid`. Nothing is sent: some contestants
/// would take a connection for a client.
pub fn accepts(pid: u32, port: u16) -> bool {
    const LISTENING: &str = "0A";
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    sockets.lines().skip(1).any(|socket| {
        let mut fields = socket.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&format!(":{port:04X}")) && fields.nth(1) == Some(LISTENING)
    })
}

/// A port that stays bound until this program ends: nobody who asks for any port is given it meanwhile, and
/// who names it may listen there, as all contestants reuse addresses.
fn free_address() -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    std::mem::forget(socket);
    Ok(address)
}

/// Joins two namespaces by a link whose ends both send at [`RATE`].
fn link(
    one: &str,
    address: Ipv4Addr,
    other: &str,
    peer_address: Ipv4Addr,
    name: &str,
) -> io::Result<()> {
    run(&format!("ip -n {one} link add {name} type veth peer name {name} netns {other}"))?;
    for (space, address) in [(one, address), (other, peer_address)] {
        run(&format!("ip -n {space} address add {address}/24 dev {name}"))?;
        run(&format!("ip -n {space} link set {name} up"))?;
        run(&format!("tc -n {space} qdisc add dev {name} root handle 1: htb default 1"))?;
        run(&format!("tc -n {space} class add dev {name} parent 1: classid 1:1 htb rate {RATE}"))?;
    }
    Ok(())
}

fn within(space: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", space]).arg(program);
    command
}

fn run(line: &str) -> io::Result<()> {
    let mut words = line.split(' ');
    let told = Command::new(words.next().unwrap_or_default()).args(words).output()?;
    if told.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{line}: {}", String::from_utf8_lossy(&told.stderr).trim())))
}

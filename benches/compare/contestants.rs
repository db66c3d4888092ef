//! Who is compared: the bare splice loop, the gateway in its kinds, and proxies of the field as Debian
//! packages them. Each runs as one process tree, on a port of its own, for as long as its value lives.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::network::{Network, accepts};

/// How long one may take until it accepts.
const START_MS: u64 = 10_000;
const LOOK_AGAIN_MS: u64 = 20;
/// Debian's `nobody`.
const ORDINARY_USER: u32 = 65_534;

/// One kind of relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// Nothing between: what the load itself costs in time.
    Direct,
    /// The bare splice loop.
    BareLoop,
    /// The gateway, splicing.
    Sluice,
    /// The gateway, copying.
    SluiceCopy,
    /// The gateway as an ordinary user, whose pipes are counted.
    SluiceOrdinary,
    /// HAProxy in TCP mode with splice; it has no CONNECT.
    HaProxy,
    /// squid.
    Squid,
    /// tinyproxy.
    Tinyproxy,
    /// Apache's mod_proxy_connect.
    Apache,
}

impl Contestant {
    /// All, the reference first.
    pub const ALL: [Contestant; 9] = [
        Contestant::BareLoop,
        Contestant::Sluice,
        Contestant::SluiceCopy,
        Contestant::SluiceOrdinary,
        Contestant::HaProxy,
        Contestant::Squid,
        Contestant::Tinyproxy,
        Contestant::Apache,
        Contestant::Direct,
    ];

    /// As tables and the command line call it.
    pub fn name(self) -> &'static str {
        match self {
            Contestant::Direct => "direct",
            Contestant::BareLoop => "bare-loop",
            Contestant::Sluice => "sluice",
            Contestant::SluiceCopy => "sluice-copy",
            Contestant::SluiceOrdinary => "sluice-ordinary-user",
            Contestant::HaProxy => "haproxy",
            Contestant::Squid => "squid",
            Contestant::Tinyproxy => "tinyproxy",
            Contestant::Apache => "apache",
        }
    }

    /// Whether clients ask it for the target; the others forward TCP as it is.
    pub fn has_connect(self) -> bool {
        !matches!(self, Contestant::Direct | Contestant::HaProxy)
    }

    /// The program, where Debian puts it.
    fn program(self) -> Option<&'static str> {
        match self {
            Contestant::HaProxy => Some("/usr/sbin/haproxy"),
            Contestant::Squid => Some("/usr/sbin/squid"),
            Contestant::Tinyproxy => Some("/usr/bin/tinyproxy"),
            Contestant::Apache => Some("/usr/sbin/apache2"),
            _ => None,
        }
    }

    /// How many of `rounds` it takes. Those that no target is about are far enough away for two to tell.
    pub fn rounds(self, rounds: usize) -> usize {
        match self {
            Contestant::BareLoop
            | Contestant::Sluice
            | Contestant::HaProxy
            | Contestant::Squid
            | Contestant::Direct => rounds,
            _ => rounds.min(2),
        }
    }

    /// Whether it can run on this machine and `network`.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn can_run(self, network: &Network) -> Result<(), &'static str> {
        if self.program().is_some_and(|program| !Path::new(program).exists()) {
            return Err("not installed");
        }
        if self == Contestant::SluiceOrdinary && !network.has_ordinary_users() {
            return Err("namespaces are entered as root");
        }
        Ok(())
    }
}

/// One that runs.
pub struct Running {
    /// Where clients connect to.
    pub address: SocketAddr,
    child: Option<Child>,
    folder: TempDir,
}

impl Running {
    /// Starts `contestant` so that it reaches `endpoint`, and waits until it accepts.
    pub fn start(
        contestant: Contestant,
        network: &Network,
        endpoint: SocketAddr,
        programs: &Path,
    ) -> io::Result<Running> {
        let folder = tempfile::Builder::new().prefix("compare-").tempdir()?;
        if contestant == Contestant::Direct {
            return Ok(Running { address: endpoint, child: None, folder });
        }
        // Those that give up root must be able to look into it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let address = network.gateway_address()?;
        let target = network.target(endpoint);
        let place = Place { folder: folder.path(), address, endpoint, target };
        let mut sluice = programs.join("sluice");
        if contestant == Contestant::SluiceOrdinary {
            let own = folder.path().join("sluice");
            fs::copy(sluice, &own)?;
            sluice = own;
        }
        let (program, arguments) = match contestant {
            Contestant::BareLoop => place.bare_loop()?,
            Contestant::SluiceCopy => place.sluice(sluice, "copy")?,
            Contestant::HaProxy => place.haproxy()?,
            Contestant::Squid => place.squid()?,
            Contestant::Tinyproxy => place.tinyproxy()?,
            Contestant::Apache => place.apache()?,
            _ => place.sluice(sluice, "splice")?,
        };
        let mut command = network.beside_the_gateway(&program);
        command.args(arguments);
        if contestant == Contestant::SluiceOrdinary {
            command.uid(ORDINARY_USER).gid(ORDINARY_USER);
        }
        let mut running = Running { address, child: None, folder };
        running.start_child(command, contestant)?;
        Ok(running)
    }

    /// The process at the head of its tree.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn start_child(&mut self, mut command: Command, contestant: Contestant) -> io::Result<()> {
        let folder = self.folder.path();
        let log = fs::File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.child.insert(command.spawn()?);
        let deadline = Instant::now() + Duration::from_millis(START_MS);
        loop {
            if accepts(child.id(), self.address.port()) {
                return Ok(());
            }
            let ended = child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                let name = contestant.name();
                return Err(io::Error::other(format!("{name} does not accept: {log}")));
            }
            std::thread::sleep(Duration::from_millis(LOOK_AGAIN_MS));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // Those with worker processes take them along on SIGTERM.
        let pid = rustix::process::Pid::from_child(child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_millis(START_MS);
        while !matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            if Instant::now() > deadline {
                let _ = child.kill().and_then(|()| child.wait());
                return;
            }
            std::thread::sleep(Duration::from_millis(LOOK_AGAIN_MS));
        }
    }
}

/// Where a contestant has its files and listens, and where it leads.
#[derive(Debug)]
struct Place<'a> {
    folder: &'a Path,
    address: SocketAddr,
    endpoint: SocketAddr,
    /// The endpoint as clients name it.
    target: String,
}

/// A program and its arguments.
type Line = (PathBuf, Vec<OsString>);

fn line(program: &Path, words: &[&str], last: &Path) -> Line {
    let words = words.iter().map(OsString::from).chain([last.into()]);
    (program.into(), words.collect())
}

impl Place<'_> {
    fn write(&self, text: &str) -> io::Result<PathBuf> {
        let file = self.folder.join("configuration");
        fs::write(&file, text)?;
        Ok(file)
    }

    fn bare_loop(&self) -> io::Result<Line> {
        let words = ["bare-loop", &self.address.to_string()];
        let program = std::env::current_exe()?;
        Ok((program, words.map(OsString::from).to_vec()))
    }

    fn sluice(&self, program: PathBuf, carrier: &str) -> io::Result<Line> {
        let Place { address, endpoint, target, folder } = self;
        let events = folder.join("events.log");
        let file = self.write(&format!(
            "listen = [\"{address}\"]\ncarrier = \"{carrier}\"\n\
             [allow]\nhosts = [\"{target}\"]\naddresses = [\"{}/32\"]\n\
             [events]\nto = \"file:{}\"\n[admin]\nlisten = \"\"\n",
            endpoint.ip(),
            events.display()
        ))?;
        Ok(line(&program, &["run", "--config"], &file))
    }

    fn haproxy(&self) -> io::Result<Line> {
        let Place { address, endpoint, .. } = self;
        let file = self.write(&format!(
            "global\n  maxconn 9000\n  maxpipes 500\n\
             defaults\n  mode tcp\n  option splice-request\n  option splice-response\n  maxconn 9000\n\
             \x20 timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n\
             listen relay\n  bind {address}\n  server endpoint {endpoint}\n"
        ))?;
        Ok(line(Path::new("/usr/sbin/haproxy"), &["-db", "-f"], &file))
    }

    fn squid(&self) -> io::Result<Line> {
        let Place { address, folder, .. } = self;
        let folder = folder.display();
        let file = self.write(&format!(
            "http_port {address}\nhttp_access allow all\ncache deny all\naccess_log none\n\
             cache_log {folder}/cache.log\npid_filename none\ncoredump_dir {folder}\npinger_enable off\n\
             max_filedescriptors 65536\nshutdown_lifetime 0 seconds\nvisible_hostname compare\n"
        ))?;
        Ok(line(Path::new("/usr/sbin/squid"), &["-N", "-f"], &file))
    }

    fn tinyproxy(&self) -> io::Result<Line> {
        let Place { address, endpoint, .. } = self;
        let file = self.write(&format!(
            "Port {}\nListen {}\nTimeout 600\nMaxClients 20000\nConnectPort {}\nLogLevel Critical\n",
            address.port(),
            address.ip(),
            endpoint.port()
        ))?;
        Ok(line(Path::new("/usr/bin/tinyproxy"), &["-d", "-c"], &file))
    }

    fn apache(&self) -> io::Result<Line> {
        let Place { address, endpoint, folder, .. } = self;
        let folder = folder.display();
        let modules = "/usr/lib/apache2/modules";
        let file = self.write(&format!(
            "ServerRoot {folder}\nServerName compare\nPidFile {folder}/pid\nErrorLog {folder}/error.log\n\
             DefaultRuntimeDir {folder}\nListen {address}\n\
             LoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
             LoadModule authz_core_module {modules}/mod_authz_core.so\n\
             LoadModule proxy_module {modules}/mod_proxy.so\n\
             LoadModule proxy_connect_module {modules}/mod_proxy_connect.so\n\
             User nobody\nGroup nogroup\nServerLimit 24\nThreadsPerChild 64\nMaxRequestWorkers 1536\n\
             ThreadLimit 64\nTimeout 600\nProxyRequests On\nAllowCONNECT {}\n",
            endpoint.port()
        ))?;
        Ok(line(Path::new("/usr/sbin/apache2"), &["-DFOREGROUND", "-f"], &file))
    }
}

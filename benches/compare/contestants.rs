//! Who is compared: the bare splice loop, the gateway in its kinds, and proxies of the field as Debian
//! packages them. Each runs as one process tree, on a port of its own, for as long as its value lives.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

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

    /// Whether it can run on this machine.
    pub fn is_installed(self) -> bool {
        self.program().is_none_or(|program| Path::new(program).exists())
    }
}

/// One that runs.
pub struct Running {
    /// Where clients connect to.
    pub address: SocketAddr,
    child: Option<Child>,
    _folder: TempDir,
}

impl Running {
    /// Starts `contestant` so that it reaches `localhost:endpoint_port`, and waits until it accepts.
    pub fn start(contestant: Contestant, endpoint_port: u16, sluice: &Path) -> io::Result<Running> {
        let folder = tempfile::Builder::new().prefix("compare-").tempdir()?;
        // Those that give up root must be able to look into it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let place = Place { folder: folder.path(), port: free_port()?, endpoint_port };
        let mut address = SocketAddr::from(([127, 0, 0, 1], place.port));
        let command = match contestant {
            Contestant::Direct => {
                address.set_port(endpoint_port);
                return Ok(Running { address, child: None, _folder: folder });
            }
            Contestant::BareLoop => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("bare-loop").arg(place.folder.join("address"));
                command
            }
            Contestant::Sluice => place.sluice(sluice, "splice")?,
            Contestant::SluiceCopy => place.sluice(sluice, "copy")?,
            Contestant::SluiceOrdinary => {
                let own = place.folder.join("sluice");
                fs::copy(sluice, &own)?;
                let mut command = place.sluice(&own, "splice")?;
                command.uid(ORDINARY_USER).gid(ORDINARY_USER);
                command
            }
            Contestant::HaProxy => place.haproxy()?,
            Contestant::Squid => place.squid()?,
            Contestant::Tinyproxy => place.tinyproxy()?,
            Contestant::Apache => place.apache()?,
        };
        let mut running = Running { address, child: None, _folder: folder };
        running.start_child(command, contestant)?;
        Ok(running)
    }

    /// The process at the head of its tree.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn start_child(&mut self, mut command: Command, contestant: Contestant) -> io::Result<()> {
        let folder = self._folder.path();
        let log = fs::File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.child.insert(command.spawn()?);
        let deadline = Instant::now() + Duration::from_millis(START_MS);
        loop {
            if contestant == Contestant::BareLoop
                && let Ok(text) = fs::read_to_string(folder.join("address"))
                && let Ok(address) = text.parse()
            {
                self.address = address;
                return Ok(());
            }
            if contestant != Contestant::BareLoop && TcpStream::connect(self.address).is_ok() {
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

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Where a contestant has its files and listens, and where it leads.
struct Place<'a> {
    folder: &'a Path,
    port: u16,
    endpoint_port: u16,
}

impl Place<'_> {
    fn write(&self, text: &str) -> io::Result<PathBuf> {
        let file = self.folder.join("configuration");
        fs::write(&file, text)?;
        Ok(file)
    }

    fn sluice(&self, program: &Path, carrier: &str) -> io::Result<Command> {
        let Place { port, endpoint_port, folder } = self;
        let events = folder.join("events.log");
        let file = self.write(&format!(
            "listen = [\"127.0.0.1:{port}\"]\ncarrier = \"{carrier}\"\n\
             [allow]\nhosts = [\"localhost:{endpoint_port}\"]\naddresses = [\"127.0.0.0/8\"]\n\
             [events]\nto = \"file:{}\"\n[admin]\nlisten = \"\"\n",
            events.display()
        ))?;
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(file);
        Ok(command)
    }

    fn haproxy(&self) -> io::Result<Command> {
        let Place { port, endpoint_port, .. } = self;
        let file = self.write(&format!(
            "global\n  maxconn 9000\n  maxpipes 500\n\
             defaults\n  mode tcp\n  option splice-request\n  option splice-response\n  maxconn 9000\n\
             \x20 timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n\
             listen relay\n  bind 127.0.0.1:{port}\n  server endpoint 127.0.0.1:{endpoint_port}\n"
        ))?;
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]).arg(file);
        Ok(command)
    }

    fn squid(&self) -> io::Result<Command> {
        let Place { port, folder, .. } = self;
        let folder = folder.display();
        let file = self.write(&format!(
            "http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\naccess_log none\n\
             cache_log {folder}/cache.log\npid_filename none\ncoredump_dir {folder}\npinger_enable off\n\
             max_filedescriptors 65536\nshutdown_lifetime 0 seconds\nvisible_hostname compare\n"
        ))?;
        let mut command = Command::new("/usr/sbin/squid");
        command.args(["-N", "-f"]).arg(file);
        Ok(command)
    }

    fn tinyproxy(&self) -> io::Result<Command> {
        let Place { port, endpoint_port, .. } = self;
        let file = self.write(&format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 20000\nAllow 127.0.0.1\n\
             ConnectPort {endpoint_port}\nLogLevel Critical\n"
        ))?;
        let mut command = Command::new("/usr/bin/tinyproxy");
        command.args(["-d", "-c"]).arg(file);
        Ok(command)
    }

    fn apache(&self) -> io::Result<Command> {
        let Place { port, endpoint_port, folder } = self;
        let folder = folder.display();
        let modules = "/usr/lib/apache2/modules";
        let file = self.write(&format!(
            "ServerRoot {folder}\nServerName compare\nPidFile {folder}/pid\nErrorLog {folder}/error.log\n\
             DefaultRuntimeDir {folder}\nListen 127.0.0.1:{port}\n\
             LoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
             LoadModule authz_core_module {modules}/mod_authz_core.so\n\
             LoadModule proxy_module {modules}/mod_proxy.so\n\
             LoadModule proxy_connect_module {modules}/mod_proxy_connect.so\n\
             User nobody\nGroup nogroup\nServerLimit 24\nThreadsPerChild 64\nMaxRequestWorkers 1536\n\
             ThreadLimit 64\nTimeout 600\nProxyRequests On\nAllowCONNECT {endpoint_port}\n"
        ))?;
        let mut command = Command::new("/usr/sbin/apache2");
        command.args(["-DFOREGROUND", "-f"]).arg(file);
        Ok(command)
    }
}

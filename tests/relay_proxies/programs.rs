//! Relay proxies that people have, each with a configuration, a port and a folder of its own, in the
//! foreground, ended by its own id.
//!
//! A program that is missing fails its test with what to install: a check that skips itself is none.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::deadline::{PATIENCE, until};
use crate::support::folder::Folder;
use crate::support::gateway::{Gateway, SPLICE, Setup, wait};
use crate::support::port::reserved;

/// Who may use a relay proxy that asks.
pub const USER: &str = "agent";
/// With that. tinyproxy's configuration takes no colon in it.
pub const PASSWORD: &str = "s3cret-pass";

/// A kind of relay proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// squid, with basic_ncsa_auth.
    Squid,
    /// tinyproxy, with BasicAuth.
    Tinyproxy,
    /// Apache with mod_proxy_connect.
    Apache,
    /// A second gateway. It asks nobody for credentials.
    Sluice,
}

/// All of them.
pub const PROGRAMS: [Program; 4] =
    [Program::Squid, Program::Tinyproxy, Program::Apache, Program::Sluice];

/// A relay proxy that runs. It opens tunnels to one port.
#[derive(Debug)]
pub struct RelayProxy {
    program: Program,
    address: SocketAddr,
    target_port: u16,
    folder: Folder,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Nothing,
    Child(Child),
    Gateway(Box<Gateway>),
}

impl Program {
    /// Whether it asks for credentials.
    pub fn asks(self) -> bool {
        self != Program::Sluice
    }

    /// Starts it; it opens tunnels to this port, also by the name localhost, and to no other.
    pub fn start(self, target_port: u16) -> RelayProxy {
        // All of them listen with SO_REUSEADDR.
        let address = reserved("127.0.0.1");
        let folder = Folder::new();
        // Some of them give up their rights before they write their logs.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let running = Running::Nothing;
        let mut relay_proxy = RelayProxy { program: self, address, target_port, folder, running };
        relay_proxy.start();
        relay_proxy
    }

    fn command(self) -> &'static str {
        match self {
            Program::Squid => "squid",
            Program::Tinyproxy => "tinyproxy",
            Program::Apache => "apache2",
            Program::Sluice => "sluice",
        }
    }
}

impl RelayProxy {
    /// Where it listens, the same over a restart.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it with what it does at the moment.
    pub fn kill(&mut self) {
        match std::mem::replace(&mut self.running, Running::Nothing) {
            Running::Nothing => {}
            Running::Gateway(gateway) => drop(gateway),
            Running::Child(mut child) => {
                child.kill().unwrap();
                wait(&mut child);
            }
        }
    }

    /// Starts it, or starts it again.
    pub fn start(&mut self) {
        self.running = match self.program {
            Program::Sluice => {
                let target = format!("localhost:{}", self.target_port);
                let literal = format!("127.0.0.1:{}", self.target_port);
                let setup = Setup::new(SPLICE).host(&target).host(&literal);
                Running::Gateway(Box::new(setup.listen(&self.address.to_string()).start()))
            }
            program => {
                let mut command = Command::new(program.command());
                // Debian keeps programs for administrators there, and few have it in their path.
                let path = std::env::var("PATH").unwrap_or_default();
                command.env("PATH", format!("{path}:/usr/sbin"));
                self.configure(&mut command);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let child = command.spawn().unwrap_or_else(|error| {
                    panic!("{}: {error}; .ci/install installs it", program.command())
                });
                Running::Child(child)
            }
        };
        until("the relay proxy listens", PATIENCE, || {
            if let Running::Child(child) = &mut self.running
                && let Some(status) = child.try_wait().unwrap()
            {
                panic!("{:?} ended with {status}:{}", self.program, logs(self.folder.path()));
            }
            TcpStream::connect(self.address).ok()
        });
    }

    fn configure(&self, command: &mut Command) {
        let RelayProxy { folder, address, target_port, .. } = self;
        let (at, port) = (folder.path().display(), address.port());
        let users = folder.write("users", &format!("{USER}:{}\n", hashed(PASSWORD)));
        std::fs::set_permissions(&users, PermissionsExt::from_mode(0o644)).unwrap();
        let users = users.display();
        match self.program {
            Program::Squid => {
                let helper = "/usr/lib/squid/basic_ncsa_auth";
                let file = folder.write(
                    "squid.conf",
                    &format!(
                        "http_port 127.0.0.1:{port}\npid_filename {at}/pid\naccess_log none\n\
                         cache_log {at}/log\ncoredump_dir {at}\ncache deny all\n\
                         pinger_enable off\nnetdb_filename none\nshutdown_lifetime 0 seconds\n\
                         connect_timeout 20 seconds\nvisible_hostname relay\n\
                         auth_param basic program {helper} {users}\n\
                         auth_param basic children 1\nacl known proxy_auth REQUIRED\n\
                         acl admitted port {target_port}\nhttp_access deny !admitted\n\
                         http_access allow CONNECT known\nhttp_access deny all\n"
                    ),
                );
                command.arg("-N").arg("-f").arg(file);
            }
            Program::Tinyproxy => {
                let file = folder.write(
                    "tinyproxy.conf",
                    &format!(
                        "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\n\
                         LogFile \"{at}/log\"\nPidFile \"{at}/pid\"\nAllow 127.0.0.1\n\
                         BasicAuth {USER} {PASSWORD}\nConnectPort {target_port}\n"
                    ),
                );
                command.arg("-d").arg("-c").arg(file);
            }
            Program::Apache => {
                let modules = [
                    "mpm_event",
                    "proxy",
                    "proxy_connect",
                    "authn_core",
                    "authn_file",
                    "authz_core",
                    "authz_user",
                    "auth_basic",
                ];
                let loads = modules.map(|name| {
                    format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
                });
                let file = folder.write(
                    "apache.conf",
                    &format!(
                        "ServerRoot {at}\nDefaultRuntimeDir {at}\nPidFile {at}/pid\n\
                         ErrorLog {at}/log\nListen 127.0.0.1:{port}\nServerName relay\n{}\
                         User #65534\nGroup #65534\nProxyRequests On\nAllowCONNECT {target_port}\n\
                         ProxyTimeout 60\n<Proxy \"*\">\nAuthType Basic\nAuthName relay\n\
                         AuthUserFile {users}\nRequire valid-user\n</Proxy>\n",
                        loads.concat()
                    ),
                );
                // One process: ending it by its id ends all of it.
                command.arg("-X").arg("-f").arg(file);
            }
            Program::Sluice => {}
        }
    }
}

impl Drop for RelayProxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}:{}", self.program, logs(self.folder.path()));
        }
        self.kill();
    }
}

/// As htpasswd would write it.
fn hashed(password: &str) -> String {
    let output = Command::new("openssl")
        .args(["passwd", "-apr1", password])
        .output()
        .unwrap_or_else(|error| panic!("openssl: {error}; .ci/install installs it"));
    assert!(output.status.success(), "openssl passwd: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The end of what it has logged.
fn logs(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..]
        .iter()
        .fold(String::new(), |all, line| all + "\n" + line)
}

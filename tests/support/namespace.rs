//! A network of a test's own, where every address is this machine: whatever is dialled arrives here, and
//! the kernel counts every attempt. Names are asked of 127.0.0.1 alone.
//!
//! The test runs itself again inside, by unshare(1). Where that is not allowed it is left out with a
//! message, unless `SLUICE_NAMESPACES=required` says that here it must be.

#![cfg(target_os = "linux")]

use std::io::Read;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::deadline::until;
use super::folder::Folder;
use super::peer::own_connects;

/// Longer than any such test takes.
const PATIENCE: Duration = Duration::from_secs(600);
const INSIDE: &str = "SLUICE_INSIDE";
const REQUIRED: &str = "SLUICE_NAMESPACES";

/// What the machine looks like inside. A name server that keeps silent is waited for longer than any test
/// lets a name take, also where its threads stand still for a while.
const FILES: [(&str, &str); 3] = [
    ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:10 attempts:1\n"),
    ("nsswitch.conf", "hosts: files dns\n"),
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
];

/// Prepares the network, puts the files in place, and becomes the test. Processes are counted from 1
/// inside, so folders that are named by a process need a place of their own.
const SCRIPT: &str = r#"set -e
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo
ulimit -n "$(ulimit -Hn)"
for file in resolv.conf nsswitch.conf hosts; do mount --bind "$SLUICE_INSIDE/$file" "/etc/$file"; done
export TMPDIR="$SLUICE_INSIDE"
exec "$0" "$@""#;

/// As many as a test may leave of them, where it makes them few.
const SCARCE_PORTS: u16 = 1_000;

/// Being inside.
#[derive(Debug)]
pub struct Namespace(());

/// Runs `body` inside; false where it was left out. `test` is the path of the test that calls this,
/// without its target.
///
/// # Panics
/// Where the test fails inside, or may not be left out.
pub fn within(test: &str, body: impl FnOnce(&Namespace)) -> bool {
    if is_inside() {
        let inside = Namespace(());
        inside.widen_ports();
        body(&inside);
        return true;
    }
    let mut unshare = vec!["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !rustix::process::geteuid().is_root() {
        unshare.extend(["--user", "--map-root-user"]);
    }
    if let Err(why) = try_unshare(&unshare) {
        let required = std::env::var(REQUIRED).is_ok_and(|value| value == "required");
        assert!(!required, "{REQUIRED}=required, but there are no namespaces: {why}");
        println!("left out, because there are no namespaces here: {why}");
        return false;
    }
    let folder = Folder::new();
    for (name, text) in FILES {
        folder.write(name, text);
    }
    let program = std::env::current_exe().expect("a test has a file");
    let mut inside = Command::new("unshare");
    inside.args(&unshare).args(["sh", "-c", SCRIPT]).arg(program);
    inside.args(["--exact", test, "--nocapture"]).env(INSIDE, folder.path());
    let (succeeded, told) = run(&mut inside);
    assert!(succeeded && told.contains("1 passed"), "inside of its network:\n{told}");
    true
}

/// Whether this process is in such a network.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn try_unshare(arguments: &[&str]) -> Result<(), String> {
    let mut trial = Command::new("unshare");
    trial.args(arguments).args(["sh", "-c", "ip link set lo up"]);
    match trial.stdin(Stdio::null()).output() {
        Err(error) => Err(format!("unshare: {error}")),
        Ok(told) if told.status.success() => Ok(()),
        Ok(told) => Err(String::from_utf8_lossy(&told.stderr).trim().to_owned()),
    }
}

/// Whether it ended well, and all it printed. Where it takes too long, all inside is killed with it.
fn run(command: &mut Command) -> (bool, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("unshare(1) has just been run");
    let streams: [Box<dyn Read + Send>; 2] = [
        Box::new(child.stdout.take().expect("a pipe")),
        Box::new(child.stderr.take().expect("a pipe")),
    ];
    let readers = streams.map(|mut stream| {
        std::thread::spawn(move || {
            let mut told = Vec::new();
            let _ = stream.read_to_end(&mut told);
            String::from_utf8_lossy(&told).into_owned()
        })
    });
    let mut waited = Duration::ZERO;
    let status = until("the end of the test inside", PATIENCE * 2, || {
        waited += Duration::from_millis(5);
        if waited > PATIENCE {
            let _ = child.kill();
        }
        child.try_wait().expect("it is our child")
    });
    let told = readers.map(|reader| reader.join().expect("a thread that only reads")).concat();
    (status.success(), told)
}

impl Namespace {
    /// Starts to count.
    pub fn witness(&self) -> Witness {
        Witness { opens: opens(), own: own_connects(), datagrams: datagrams() }
    }

    /// Leaves so many source ports for dials to one address, from 40000 on.
    ///
    /// # Panics
    /// Where that would reach those of [`widen_ports`](Self::widen_ports).
    pub fn set_ports(&self, ports: u16) {
        assert!(ports <= SCARCE_PORTS, "{ports} ports are not scarce");
        write_ports(40_000..=40_000 + ports - 1);
    }

    /// Leaves thousands, as at the start, and none of those that `set_ports` leaves: a listener that
    /// was given any port stays outside of them. A port that is listened on serves no dial.
    pub fn widen_ports(&self) {
        write_ports(40_000 + SCARCE_PORTS..=60_999);
    }
}

/// Every attempt to connect in this network since it was made, whoever made it.
#[derive(Debug)]
pub struct Witness {
    opens: u64,
    own: u64,
    datagrams: u64,
}

impl Witness {
    /// Connections begun that the test did not begin itself. A SYN counts, answered or not.
    pub fn dials(&self) -> u64 {
        (opens() - self.opens) - (own_connects() - self.own)
    }

    /// Datagrams sent; where no name server answers, each is a question.
    pub fn datagrams(&self) -> u64 {
        datagrams() - self.datagrams
    }
}

fn write_ports(ports: RangeInclusive<u16>) {
    let range = format!("{} {}", ports.start(), ports.end());
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range)
        .expect("the sysctl is of this network alone");
}

fn opens() -> u64 {
    counter("/proc/net/snmp", "Tcp:", "ActiveOpens")
}

fn datagrams() -> u64 {
    let of_6 = std::fs::read_to_string("/proc/net/snmp6").expect("a network has counters");
    let of_6 = of_6.lines().find_map(|line| line.strip_prefix("Udp6OutDatagrams"));
    let of_6: u64 = of_6.map_or(0, |value| value.trim().parse().expect("a number"));
    counter("/proc/net/snmp", "Udp:", "OutDatagrams") + of_6
}

/// A value of a table of two lines, one of names and one of numbers.
fn counter(file: &str, protocol: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).expect("a network has counters");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol));
    let (names, values) = (lines.next(), lines.next());
    let mut pairs = names
        .into_iter()
        .flat_map(str::split_whitespace)
        .zip(values.into_iter().flat_map(str::split_whitespace));
    let value = pairs.find(|(is, _)| *is == name).map(|(_, value)| value);
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {file}"))
}

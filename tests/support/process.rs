//! What the system knows of a process: descriptors, memory, processor time. Only Linux tells it so
//! plainly; tests that ask are for Linux.

#![cfg(target_os = "linux")]

use std::ffi::c_void;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ptr;
use std::time::Duration;

use super::deadline::{PATIENCE, until};

/// Waits until the program at the other end of `stream` has read all that was sent: a reset throws
/// away what is still on its way.
pub fn wait_until_read(stream: &TcpStream) {
    let own = stream.local_addr().expect("a connected socket");
    let other = stream.peer_addr().expect("a connected socket");
    until("everything sent is read", PATIENCE, || {
        let sent = queues(own, other).is_none_or(|(unsent, _)| unsent == 0);
        let read = queues(other, own).is_none_or(|(_, unread)| unread == 0);
        (sent && read).then_some(())
    });
}

/// Bytes of a connection of this machine that are not acknowledged, and that are not read.
fn queues(local: SocketAddr, remote: SocketAddr) -> Option<(u64, u64)> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let (local, remote) = (spelled(local), spelled(remote));
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        if words.next()? != local || words.next()? != remote {
            return None;
        }
        let (unsent, unread) = words.nth(1)?.split_once(':')?;
        Some((u64::from_str_radix(unsent, 16).ok()?, u64::from_str_radix(unread, 16).ok()?))
    })
}

fn spelled(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else { panic!("{address} is not IPv4") };
    // The kernel prints the four bytes as a number of the machine.
    format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())
}

/// What each open descriptor of a process is, as in `socket:[1234]`.
pub fn descriptors(pid: u32) -> Vec<String> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    let links = folder.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

/// Open descriptors of a process that begin so.
pub fn count_descriptors(pid: u32, kind: &str) -> usize {
    descriptors(pid).iter().filter(|name| name.starts_with(kind)).count()
}

/// Resident memory in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number of kB");
    kib * 1024
}

/// Processor time used so far, of all threads.
pub fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name in parentheses may hold spaces; what follows it does not.
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let field = |index: usize| {
        rest.split_ascii_whitespace().nth(index).and_then(|text| text.parse::<u64>().ok())
    };
    let ticks = field(11).expect("utime") + field(12).expect("stime");
    // USER_HZ is 100 on every architecture that Linux still runs on.
    Duration::from_millis(ticks * 10)
}

/// One thread of a child that does not run until this is dropped.
#[derive(Debug)]
pub struct Halted(libc::pid_t);

/// Halts the thread of this name, as a debugger does; signals would halt the whole process.
///
/// # Panics
/// Where there is no such thread, or the system forbids it (`kernel.yama.ptrace_scope` above 1, or a
/// container without ptrace(2)).
pub fn halt_thread(pid: u32, name: &str) -> Halted {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let thread = threads.flatten().find(|thread| {
        let told = std::fs::read_to_string(thread.path().join("comm"));
        told.is_ok_and(|told| told.trim_end() == name)
    });
    let id = thread.expect("a thread of this name").file_name();
    let id = id.to_str().and_then(|id| id.parse().ok()).expect("its number");
    let halted = Halted(id);
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        trace(request, id).unwrap_or_else(|error| panic!("ptrace({request}): {error}"));
    }
    let mut state = 0;
    // SAFETY: it writes one int to where it is told to.
    let waited = unsafe { libc::waitpid(id, &raw mut state, libc::__WALL) };
    assert_eq!(waited, id, "{}", std::io::Error::last_os_error());
    halted
}

impl Drop for Halted {
    fn drop(&mut self) {
        // Where it was never seized it runs.
        let _ = trace(libc::PTRACE_DETACH, self.0);
    }
}

fn trace(request: libc::c_uint, thread: libc::pid_t) -> std::io::Result<()> {
    let none = ptr::null_mut::<c_void>();
    // SAFETY: none of the three requests that are used here reads or writes memory of ours.
    let done = unsafe { libc::ptrace(request, thread, none, none) };
    if done == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal to every thread of a process; how many got it.
pub fn signal_threads(pid: u32, signal: rustix::process::Signal) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let ids = threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    ids.filter(|&id: &libc::pid_t| {
        let process = libc::pid_t::try_from(pid).expect("a process id");
        // SAFETY: tgkill(2) takes numbers only; a thread that has ended since is an error, no more.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, id, signal.as_raw()) };
        sent == 0
    })
    .count()
}

/// Memory that is the process's alone, and its share of what it shares, in bytes.
pub fn proportional_bytes(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("Pss");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number of kB");
    kib * 1024
}

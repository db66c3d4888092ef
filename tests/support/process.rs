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
    let (unsent, unread) = in_table(local, remote, QUEUES)?;
    Some((u64::from_str_radix(&unsent, 16).ok()?, u64::from_str_radix(&unread, 16).ok()?))
}

/// When the keep-alive of a connection of this machine is due; `None` where it has none.
pub fn keepalive_of(local: SocketAddr, remote: SocketAddr) -> Option<Duration> {
    const KEEPALIVE: &str = "02";
    /// The table tells times in USER_HZ, which is 100 wherever Linux still runs.
    const TICK_MS: u64 = 10;
    let (kind, ticks) = in_table(local, remote, TIMER)?;
    let ticks = u64::from_str_radix(&ticks, 16).ok().filter(|_| kind == KEEPALIVE)?;
    Some(Duration::from_millis(ticks * TICK_MS))
}

/// Columns of the kernel's table of connections, counted from that of the state.
const QUEUES: usize = 1;
const TIMER: usize = 2;

/// Both halves of a column of a connection of this machine.
fn in_table(local: SocketAddr, remote: SocketAddr, column: usize) -> Option<(String, String)> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let (local, remote) = (spelled(local), spelled(remote));
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        if words.next()? != local || words.next()? != remote {
            return None;
        }
        let (one, other) = words.nth(column)?.split_once(':')?;
        Some((one.to_owned(), other.to_owned()))
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

/// The ids of the threads of a process whose names fit. A thread names itself only when it first runs;
/// until then it bears the name of the one that made it, which may be after the gateway says that it
/// listens.
pub fn threads(pid: u32, fits: impl Fn(&str) -> bool) -> Vec<libc::pid_t> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let named = threads.flatten().filter(|thread| {
        let told = std::fs::read_to_string(thread.path().join("comm"));
        told.is_ok_and(|told| fits(told.trim_end()))
    });
    let number = |name: std::ffi::OsString| name.to_str().and_then(|name| name.parse().ok());
    named.map(|thread| number(thread.file_name()).expect("a thread's number")).collect()
}

/// Halts the thread of this name, as a debugger does; signals would halt the whole process.
///
/// # Panics
/// Where no thread takes this name, or the system forbids it (`kernel.yama.ptrace_scope` above 1, or a
/// container without ptrace(2)).
pub fn halt_thread(pid: u32, name: &str) -> Halted {
    let named = || threads(pid, |told| told == name).pop();
    let id = until("a thread of this name", PATIENCE, named);
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

/// Whether every thread of a process is stopped by a signal.
pub fn is_stopped(pid: u32) -> bool {
    each_thread_says(pid, "State:", |state| state.starts_with('T'))
}

/// Whether every thread of a process waits for something.
pub fn is_asleep(pid: u32) -> bool {
    each_thread_says(pid, "State:", |state| state.starts_with('S'))
}

/// Whether every thread of a process has a tracer.
pub fn is_traced(pid: u32) -> bool {
    each_thread_says(pid, "TracerPid:", |tracer| tracer != "0")
}

fn each_thread_says(pid: u32, key: &str, fits: fn(&str) -> bool) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        value.is_some_and(|value| fits(value.trim()))
    })
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

/// Sizes of the pipes of a process in bytes, one for each end.
pub fn pipe_sizes(pid: u32) -> Vec<usize> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    let is_pipe = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|name| name.to_string_lossy().starts_with("pipe:"))
    };
    let pipes = folder.flatten().map(|entry| entry.path()).filter(is_pipe);
    // One that is gone by now, or that may not be opened, is left out.
    let size = |path| {
        let end = std::fs::File::open(&path)
            .or_else(|_| std::fs::File::options().write(true).open(&path));
        rustix::pipe::fcntl_getpipe_size(end.ok()?).ok()
    };
    pipes.filter_map(size).collect()
}

/// The number that the next descriptor of a process gets.
pub fn lowest_free_descriptor(pid: u32) -> u64 {
    let taken =
        |number: &u64| std::fs::symlink_metadata(format!("/proc/{pid}/fd/{number}")).is_ok();
    (0..).find(|number| !taken(number)).expect("some number is free")
}

/// Sets the soft limit of open files of a process, `None` = to its hard limit, and gives the one before.
pub fn limit_open_files(pid: u32, limit: Option<u64>) -> Option<u64> {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    // A child of ours has our hard limit.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: limit.or(maximum), maximum };
    prlimit(Some(process), Resource::Nofile, limit).expect("it is our child").current
}

/// Raises the soft limit of our own open files to the hard one: both ends of each tunnel are ours.
pub fn raise_own_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("up to the hard limit");
}

/// Runs `work` in a thread of its own as another user, which takes the rights of root.
pub fn as_user<T: Send>(user: u32, work: impl FnOnce() -> T + Send) -> T {
    let as_user = move || {
        // SAFETY: setresuid(2) takes numbers only, and without the C library around it, it is for the
        // calling thread alone, which ends after the work.
        let set = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        work()
    };
    std::thread::scope(|scope| match scope.spawn(as_user).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// How much of its program's code the process has mapped, in bytes.
pub fn code_bytes(pid: u32) -> u64 {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
    let program = program.to_str().expect("our own name").to_owned();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("it runs");
    let mut is_code = false;
    let mut kib = 0;
    for line in maps.lines() {
        if let Some(resident) = line.strip_prefix("Rss:") {
            let resident = resident.trim().trim_end_matches(" kB").parse::<u64>();
            kib += if is_code { resident.expect("a number of kB") } else { 0 };
        } else if line.contains(" r-xp ") || line.split_whitespace().count() >= 5 {
            is_code = line.contains(" r-xp ") && line.ends_with(&program);
        }
    }
    kib * 1024
}

/// Memory that the process holds data in, in bytes. Pages of its program are left out: they are let go
/// after the start and come back with use, in shares that depend on who else runs it.
pub fn anonymous_bytes(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).expect("Pss_Anon");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number of kB");
    kib * 1024
}

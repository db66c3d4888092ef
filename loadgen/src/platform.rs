//! All that differs between systems, in one file: limits, signals and what the system tells about a
//! process. Where a system does not tell, the answer is an `Unsupported` error, and the report leaves it out.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

/// Raises this process's soft limit of descriptors to the hard one and returns it; `None` where there
/// is no such limit.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    system::raise_descriptor_limit()
}

/// Asks a child to end: SIGTERM where there is one, else by force.
pub fn terminate(child: &mut Child) -> io::Result<()> {
    system::terminate(child)
}

/// Whether `terminate` lets a child end in its own way, with an exit status of its own.
pub const ENDS_IN_ITS_OWN_WAY: bool = cfg!(unix);

/// The processor time that all threads of a process and of its children have used, those that have ended
/// included: a proxy with worker processes is measured as a whole.
///
/// It is the process's CPU clock (clock_getcpuclockid): the scheduler's own sum in nanoseconds. Adding
/// up `/proc/PID/task/*/schedstat` would lose threads that ended, and `/proc/PID/stat` counts in ticks.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    system::cpu_time(pid)
}

/// The processor time of this process, without its children.
pub fn own_cpu_time() -> io::Result<Duration> {
    system::process_time(std::process::id())
}

/// Proportional set size in bytes of a process and its children: the memory that is their own, and
/// their share of what they share. Pipe pages and socket buffers belong to the kernel and are not in it.
pub fn pss_bytes(pid: u32) -> io::Result<u64> {
    system::pss_bytes(pid)
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> io::Result<u64> {
    system::descriptors(pid)
}

/// The pipes that a process and its children hold, but for standard streams and what was left open for it,
/// which are others' choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells so much"))]
pub struct Pipes {
    /// How many pipes; one that several hold is one.
    pub pipes: u64,
    /// What they can hold together, in bytes; `None` where one of them may not be asked.
    pub bytes: Option<u64>,
    /// How many descriptors of the process itself are ends of pipes, whoever made those.
    pub ends: u64,
}

/// Pipes by what tells them apart; none where the system does not tell.
#[derive(Debug, Default)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells so much"))]
pub struct PipeNames(HashSet<PathBuf>);

/// The pipes that this process holds now. What it was left open by who started it, a gateway was, too.
pub fn own_pipes() -> PipeNames {
    system::own_pipes()
}

/// The pipes that a process and its children hold, but for those of `others`.
pub fn pipes(pid: u32, others: &PipeNames) -> io::Result<Pipes> {
    system::pipes(pid, others)
}

/// A thread and the processor time it has used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells so much"))]
pub struct Thread {
    /// Told apart by this, not by the name.
    pub id: u64,
    /// As its program named it.
    pub name: String,
    /// Since its start.
    pub cpu: Duration,
}

/// The threads of a process as they are now.
pub fn threads(pid: u32) -> io::Result<Vec<Thread>> {
    system::threads(pid)
}

/// The time that all processors of the host together have been busy and idle since its start.
pub fn host_times() -> io::Result<(Duration, Duration)> {
    system::host_times()
}

/// Whether an error says that this process or the host has no descriptor left.
pub fn is_out_of_descriptors(why: &io::Error) -> bool {
    system::is_out_of_descriptors(why)
}

/// The kernel's memory for all TCP sockets of the host, in bytes.
pub fn tcp_memory_bytes() -> io::Result<u64> {
    system::tcp_memory_bytes()
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::HashMap;
    use std::collections::hash_map::Entry;
    use std::fs;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::time::{ClockId, clock_getcpuclockid};
    use nix::unistd::Pid;

    pub use super::unix::{is_out_of_descriptors, raise_descriptor_limit, terminate};
    use super::{Duration, PathBuf, PipeNames, Pipes, Thread, io};

    /// The unit of `/proc/stat`, the same on all systems (USER_HZ).
    const TICK_MS: u64 = 10;

    /// The kernel counts socket memory in pages; all systems this measures on have pages of 4 KiB.
    const PAGE_BYTES: u64 = 4096;

    pub fn cpu_time(pid: u32) -> io::Result<Duration> {
        let mut sum = process_time(pid)? + ended_children_time(pid);
        for child in descendants(pid) {
            // A child may end between the listing and the look; its parent then has its time.
            sum += process_time(child).unwrap_or_default() + ended_children_time(child);
        }
        Ok(sum)
    }

    pub fn pss_bytes(pid: u32) -> io::Result<u64> {
        let children = descendants(pid).into_iter().filter_map(|child| own_pss_bytes(child).ok());
        Ok(own_pss_bytes(pid)? + children.sum::<u64>())
    }

    pub fn process_time(pid: u32) -> io::Result<Duration> {
        let clock: ClockId = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
        Ok(Duration::from(clock.now()?))
    }

    /// What the children that a process has waited for used, in ticks: there is no finer record.
    fn ended_children_time(pid: u32) -> Duration {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything; what follows its last bracket is state, parent, and so on.
        let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
        let ticks: u64 = fields.skip(13).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * TICK_MS)
    }

    /// The processes below one, at any depth.
    pub fn descendants(pid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open = vec![pid];
        while let Some(parent) = open.pop() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
            for task in tasks.flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                let children =
                    children.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok());
                open.extend(children.clone());
                found.extend(children);
            }
        }
        found
    }

    pub fn own_pss_bytes(pid: u32) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let kilobytes = text
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.map(|count| count * 1024).ok_or_else(|| unknown("Pss in smaps_rollup"))
    }

    pub fn descriptors(pid: u32) -> io::Result<u64> {
        let folder = format!("/proc/{pid}/fd");
        // Since Linux 6.2 the folder's size is the count; before, it is 0 and the entries are counted.
        match fs::metadata(&folder)?.len() {
            0 => Ok(fs::read_dir(&folder)?.count() as u64),
            count => Ok(count),
        }
    }

    pub fn own_pipes() -> PipeNames {
        let mut held = HashMap::new();
        // What cannot be told of this process cannot be told of another.
        let _ = note_pipes(std::process::id(), &mut held);
        PipeNames(held.into_keys().collect())
    }

    pub fn pipes(pid: u32, others: &PipeNames) -> io::Result<Pipes> {
        let mut held = HashMap::new();
        let ends = note_pipes(pid, &mut held)?;
        let mut is_whole = true;
        for child in descendants(pid) {
            // A child may end between the listing and the look.
            is_whole &= note_pipes(child, &mut held).map_or_else(|why| is_gone(&why), |_| true);
        }
        held.retain(|pipe, _| !others.0.contains(pipe));
        let pipes = held.len() as u64;
        let bytes = held.into_values().sum::<Option<u64>>().filter(|_| is_whole);
        Ok(Pipes { pipes, bytes, ends })
    }

    /// Adds the pipes of one process to `held`, each with its capacity, and gives the number of their ends.
    fn note_pipes(pid: u32, held: &mut HashMap<PathBuf, Option<u64>>) -> io::Result<u64> {
        let mut ends = 0;
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let entry = entry?;
            let number = entry.file_name().to_string_lossy().parse::<u32>();
            if number.is_ok_and(|number| number <= 2) {
                continue;
            }
            let end = entry.path();
            // A descriptor may close between the listing and the look.
            let Ok(pipe) = fs::read_link(&end) else { continue };
            if !pipe.as_os_str().as_encoded_bytes().starts_with(b"pipe:") {
                continue;
            }
            ends += 1;
            if let Entry::Vacant(place) = held.entry(pipe) {
                match pipe_capacity(&end) {
                    Err(why) if is_gone(&why) => {}
                    answer => {
                        place.insert(answer.ok());
                    }
                }
            }
        }
        Ok(ends)
    }

    /// What the pipe of which `end` is one end can hold, in bytes. To open an end neither reads nor waits.
    fn pipe_capacity(end: &Path) -> io::Result<u64> {
        let mut options = fs::OpenOptions::new();
        let pipe = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(end)?;
        let bytes = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ)?;
        Ok(u64::from(bytes.unsigned_abs()))
    }

    /// Whether an end had closed by then, or its number was that of a socket or file by then.
    fn is_gone(why: &io::Error) -> bool {
        let number = why.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::ENOENT | Errno::ENXIO | Errno::EBADF))
    }

    pub fn threads(pid: u32) -> io::Result<Vec<Thread>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            // A thread may end between the listing and the look.
            let Ok(spent) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
            let nanos = spent.split(' ').next().and_then(|word| word.parse().ok());
            let id = entry.file_name().to_string_lossy().parse();
            if let (Some(nanos), Ok(id)) = (nanos, id) {
                let name = name.trim_end().to_owned();
                threads.push(Thread { id, name, cpu: Duration::from_nanos(nanos) });
            }
        }
        if threads.is_empty() { Err(unknown("thread's time in schedstat")) } else { Ok(threads) }
    }

    pub fn host_times() -> io::Result<(Duration, Duration)> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
        // user nice system idle iowait irq softirq steal; guests are in user already.
        let ticks: Vec<u64> = line
            .unwrap_or("")
            .split_ascii_whitespace()
            .map_while(|word| word.parse().ok())
            .take(8)
            .collect();
        let [.., idle, waiting, _, _, _] = ticks[..] else { return Err(unknown("cpu in stat")) };
        let of = |ticks: u64| Duration::from_millis(ticks * TICK_MS);
        Ok((of(ticks.iter().sum::<u64>() - idle - waiting), of(idle + waiting)))
    }

    pub fn tcp_memory_bytes() -> io::Result<u64> {
        let text = fs::read_to_string("/proc/net/sockstat")?;
        let mut words =
            text.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or("").split(' ');
        words.find(|word| *word == "mem");
        let pages = words.next().and_then(|word| word.parse::<u64>().ok());
        pages.map(|pages| pages * PAGE_BYTES).ok_or_else(|| unknown("TCP memory in sockstat"))
    }

    fn unknown(what: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("no {what}"))
    }
}

#[cfg(unix)]
mod unix {
    use nix::errno::Errno;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::{Child, io};

    pub fn is_out_of_descriptors(why: &io::Error) -> bool {
        let number = why.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::EMFILE | Errno::ENFILE))
    }

    pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        // Where the hard limit is "none", some systems refuse that as a soft one; then it stays as it is.
        match soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
            true => Ok(Some(hard)),
            false => Ok(Some(soft)),
        }
    }

    pub fn terminate(child: &mut Child) -> io::Result<()> {
        Ok(kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Duration, PipeNames, Pipes, Thread, io};

    #[cfg(unix)]
    pub use super::unix::{is_out_of_descriptors, raise_descriptor_limit, terminate};

    #[cfg(not(unix))]
    pub fn is_out_of_descriptors(_why: &io::Error) -> bool {
        false
    }

    #[cfg(not(unix))]
    pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
        Ok(None)
    }

    #[cfg(not(unix))]
    pub fn terminate(child: &mut super::Child) -> io::Result<()> {
        child.kill()
    }

    pub fn process_time(_pid: u32) -> io::Result<Duration> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn cpu_time(_pid: u32) -> io::Result<Duration> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn pss_bytes(_pid: u32) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn descriptors(_pid: u32) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn own_pipes() -> PipeNames {
        PipeNames::default()
    }

    pub fn pipes(_pid: u32, _others: &PipeNames) -> io::Result<Pipes> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn threads(_pid: u32) -> io::Result<Vec<Thread>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn host_times() -> io::Result<(Duration, Duration)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn tcp_memory_bytes() -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_told_about() {
        let pid = std::process::id();
        let before = own_cpu_time().expect("a clock");
        let joined =
            std::thread::spawn(|| (0..20_000_000_u64).fold(0, |a, b| a ^ b.wrapping_mul(a | 1)));
        std::hint::black_box(joined.join().expect("joined"));
        let spent = own_cpu_time().expect("a clock") - before;
        assert!(spent > Duration::from_millis(1), "a thread that ended counts, too: {spent:?}");
        assert!(pss_bytes(pid).expect("memory") > 100_000);
        assert!(tcp_memory_bytes().is_ok());

        // Other tests open descriptors of their own meanwhile, so these are lower bounds.
        let held = std::io::pipe().expect("a pipe");
        let (found, all) = (
            pipes(pid, &PipeNames::default()).expect("pipes"),
            descriptors(pid).expect("descriptors"),
        );
        assert!(found.pipes >= 1 && found.ends >= 2 && all >= found.ends, "{found:?} of {all}");
        drop(held);
    }

    #[test]
    fn pipes_of_children_count_once_and_standard_streams_do_not() {
        use nix::fcntl::{FcntlArg, fcntl};
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};

        const BYTES: u32 = 1 << 18;
        // A shell, its child and its child's child; those below it hold its standard output as `more`, too.
        let seen = |more: &str, errors: Stdio, others: &PipeNames| {
            let (out, into) = std::io::pipe().expect("a pipe");
            fcntl(&into, FcntlArg::F_SETPIPE_SZ(BYTES.cast_signed())).expect("a larger pipe");
            let script = format!("sh -c 'sleep 60 & echo; wait' {more} & wait");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).stdin(Stdio::null()).stdout(into).stderr(errors);
            let mut child = shell.spawn().expect("a shell");
            BufReader::new(out).read_line(&mut String::new()).expect("a line");
            let seen = pipes(child.id(), others);
            for pid in system::descendants(child.id()) {
                let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it ends");
            }
            child.wait().expect("it ends");
            seen.expect("pipes")
        };
        let others = own_pipes();
        let none = Pipes { bytes: Some(0), ..seen("", Stdio::null(), &others) };
        assert_eq!((none.pipes, seen("", Stdio::piped(), &others)), (0, none));
        let one = Pipes { pipes: 1, bytes: Some(u64::from(BYTES)), ..none };
        assert_eq!(seen("3>&1 4>&1", Stdio::null(), &others), one);
    }

    #[test]
    fn the_children_of_a_process_count_running_and_ended() {
        use std::process::{Command, Stdio};
        let spin = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done";
        let script = format!("sh -c '{spin}'; (exec sleep 60) & {spin}; echo; wait");
        let mut shell = Command::new("sh");
        let mut child =
            shell.args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().expect("a stream"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
        let (alone, all) = (system::process_time(child.id()), cpu_time(child.id()));
        let memory = (system::own_pss_bytes(child.id()), pss_bytes(child.id()));
        for pid in system::descendants(child.id()) {
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.cast_signed()),
                nix::sys::signal::Signal::SIGTERM,
            )
            .expect("it ends");
        }
        child.wait().expect("it ends");
        let (alone, all) = (alone.expect("a clock"), all.expect("a clock"));
        assert!(all > alone, "{all:?} of all, {alone:?} of the parent");
        let (alone, all) = (memory.0.expect("memory"), memory.1.expect("memory"));
        assert!(all > alone, "{all} bytes of all, {alone} of the parent");
    }

    #[test]
    fn a_busy_thread_is_told_by_its_name() {
        use std::sync::mpsc::{TryRecvError, channel};
        // It ends with its sender, so that it outlives no failure of this test.
        let (held, end) = channel::<()>();
        let spin = move || {
            while end.try_recv() == Err(TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        };
        let spins = std::thread::Builder::new().name("spins".into()).spawn(spin).expect("a thread");
        // It names itself when it first runs, and uses time as far as it gets any.
        let is_told =
            |thread: &Thread| thread.name == "spins" && thread.cpu > Duration::from_millis(5);
        let told = (0..6_000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            threads(std::process::id()).expect("threads").iter().any(is_told)
        });
        assert!(told, "no busy thread of that name in a minute");
        drop(held);
        spins.join().expect("it ends");
        let (busy, idle) = host_times().expect("times");
        assert!(busy > Duration::ZERO && idle > Duration::ZERO);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(cpu_time(0x7FFF_FFF0).is_err());
        assert!(pss_bytes(0x7FFF_FFF0).is_err());
    }
}

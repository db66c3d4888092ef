//! Linux: pipes and splice(2), shared ports, late binding.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use socket2::{SockRef, Socket};

/// Whether this platform moves bytes inside the kernel.
pub const SPLICES: bool = true;

/// Whether a read that fills less than its buffer proves the stream dry (epoll(7), question 9).
pub const SHORT_READ_IS_DRY: bool = true;

/// A whole upload of the documented load (200 KB) fits, so that it moves in one step. An ordinary
/// user is granted 16,384 pages in all, of which such a pipe takes 64.
const LARGE_PIPE_BYTES: usize = 256 * 1024;

/// Whether several listeners of one process can share a port fairly.
pub const SHARES_PORTS: bool = true;

/// A kernel pipe between two sockets.
#[derive(Debug)]
pub struct SplicePipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl SplicePipe {
    /// A new pipe: of the system's default size, or a large one if that is granted.
    ///
    /// # Errors
    /// EMFILE, or ENFILE at `fs.pipe-user-pages-hard`.
    pub fn open(large: bool) -> io::Result<SplicePipe> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if large {
            // EPERM beyond the quota: a pipe of the default size does as well, in more steps.
            let _ = rustix::pipe::fcntl_setpipe_size(&writer, LARGE_PIPE_BYTES);
        }
        Ok(SplicePipe::of_ends(reader, writer))
    }

    /// A pipe that is open already and does not block: of a size that [`SplicePipe::open`] does not
    /// choose.
    pub fn of_ends(reader: OwnedFd, writer: OwnedFd) -> SplicePipe {
        SplicePipe { reader, writer }
    }

    /// Moves up to `len_bytes` (not 0: that would look like an end) from `source` into the pipe.
    ///
    /// # Errors
    /// `WouldBlock` where the socket is dry or the pipe has no free slot; the socket's own error.
    pub fn fill(&self, source: &TcpStream, len_bytes: usize) -> io::Result<usize> {
        source.try_io(|| move_pages(source, &self.writer, len_bytes))
    }

    /// Moves up to `len_bytes` (not 0) from the pipe to `sink`.
    ///
    /// # Errors
    /// `WouldBlock` where the sink takes none; the socket's own error.
    pub fn pour(&self, sink: &TcpStream, len_bytes: usize) -> io::Result<usize> {
        sink.try_io(|| move_pages(&self.reader, sink, len_bytes))
    }

    /// Takes bytes out of the pipe by copying.
    ///
    /// # Errors
    /// `WouldBlock` where it is empty.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.reader, into)?)
    }
}

fn move_pages(from: impl AsFd, to: impl AsFd, len_bytes: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        match splice(from.as_fd(), None, to.as_fd(), None, len_bytes, flags) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(moved) => return Ok(moved),
        }
    }
}

/// A timer that a poll tells of.
#[derive(Debug)]
pub struct Alarm(OwnedFd);

impl Alarm {
    /// One that is not set; the poll of `registry` tells of it as `token`.
    ///
    /// # Errors
    /// As timerfd_create(2) and epoll_ctl(2).
    pub fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        SourceFd(&timer.as_raw_fd()).register(registry, token, Interest::READABLE)?;
        Ok(Alarm(timer))
    }

    /// Goes off once, after this time; what it was set for before is forgotten.
    ///
    /// # Errors
    /// As timerfd_settime(2).
    pub fn set(&self, after: Duration) -> io::Result<()> {
        // Nothing at all would take the alarm away.
        let after = after.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(after).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

/// Whether splice(2) itself is refused here (seccomp, gVisor, WSL 1), whatever the sockets.
pub fn is_splice_refused(error: &io::Error) -> bool {
    let refusals = [Errno::NOSYS, Errno::INVAL, Errno::BADF, Errno::PERM, Errno::OPNOTSUPP];
    refusals.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Tells the scheduler that this thread works in batches (SCHED_BATCH, sched(7)): waking it does not
/// push aside whoever woke it, so that more bytes have come by the time it runs, and it wakes less.
pub fn work_in_batches() {
    let no_priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 names the calling thread, and the parameters live until the call returns. A refusal
    // leaves the thread as it was, which is good enough.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const no_priority) };
}

/// Lets go of the pages of the program and its libraries, of which a start or a reload needs many that
/// nothing needs after it: those that are used again are mapped again from their files, one fault for
/// sixteen of them.
pub fn let_go_of_pages() {
    // SAFETY: the callback is called before this returns, and needs nothing that is passed to it.
    unsafe { libc::dl_iterate_phdr(Some(let_go_of_object), std::ptr::null_mut()) };
}

unsafe extern "C" fn let_go_of_object(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: the loader passes a description whose headers live as long as the object.
    let (base, segments) = unsafe {
        let object = &*object;
        let count = usize::from(object.dlpi_phnum);
        (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, count))
    };
    // SAFETY: it reads a constant of the system.
    let Ok(page_bytes) = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) else {
        return 1;
    };
    let is_let_go = |kind, flags| kind == libc::PT_LOAD && flags & libc::PF_W == 0;
    let loaded = segments.iter().filter(|segment| is_let_go(segment.p_type, segment.p_flags));
    let pages = loaded.map(|segment| {
        let start = (base + segment.p_vaddr) as usize;
        let first = start & !(page_bytes - 1);
        (first, start + segment.p_memsz as usize - first)
    });
    // Before the first is let go: these headers lie in it, and reading on would map it again.
    let pages: Vec<(usize, usize)> = pages.collect();
    for (first, len_bytes) in pages {
        // SAFETY: nobody writes to a segment that is mapped without that right, so that each page is as it
        // is in the file, which is read again (madvise(2), MADV_DONTNEED). A refusal costs memory only.
        unsafe { libc::madvise(first as *mut std::ffi::c_void, len_bytes, libc::MADV_DONTNEED) };
    }
    // The next one.
    0
}

/// Lets several listeners of this process take turns on one port (SO_REUSEPORT).
///
/// # Errors
/// As setsockopt(2).
pub fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Lets connect(2) choose the source port, by which all of them serve towards each target
/// (IP_BIND_ADDRESS_NO_PORT).
///
/// # Errors
/// As setsockopt(2).
pub fn bind_late(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the value is one int of
    // the length told, as ip(7) asks for this option.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes given to `stream` that its peer has not acknowledged (SIOCOUTQ); 0 where it cannot be told.
pub fn unsent_bytes(stream: &TcpStream) -> usize {
    outgoing_queue::read(stream).unwrap_or(0)
}

/// Whether the kernel paces `stream`: of its congestion controls BBR does (TCP_CONGESTION, tcp(7)).
pub fn is_paced(stream: &TcpStream) -> bool {
    SockRef::from(stream).tcp_congestion().is_ok_and(|name| name.starts_with(b"bbr"))
}

/// Closes a stream so that its peer sees a reset (SO_LINGER of 0).
pub fn set_reset_on_close(stream: &TcpStream) {
    // A socket that is gone already needs no reset.
    let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

mod outgoing_queue {
    use rustix::ioctl::{Getter, Opcode, ioctl};

    const SIOCOUTQ: Opcode = 0x5411;

    pub fn read(stream: &mio::net::TcpStream) -> rustix::io::Result<usize> {
        // SAFETY: for a TCP socket SIOCOUTQ writes one int (tcp(7)), which is what `Getter` provides.
        let bytes = unsafe { ioctl(stream, Getter::<SIOCOUTQ, std::ffi::c_int>::new())? };
        Ok(usize::try_from(bytes).unwrap_or(0))
    }
}

/// Gives `new` the extended attributes of `old`: access lists, security labels, an administrator's
/// notes. What the file system does not keep, or leaves to the system to set, is left out.
///
/// # Errors
/// An access list that cannot be kept; without it others could read what they must not, or not read
/// what they must.
pub fn keep_attributes(new: &File, old: &File) -> io::Result<()> {
    use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
    // The most that the kernel holds of names, and of one value (limits.h).
    const BYTES_MAX: usize = 64 * 1024;
    let mut names = vec![0_u8; BYTES_MAX];
    let Ok(len) = flistxattr(old, names.as_mut_slice()) else { return Ok(()) };
    let mut value = vec![0_u8; BYTES_MAX];
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let Ok(len) = fgetxattr(old, name, value.as_mut_slice()) else { continue };
        let set = fsetxattr(new, name, &value[..len], XattrFlags::empty());
        if name == b"system.posix_acl_access" {
            set?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident memory of this program's code, in KiB.
    fn code_kib() -> u64 {
        let program = std::env::current_exe().unwrap();
        let program = program.to_str().unwrap();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_code = false;
        let mut sum = 0;
        for line in maps.lines() {
            if let Some(resident) = line.strip_prefix("Rss:") {
                let kib = resident.trim().trim_end_matches(" kB");
                sum += if is_code { kib.parse::<u64>().unwrap() } else { 0 };
            } else if line.split_whitespace().count() >= 5 {
                is_code = line.contains(" r-xp ") && line.ends_with(program);
            }
        }
        sum
    }

    #[test]
    fn what_nothing_needs_any_more_is_not_mapped() {
        let before = code_kib();
        let_go_of_pages();
        let after = code_kib();
        assert!(after < before, "{before} KiB before, {after} KiB after");
    }

    #[test]
    fn a_stream_is_paced_by_bbr_only() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = TcpStream::from_std(stream);
        for (control, paced) in [("reno", false), ("bbr", true)] {
            match SockRef::from(&stream).set_tcp_congestion(control.as_bytes()) {
                // A kernel may be built without BBR; Reno is part of each.
                Err(error) if paced => eprintln!("skipped: {control}: {error}"),
                set => {
                    set.unwrap();
                    assert_eq!(is_paced(&stream), paced, "{control}");
                }
            }
        }
    }
}

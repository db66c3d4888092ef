//! What Unix systems share: descriptor limits, signals, the meaning of errors, who may read a file.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Signal, Standing};

/// Tells the service manager (systemd) how the process stands, if there is one that wants to know.
pub fn tell_manager(standing: Standing) {
    use sd_notify::NotifyState;
    let told = match standing {
        Standing::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Standing::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Standing::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Standing::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    // A manager that does not listen is no reason to do anything else.
    let _ = told;
}

/// How often the service manager wants to be told [`Standing::Alive`]; `None` where it does not.
pub fn manager_patience() -> Option<std::time::Duration> {
    sd_notify::watchdog_enabled()
}

/// Sockets that the service manager has bound for us (socket activation).
pub fn inherited_listeners() -> Vec<std::net::TcpListener> {
    let mut given = listenfd::ListenFd::from_env();
    (0..given.len()).filter_map(|index| given.take_tcp_listener(index).ok().flatten()).collect()
}

/// Lifts the soft limit of open descriptors to the hard one and returns what holds now; `None` where
/// there is no limit.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// The limit of open descriptors; `None` where there is none.
pub fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Descriptors that this process has open; `None` where the system does not list them.
pub fn open_descriptors() -> Option<u64> {
    let listing = ["/proc/self/fd", "/dev/fd"].iter().find_map(|list| std::fs::read_dir(list).ok());
    // The listing itself is one of them.
    listing.map(|listing| (listing.count() as u64).saturating_sub(1))
}

/// Whether this system tells who can read a file.
pub const TELLS_READERS: bool = true;

/// Whether others than its owner and its group can read or write a file.
pub fn is_readable_by_others(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o006 != 0
}

/// Whether others than its owner and its group can write a file.
pub fn is_writable_by_others(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o002 != 0
}

/// What the mode of a file lets its owner do, as in `0o6` to read and write; `None` where the owner is not
/// who runs this.
pub fn own_bits(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    is_ours.then(|| metadata.mode() >> 6 & 0o7)
}

/// Whether files can be made in a folder by who runs this.
pub fn may_write_in(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Whether no descriptor, no memory for one, or no place in a poll for it was to be had.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    // epoll_ctl(2) says ENOSPC at fs.epoll.max_user_watches.
    is_one_of(error, &[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC])
}

/// Whether the system lacks memory for what was asked; the connection is as it was.
pub fn is_out_of_memory(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::NOBUFS, Errno::NOMEM])
}

/// Whether accept(2) tells of the one connection that it was about to give: it has ended, or a
/// firewall forbids it. The next one may be there.
pub fn is_of_one_connection(error: &io::Error) -> bool {
    let own = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::TIMEDOUT,
        Errno::PERM,
    ];
    is_one_of(error, &own)
}

fn is_one_of(error: &io::Error, errors: &[Errno]) -> bool {
    errors.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Whether every local port towards that address is taken.
pub fn is_out_of_ports(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ADDRNOTAVAIL.raw_os_error())
}

/// Whether this system lacks an address family, or has no address of it.
pub fn lacks_family(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT])
}

/// Whether connect(2) goes on by itself.
pub fn is_connecting(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error())
}

/// Lets a port be bound whose last connections are in TIME_WAIT, as after a restart.
///
/// # Errors
/// As setsockopt(2).
pub fn reuse_address(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// The signals this process is sent, one after another.
#[derive(Debug)]
pub struct Signals {
    caught: signal_hook::iterator::Signals,
    /// Of those that came at once, the ones not told yet; the next one is the last.
    waiting: Vec<Signal>,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// Where the system refuses a handler.
    pub fn catch() -> io::Result<Signals> {
        let caught = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        Ok(Signals { caught, waiting: Vec::new() })
    }

    /// Waits for the next one. A stop goes before reloads that came with it: whoever sends hangups
    /// without a pause must not keep the process from ending.
    pub fn wait(&mut self) -> Signal {
        loop {
            if let Some(next) = self.waiting.pop() {
                return next;
            }
            let came = self.caught.wait();
            self.waiting.extend(came.map(|signal| match signal {
                SIGHUP => Signal::Reload,
                _ => Signal::Stop,
            }));
            self.waiting.sort_by_key(|signal| *signal == Signal::Stop);
        }
    }
}

/// A new file that only its owner can read or write.
///
/// # Errors
/// As open(2); there may be no such file yet.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// A file to append to, made where there is none. Waits for nobody: a named pipe must have its reader.
///
/// # Errors
/// As open(2).
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().append(true).create(true).custom_flags(nonblock).open(path);
    opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => {
            io::Error::new(io::ErrorKind::NotConnected, "it is a named pipe that nobody reads")
        }
        _ => error,
    })
}

/// Gives `new` the owner and group of `old`.
///
/// # Errors
/// As fchown(2): only root gives files away.
pub fn keep_owner(new: &File, old: &File) -> io::Result<()> {
    let (is, should) = (new.metadata()?, old.metadata()?);
    if (is.uid(), is.gid()) == (should.uid(), should.gid()) {
        return Ok(());
    }
    fchown(new, Some(should.uid()), Some(should.gid())).map_err(|error| {
        let (uid, gid) = (should.uid(), should.gid());
        let why = format!("the new file cannot have its owner {uid} and group {gid} ({error})");
        io::Error::new(error.kind(), why)
    })
}

/// Gives `new` the owner and group of `old`, and lets the group read it where `old` is for owner and
/// group alone: that group is who was meant. Nobody else can read it.
///
/// # Errors
/// As fchown(2) and fchmod(2).
pub fn keep_readers(new: &File, old: &File) -> io::Result<()> {
    keep_owner(new, old)?;
    let mode = old.metadata()?.permissions().mode();
    let group = if mode & 0o007 == 0 { mode & 0o040 } else { 0 };
    new.set_permissions(Permissions::from_mode(0o600 | group))
}

/// Gives `new` the owner, group, mode and, where the system has them, the access list and labels of
/// `old`.
///
/// # Errors
/// Where the system refuses.
pub fn keep_access(new: &File, old: &File) -> io::Result<()> {
    keep_owner(new, old)?;
    super::keep_attributes(new, old)?;
    // Last, as a new owner and a new access list change the mode.
    new.set_permissions(old.metadata()?.permissions())
}

/// Lets everyone read `file`, and its owner write it, whatever the umask is.
///
/// # Errors
/// As fchmod(2).
pub fn let_all_read(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o644))
}

/// Sees to the disk that a folder names the files that it names now.
///
/// # Errors
/// As fsync(2).
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

//! Windows: no descriptor limit, Ctrl-C instead of signals, Winsock's errors.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use super::{Signal, Standing};

const WSAEMFILE: i32 = 10024;
const WSAENETDOWN: i32 = 10050;
const WSAECONNABORTED: i32 = 10053;
const WSAECONNRESET: i32 = 10054;
const WSAENOBUFS: i32 = 10055;
const WSAEPROTONOSUPPORT: i32 = 10043;
const WSAEAFNOSUPPORT: i32 = 10047;
const WSAEADDRINUSE: i32 = 10048;
const WSAEADDRNOTAVAIL: i32 = 10049;

/// There is no such manager here.
pub fn tell_manager(_standing: Standing) {}

/// There is no such manager here.
pub fn manager_patience() -> Option<std::time::Duration> {
    None
}

/// No sockets are handed over here.
pub fn inherited_listeners() -> Vec<std::net::TcpListener> {
    Vec::new()
}

/// Windows has no limit of this kind.
pub fn raise_descriptor_limit() -> Option<u64> {
    None
}

/// Windows has no limit of this kind.
pub fn descriptor_limit() -> Option<u64> {
    None
}

/// Handles are more than sockets and files, and no limit stands beside them.
pub fn open_descriptors() -> Option<u64> {
    None
}

/// Whether this system tells who can read a file. Here a list of access rights would, that a file inherits
/// from its folder and that mode bits do not show; the folder of the configuration is to be closed to
/// others as a whole.
pub const TELLS_READERS: bool = false;

/// Not told here.
pub fn is_readable_by_others(_metadata: &std::fs::Metadata) -> bool {
    false
}

/// Not told here.
pub fn is_writable_by_others(_metadata: &std::fs::Metadata) -> bool {
    false
}

/// Not told here: there is a list of access rights instead of a mode.
pub fn own_bits(_metadata: &std::fs::Metadata) -> Option<u32> {
    None
}

/// Not told here: who may write is not in the attributes of a folder.
pub fn may_write_in(_folder: &Path) -> bool {
    true
}

/// Whether no socket, or no memory for one, was to be had.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEMFILE | WSAENOBUFS))
}

/// Whether the system lacks memory for what was asked; the connection is as it was.
pub fn is_out_of_memory(error: &io::Error) -> bool {
    error.raw_os_error() == Some(WSAENOBUFS)
}

/// Whether accept tells of the one connection that it was about to give: it has ended. The next one
/// may be there.
pub fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAECONNABORTED | WSAECONNRESET | WSAENETDOWN))
}

/// Whether every local port towards that address is taken.
pub fn is_out_of_ports(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEADDRINUSE | WSAEADDRNOTAVAIL))
}

/// Whether this system lacks an address family, or has no address of it.
pub fn lacks_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEPROTONOSUPPORT | WSAEAFNOSUPPORT | WSAEADDRNOTAVAIL))
}

/// Whether connect goes on by itself.
pub fn is_connecting(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Nothing to do: a port in TIME_WAIT is free here, and the option would let others take ours.
///
/// # Errors
/// None.
pub fn reuse_address(_socket: &socket2::Socket) -> io::Result<()> {
    Ok(())
}

/// Ctrl-C, Ctrl-Break and a closed console.
#[derive(Debug)]
pub struct Signals(Receiver<()>);

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// Where the system refuses a handler.
    pub fn catch() -> io::Result<Signals> {
        let (sender, receiver) = channel();
        ctrlc::set_handler(move || {
            // The receiver lives as long as the process; after that nobody waits.
            let _ = sender.send(());
        })
        .map_err(io::Error::other)?;
        Ok(Signals(receiver))
    }

    /// Waits for the next one.
    pub fn wait(&mut self) -> Signal {
        // An error means that the handler is gone, and with it every way to stop but this one.
        let _ = self.0.recv();
        Signal::Stop
    }
}

/// A new file. Who may read it is for the access list of the folder to say, which it inherits.
///
/// # Errors
/// As CreateFile; there may be no such file yet.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// A file to append to, made where there is none.
///
/// # Errors
/// As CreateFile.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Nothing to do: both files inherit owner and access list in the same folder.
///
/// # Errors
/// None.
pub fn keep_owner(_new: &File, _old: &File) -> io::Result<()> {
    Ok(())
}

/// As [`keep_owner`].
///
/// # Errors
/// None.
pub fn keep_readers(new: &File, old: &File) -> io::Result<()> {
    keep_owner(new, old)
}

/// As [`keep_owner`].
///
/// # Errors
/// None.
pub fn keep_access(new: &File, old: &File) -> io::Result<()> {
    keep_owner(new, old)
}

/// Nothing to do: the folder's access list holds.
///
/// # Errors
/// None.
pub fn let_all_read(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Nothing to do: NTFS writes names through its own journal.
///
/// # Errors
/// None.
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

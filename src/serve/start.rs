//! What a gateway is started with, and why it may not start.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::acceptor::Accepting;
use crate::config::schema::Config;
use crate::observe::events::Event;
use crate::observe::outlets::OutletError;

/// What a start needs.
pub struct Start {
    /// The configuration, with the flags in it.
    pub config: Config,
    /// Who takes connections.
    pub accepting: Accepting,
    /// What there is to say about the configuration, once events flow.
    pub notices: Vec<Event>,
    /// Reads the configuration again, with the flags in it.
    pub reread: Reread,
    /// The file that is followed for changes.
    pub file: PathBuf,
    /// There is such a file; else the configuration is the defaults.
    pub is_from_file: bool,
}

/// Reads the configuration again; every problem in words, with its place.
pub type Reread = Box<dyn FnMut() -> Result<Config, Vec<String>> + Send>;

/// Why a gateway did not start, or ended by itself.
#[derive(Debug)]
pub enum StartError {
    /// An address of `listen` cannot be bound. The configuration is wrong, or the port is taken.
    Bind(SocketAddr, io::Error),
    /// An address of `dial.source_addresses` is not one of this machine.
    Source(IpAddr, io::Error),
    /// The address of `admin.listen` cannot be bound.
    Admin(SocketAddr, io::Error),
    /// The outlet of `events.to` cannot be opened.
    Outlet(OutletError),
    /// The system gave no poll, no thread or no signal handler.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "{address} cannot be bound: {error}; another program listens there: stop it, or \
                 choose another address in `listen`"
            ),
            StartError::Bind(address, error) => {
                write!(f, "{address} cannot be bound: {error}; check `listen`")
            }
            StartError::Source(address, error) => write!(
                f,
                "{address} cannot be dialled from: {error}; name addresses of this machine in \
                 `dial.source_addresses`"
            ),
            StartError::Admin(address, error) => write!(
                f,
                "{address} cannot be bound: {error}; choose another address in `admin.listen`, or \
                 write \"\" there to do without health checks, metrics and status"
            ),
            StartError::Outlet(error) => error.fmt(f),
            StartError::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Whether every address of `dial.source_addresses` is one of this machine.
///
/// # Errors
/// The first that is not.
pub(super) fn check_sources(config: &Config) -> Result<(), StartError> {
    for &source in &config.source_addresses {
        // Port 0: any; the socket is closed at once.
        std::net::UdpSocket::bind((source, 0))
            .map_err(|error| StartError::Source(source, error))?;
    }
    Ok(())
}

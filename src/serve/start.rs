//! What a gateway is started with, and why it may not start.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::SystemTime;

use super::acceptor::Accepting;
use super::listeners::Prepared;
use super::supervisor::wall;
use crate::config::schema::Config;
use crate::logic::addresses;
use crate::logic::policy::AllowMode;
use crate::logic::reason::Reason;
use crate::net::sockets;
use crate::observe::events::Event;
use crate::observe::outlets::{Events, OutletError};
use crate::proto::target::Host;

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
    /// The keys of the file that flags beat.
    pub overrides: Vec<&'static str>,
}

/// Reads the configuration again; everything that is wrong with it.
pub type Reread = Box<dyn FnMut() -> Result<Config, Vec<Fault>> + Send>;

/// Why a configuration does not take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason of its event.
    pub reason: Reason,
    /// What is wrong, with its place.
    pub text: String,
}

impl Fault {
    /// A configuration that is wrong in this way.
    pub fn of(wrong: &dyn fmt::Display) -> Fault {
        Fault { reason: Reason::ConfigurationInvalid, text: wrong.to_string() }
    }
}

/// Why a gateway did not start, or ended by itself.
#[derive(Debug)]
pub enum StartError {
    /// An address of `listen` cannot be bound. The configuration is wrong, or the port is taken.
    Bind(SocketAddr, io::Error),
    /// An address of `dial.source_addresses` is not one of this machine.
    Source(IpAddr, io::Error),
    /// An address of `relay_proxy.addresses` is one that this gateway listens on.
    Loop(SocketAddr),
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
            StartError::Loop(address) => write!(
                f,
                "{address} is this gateway itself, which would send every request round for ever \
                 (loop); name the next proxy in `relay_proxy.addresses`"
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

/// What there is to shout about the mode in which hosts are allowed, at each start and reload.
pub fn of_mode(config: &Config, now: SystemTime) -> Option<Event> {
    let count = config.hosts.len();
    (config.allow_mode == AllowMode::Report)
        .then(|| Event::new(Reason::ReportMode, now).detail(format!("{count} are allowed")))
}

/// Shouts it.
pub(super) fn shout(config: &Config, events: &Events, now: SystemTime) {
    of_mode(config, now).into_iter().for_each(|event| events.send(event));
}

/// Whether the addresses to dial from are of this machine, and no relay proxy is one of those
/// `listening` here.
///
/// # Errors
/// The first that is wrong.
pub(super) fn check_addresses(config: &Config, listening: &[SocketAddr]) -> Result<(), StartError> {
    for &source in &config.source_addresses {
        // Port 0: any; the socket is closed at once.
        std::net::UdpSocket::bind((source, 0))
            .map_err(|error| StartError::Source(source, error))?;
    }
    for relay_proxy in &config.relay_proxy.addresses {
        // A name that leads back here is found out when it is dialled.
        let Host::Address(ip) = relay_proxy.host else { continue };
        let address = SocketAddr::new(ip, relay_proxy.port);
        let is_reached = listening.iter().any(|&own| addresses::reaches(address, own));
        if is_reached && sockets::is_own_address(ip) {
            return Err(StartError::Loop(address));
        }
    }
    Ok(())
}

/// Prints where the gateway is. Comes after the event that all is up: a client that reads this is later in the events, too.
pub(super) fn announce(addresses: &[SocketAddr], admin: Option<SocketAddr>) {
    let mut out = io::stdout().lock();
    for address in addresses {
        // Whoever started us without a standard output does not read it either.
        let _ = writeln!(out, "listening on {address}");
    }
    if let Some(address) = admin {
        let _ = writeln!(out, "admin on {address}");
    }
    let _ = out.flush();
}

/// Tells of addresses of a family that this machine lacks: they are no reason not to start.
pub(super) fn tell_skipped(prepared: &Prepared, events: &Events) {
    for (address, error) in &prepared.skipped {
        let event = Event::new(Reason::ListenSkipped, wall()).address(*address);
        events.send(event.detail(error.to_string()));
    }
}

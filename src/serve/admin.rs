//! The admin listener of a gateway, from outside: bound, started, and moved by a reload.

use std::net::{SocketAddr, TcpListener};

use super::start::StartError;
use crate::net::sockets;
use crate::observe::admin::{self, Admin, Panel};

/// A bound admin listener, or none.
pub(super) type NewAdmin = Option<(TcpListener, SocketAddr)>;

pub(super) fn bind(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let cannot = |error| StartError::Admin(wanted, error);
    let listener = sockets::bind(wanted, false, None).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok((listener, address))
}

pub(super) fn start(
    (listener, address): (TcpListener, SocketAddr),
    panel: &Panel,
) -> Result<(Admin, SocketAddr), StartError> {
    let admin = admin::start(listener, panel.clone())
        .map_err(|error| StartError::System("admin listener", error))?;
    Ok((admin, address))
}

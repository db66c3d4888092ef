//! What a load needs around it: descriptors enough, the endpoint, the gateway, and how TLS begins.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::endpoint::serve::{Endpoint, bind_loopback};
use crate::gateway::{self, Gateway};
use crate::loads::Load;
use crate::options::{self, TlsChoice};
use crate::platform;
use crate::secure::client::Offer;
use crate::secure::identity::{self, Identity, Version};

/// Why there is no report at all.
#[derive(Debug)]
pub enum Fault {
    /// What was asked for cannot be: exit code 2.
    Usage(String),
    /// Something failed before the load: exit code 1.
    Failed(String),
}

/// What the load needs around it.
pub struct Scene {
    /// The endpoint, where it is ours.
    pub endpoint: Option<Endpoint>,
    /// The gateway.
    pub gateway: Gateway,
    /// What tunnels lead to, as HOST:PORT.
    pub target: String,
    /// How each engine's handshakes begin.
    pub offer: Box<dyn Fn() -> Result<Offer, String>>,
}

impl Scene {
    /// Starts what has to be started for `load`.
    pub fn set(load: &Load) -> Result<Scene, Fault> {
        check_descriptors(load)?;
        let around = &load.around;
        let mut roots = Vec::new();
        let (endpoint, target) = match &around.target {
            Some(target) => (None, target.clone()),
            None => {
                let identity = Identity::generate().map_err(Fault::Failed)?;
                roots.extend(identity.authority().map(|authority| authority.der.clone()));
                let endpoint = start_endpoint(load, &identity).map_err(Fault::Failed)?;
                let port = endpoint.addresses().first().map_or(0, SocketAddr::port);
                (Some(endpoint), format!("localhost:{port}"))
            }
        };
        let host = host_of(&target).map_err(Fault::Usage)?;
        if let Some(file) = &around.ca {
            roots = identity::certificates(file).map_err(Fault::Usage)?;
        }
        let version = match load.tls {
            TlsChoice::Replay => None,
            TlsChoice::Tls12 => Some(Version::Tls12),
            TlsChoice::Tls13 => Some(Version::Tls13),
        };
        if version.is_some() && roots.is_empty() {
            let why = "--target with real TLS needs --ca FILE, the CA of the target's certificate";
            return Err(Fault::Usage(why.to_owned()));
        }
        let offer: Box<dyn Fn() -> Result<Offer, String>> = match version {
            None => Box::new(move || Ok(Offer::replay(&host))),
            Some(version) => {
                let config = identity::client_config(version, &roots).map_err(Fault::Usage)?;
                Box::new(move || Offer::tls(config.clone(), &host))
            }
        };
        // A name that no handshake can carry is told before anything is started for it.
        offer().map_err(Fault::Usage)?;
        let gateway = start_gateway(load, &target)?;
        Ok(Scene { endpoint, gateway, target, offer })
    }
}

fn check_descriptors(load: &Load) -> Result<(), Fault> {
    let limit = platform::raise_descriptor_limit()
        .map_err(|why| Fault::Failed(format!("the limit of descriptors is unknown: {why}")))?;
    let needed = load.descriptors();
    match limit {
        Some(limit) if limit < needed => Err(Fault::Usage(format!(
            "{} agents need {needed} descriptors and this process may have {limit}: raise the hard limit \
             (ulimit -Hn), lower --agents, or run `loadgen endpoint` as another process and name it with --target",
            load.agents
        ))),
        _ => Ok(()),
    }
}

fn start_endpoint(load: &Load, identity: &Identity) -> Result<Endpoint, String> {
    let failed = |why| format!("the endpoint cannot be started: {why}");
    let listeners = bind_loopback(load.around.endpoint_port).map_err(failed)?;
    let config = identity.server_config()?;
    Endpoint::start(&listeners, &config, usize::from(load.around.threads)).map_err(failed)
}

fn start_gateway(load: &Load, target: &str) -> Result<Gateway, Fault> {
    let around = &load.around;
    let Some(named) = &around.gateway else {
        let program = gateway::beside_this_program().map_err(Fault::Failed)?;
        let carrier = options::name(around.carrier);
        return Gateway::start(&program, target, &carrier).map_err(Fault::Failed);
    };
    let mut found = named
        .to_socket_addrs()
        .map_err(|why| Fault::Usage(format!("--gateway {named:?}: {why}: write HOST:PORT")))?;
    match found.next() {
        Some(address) => Ok(Gateway::Existing { address, pid: around.gateway_pid }),
        None => Err(Fault::Usage(format!("--gateway {named:?} has no address"))),
    }
}

fn host_of(target: &str) -> Result<String, String> {
    let wrong = || format!("--target {target:?} is not HOST:PORT");
    let (host, port) = target.rsplit_once(':').ok_or_else(wrong)?;
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = literal.unwrap_or(host);
    let is_plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(wrong());
    }
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_host_and_port() {
        for (target, host) in [
            ("localhost:443", Some("localhost")),
            ("[::1]:443", Some("::1")),
            ("10.0.0.1:1", Some("10.0.0.1")),
            ("localhost", None),
            (":443", None),
            ("a b:443", None),
            ("a:0", None),
            ("a:65536", None),
        ] {
            assert_eq!(host_of(target).ok().as_deref(), host, "{target:?}");
        }
    }
}

//! The ingestion endpoint alone, for loads that come from elsewhere.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::endpoint::serve::Endpoint;
use crate::options::EndpointOptions;
use crate::platform;
use crate::quantity::{show_count, show_size};
use crate::scene::Fault;
use crate::secure::identity::Identity;
use crate::show::print;

const TICK_MS: u64 = 100;

/// Serves until `interrupted`, then tells what came.
pub fn run(options: &EndpointOptions, interrupted: &AtomicBool) -> Result<(), Fault> {
    let failed = |why: std::io::Error| Fault::Failed(format!("{}: {why}", options.listen));
    let identity = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => Identity::load(cert, key).map_err(Fault::Usage)?,
        _ => Identity::generate().map_err(Fault::Failed)?,
    };
    if let (Some(file), Some(authority)) = (&options.ca_out, identity.authority()) {
        fs::write(file, &authority.pem)
            .map_err(|why| Fault::Failed(format!("{}: not written: {why}", file.display())))?;
    }
    let config = identity.server_config().map_err(Fault::Usage)?;
    platform::raise_descriptor_limit().map_err(failed)?;
    let listener = TcpListener::bind(options.listen).map_err(failed)?;
    let endpoint =
        Endpoint::start(&[listener], &config, usize::from(options.threads)).map_err(failed)?;
    for address in endpoint.addresses() {
        print(&format!("endpoint on {address}\n"));
    }
    while !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(TICK_MS));
    }
    let received = endpoint.stop().map_err(failed)?;
    if options.json {
        let json = serde_json::to_string(&received)
            .map_err(|why| Fault::Failed(format!("the counts cannot be written as JSON: {why}")))?;
        print(&format!("{json}\n"));
        return Ok(());
    }
    print(&format!(
        "{} uploads, {}, {} verified, {} with other bytes than were sent\n",
        show_count(received.received),
        show_size(received.bytes),
        show_count(received.verified),
        show_count(received.mismatched)
    ));
    Ok(())
}

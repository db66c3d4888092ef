//! The client library for the Logs Ingestion API, azure-monitor-ingestion, from its credential to the
//! answer of a data collection endpoint.

use serde_json::Value;

use crate::programs::{Endpoint, python};
use crate::support::gateway::{CARRIERS, SPLICE, Setup};
use crate::support::name_server::{Answer, NameServer};
use crate::support::namespace::within;
use crate::{PUBLIC, setup};

const SCRIPT: &str = include_str!("ingest.py");
const HOST: &str = "logs-4f2a.westeurope-1.ingest.monitor.azure.com";

#[test]
fn azure_monitor_ingestion_uploads_through_the_gateway() {
    within("ingestion::azure_monitor_ingestion_uploads_through_the_gateway", |_| {
        let _names = NameServer::start(|_, _| Answer::address(PUBLIC));
        for kind in CARRIERS {
            let endpoint = Endpoint::start(HOST);
            let gateway = setup(kind).start();
            let proxy = format!("http://{}", gateway.address());
            let url = format!("https://{HOST}");
            let certificate = endpoint.certificate().display().to_string();
            let ran = python(SCRIPT, &[&proxy, &url, &certificate]);
            let error = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{kind}: {error}");
            let sent: Value = serde_json::from_slice(&ran.stdout).unwrap();

            let (requests, bytes) = (&sent["requests"], sent["bytes"].as_u64().unwrap());
            assert!(bytes > 2_000_000, "{kind}: {sent}");
            let received = endpoint.stop();
            assert_eq!((&received["received"], &received["failed"]), (requests, &0.into()));
            assert_eq!(received["bytes"], bytes, "{kind}: {received}");
            let events = gateway.stop();
            let ended: Vec<_> =
                events.iter().filter(|event| event.reason() == "session_ended").collect();
            assert_eq!(ended.len(), 1, "{kind}: one tunnel for all requests: {ended:?}");
            assert_eq!(ended[0].text("target"), format!("{HOST}:443"), "{kind}");
            assert!(ended[0].number("bytes_up") > bytes, "{kind}: {ended:?}");
        }
    });
}

/// All that a program sees of a refusal is its reason phrase.
#[test]
fn azure_monitor_ingestion_shows_why_it_was_refused() {
    let gateway = Setup::new(SPLICE).host("other.example").start();
    let proxy = format!("http://{}", gateway.address());
    let trusted = "/dev/null";
    let ran = python(SCRIPT, &[&proxy, &format!("https://{HOST}"), trusted]);
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success(), "a host that is not allowed");
    assert!(error.contains("403 Target host is forbidden by the gateway"), "{error}");
    let events = gateway.stop();
    let refused = events.iter().find(|event| event.id() == 105).unwrap();
    assert_eq!(
        refused.text("message").split(" is ").next(),
        Some(&*format!("Target host ({HOST})"))
    );
}

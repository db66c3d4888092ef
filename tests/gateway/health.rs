//! `GET /healthz` on the proxy port, for load balancers.

use crate::support::gateway::{KINDS, Setup};
use crate::support::peer::CUTS;
use crate::support::reply::Reply;

#[test]
fn a_health_check_is_answered_and_leaves_no_event() {
    for kind in KINDS {
        let gateway = Setup::new(kind).start();
        for head in [
            "GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nUser-Agent: Load Balancer\r\n\r\n",
            "GET /healthz HTTP/1.0\r\n\r\n",
        ] {
            for cut in CUTS {
                let mut client = gateway.connect();
                client.send_cut(head.as_bytes(), cut);
                let reply = Reply::read(&mut client);
                assert_eq!((reply.status, reply.body.as_str()), (200, "ok\n"), "{kind}, {cut:?}");
                assert_eq!(reply.header("Connection"), "close");
                assert_eq!(reply.header("Content-Length"), "3");
            }
        }
        let events = gateway.stop();
        let told = events.iter().filter(|event| event.has("client"));
        assert_eq!(told.count(), 0, "{kind}");
    }
}

//! Sections B8 to B10 as data: hosts that are listed, and refused for what their address is.

use crate::bench::Vector;

/// A host that is listed, and is refused all the same for its address.
#[derive(Clone, Copy, Debug)]
pub struct Special {
    /// Row of the catalogue.
    pub row: &'static str,
    /// The host as it is listed and asked for.
    pub host: &'static str,
    /// What the event calls its address.
    pub kind: &'static str,
}

impl Vector for Special {
    fn refused(&self) -> Option<(u64, &'static str)> {
        Some((105, "address_not_allowed"))
    }

    fn shown(&self) -> String {
        format!("{}: {}", self.row, self.host)
    }
}

const fn special(row: &'static str, host: &'static str, kind: &'static str) -> Special {
    Special { row, host, kind }
}

/// Hosts with special-purpose addresses.
pub const SPECIAL: &[Special] = &[
    special("B10", "localhost", "loopback"),
    special("B8", "127.0.0.1", "loopback"),
    special("B8", "127.255.255.254", "loopback"),
    special("B8", "0.0.0.0", "unspecified"),
    special("B8", "0.1.2.3", "this-network"),
    special("B8", "10.0.0.1", "private"),
    special("B8", "172.16.0.1", "private"),
    special("B8", "172.31.255.255", "private"),
    special("B8", "192.168.1.1", "private"),
    special("B8", "100.64.0.1", "CGNAT"),
    special("B8", "169.254.1.1", "link-local"),
    special("B8", "169.254.169.254", "cloud metadata"),
    special("B8", "169.254.170.2", "cloud metadata"),
    special("B8", "168.63.129.16", "cloud metadata"),
    special("B8", "100.100.100.200", "cloud metadata"),
    special("B8", "192.0.0.192", "cloud metadata"),
    special("B8", "192.0.2.1", "documentation"),
    special("B8", "198.51.100.1", "documentation"),
    special("B8", "203.0.113.1", "documentation"),
    special("B8", "192.88.99.1", "6to4 relay"),
    special("B8", "198.18.0.1", "benchmarking"),
    special("B8", "224.0.0.1", "multicast"),
    special("B8", "255.255.255.255", "broadcast"),
    special("B8", "240.0.0.1", "reserved"),
    special("B9", "[::1]", "loopback"),
    special("B9", "[::]", "unspecified"),
    special("B9", "[::ffff:127.0.0.1]", "loopback"),
    special("B9", "[::ffff:10.0.0.1]", "private"),
    special("B9", "[::ffff:a9fe:a9fe]", "cloud metadata"),
    special("B9", "[64:ff9b::a9fe:a9fe]", "cloud metadata"),
    special("B9", "[64:ff9b::7f00:1]", "loopback"),
    special("B9", "[64:ff9b:1::7f00:1]", "local translation"),
    special("B9", "[2002:7f00:1::]", "6to4"),
    special("B9", "[2002:a9fe:a9fe::]", "6to4"),
    special("B9", "[2001:0:102:304::80ff:fffe]", "Teredo"),
    special("B9", "[2001:0:7f00:1::]", "Teredo"),
    special("B9", "[::7f00:1]", "IPv4-compatible"),
    special("B9", "[2606:4700::5efe:7f00:1]", "loopback"),
    special("B9", "[fe80::1]", "link-local"),
    special("B9", "[fec0::1]", "site-local"),
    special("B9", "[fd00::1]", "private"),
    special("B9", "[fd00:ec2::254]", "cloud metadata"),
    special("B9", "[ff02::1]", "multicast"),
    special("B9", "[100::1]", "discard-only"),
    special("B9", "[2001:db8::1]", "documentation"),
    special("B9", "[3fff::1]", "documentation"),
    special("B9", "[5f00::1]", "segment-routing"),
    special("B9", "[4000::1]", "reserved"),
];

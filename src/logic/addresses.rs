//! Which addresses may be dialled: those of the public internet, and of the special-purpose ranges
//! only what the operator listed. The ranges are the IANA registries of RFC 6890 and its successors,
//! and what clouds serve to their machines; an IPv6 address that carries an IPv4 address is judged by both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// The judge of addresses, with the blocks that are admitted after all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    allowed: Vec<IpNet>,
}

impl Addresses {
    /// `allowed` are the blocks of `allow.addresses`. Blocks within `::ffff:0:0/96` mean their IPv4 block.
    pub fn new(allowed: Vec<IpNet>) -> Addresses {
        Addresses { allowed: allowed.into_iter().map(canonical_net).collect() }
    }

    /// Whether `address` may be dialled; otherwise which kind of address it is.
    ///
    /// A block admits what lies in it, with two exceptions: the unspecified address is this host by
    /// another name and is never admitted, and a metadata address, which hands out credentials, only
    /// by a block of that one address.
    pub fn judge(&self, address: IpAddr) -> Result<(), &'static str> {
        let address = canonical(address);
        self.judge_one(address, &[address], |kind| kind.plain)?;
        if let IpAddr::V6(v6) = address {
            for v4 in embedded(v6).into_iter().flatten() {
                self.judge_one(IpAddr::V4(v4), &[address, IpAddr::V4(v4)], |kind| kind.embedded)?;
            }
        }
        Ok(())
    }

    /// Judges `address`, which the operator may have listed under any of `spellings`.
    fn judge_one(
        &self,
        address: IpAddr,
        spellings: &[IpAddr],
        describe: fn(&Kind) -> &'static str,
    ) -> Result<(), &'static str> {
        let Some(kind) = kind_of(address) else { return Ok(()) };
        let admits = |net: &IpNet, spelling: &IpAddr| match kind.admission {
            Admission::Never => false,
            Admission::Named => net.addr() == *spelling && net.prefix_len() == net.max_prefix_len(),
            Admission::Listed => net.contains(spelling),
        };
        let admitted =
            self.allowed.iter().any(|net| spellings.iter().any(|spelling| admits(net, spelling)));
        if admitted { Ok(()) } else { Err(describe(kind)) }
    }
}

/// The address as the network sees it: an IPv4-mapped IPv6 address (`::ffff:0:0/96`) is IPv4.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn canonical_net(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(v4), Some(len)) if matches!(net, IpNet::V6(_)) => {
            Ipv4Net::new(v4, len).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

/// The range that `address` lies in, where it is not the public internet.
fn kind_of(address: IpAddr) -> Option<&'static Kind> {
    match address {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            V4_RANGES
                .iter()
                .find(|range| (bits ^ range.base.to_bits()) >> (32 - range.len) == 0)
                .map(|range| &range.kind)
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            let special = V6_RANGES
                .iter()
                .find(|range| (bits ^ range.base.to_bits()) >> (128 - range.len) == 0);
            special.map(|range| &range.kind).or_else(|| is_unallocated(bits).then_some(&RESERVED))
        }
    }
}

/// Only 2000::/3 has been given to the internet, and 64:ff9b::/96 is the way from there to IPv4.
fn is_unallocated(bits: u128) -> bool {
    bits >> 125 != 1 && bits >> 32 != 0x0064_ff9b_u128 << 64
}

/// The IPv4 addresses that `address` could be turned into by a translator or a tunnel on the way.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 =
        |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        // RFC 4291 section 2.5.5.1 (compatible; ::1 and :: are none), RFC 2765 (translated), RFC 6052 (NAT64).
        [0, 0, 0, 0, 0, 0] if g != 0 || h > 1 => [v4(g, h), None],
        [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => [v4(g, h), None],
        // RFC 8215: the prefix in use may be the /48 itself, the address around a byte of zeros, or a /96
        // in it. Where one reading is all zeros, that is the padding of the other.
        [0x64, 0xff9b, 1, ..] => [v4(g, h), v4(d, e << 8 | f >> 8)]
            .map(|reading| reading.filter(|v4| !v4.is_unspecified())),
        // RFC 3056 (6to4), RFC 4380 (Teredo: the server, and the client turned over).
        [0x2002, ..] => [v4(b, c), None],
        [0x2001, 0, ..] => [v4(c, d), v4(!g, !h)],
        // RFC 5214 (ISATAP), behind any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe] => [v4(g, h), None],
        _ => [None, None],
    }
}

struct Range<A> {
    base: A,
    len: u32,
    kind: Kind,
}

struct Kind {
    plain: &'static str,
    embedded: &'static str,
    admission: Admission,
}

#[derive(Clone, Copy)]
enum Admission {
    /// By no block.
    Never,
    /// By a block of this one address.
    Named,
    /// By any block it lies in.
    Listed,
}

macro_rules! kind {
    ($name:literal, $admission:ident) => {
        Kind {
            plain: $name,
            embedded: concat!("IPv4-embedding of ", $name),
            admission: Admission::$admission,
        }
    };
}

const fn v4(base: [u8; 4], len: u32, kind: Kind) -> Range<Ipv4Addr> {
    let [a, b, c, d] = base;
    Range { base: Ipv4Addr::new(a, b, c, d), len, kind }
}

const fn v6(base: [u16; 8], len: u32, kind: Kind) -> Range<Ipv6Addr> {
    let [a, b, c, d, e, f, g, h] = base;
    Range { base: Ipv6Addr::new(a, b, c, d, e, f, g, h), len, kind }
}

static RESERVED: Kind = kind!("reserved", Listed);

/// The first that matches counts: single addresses before the blocks around them.
static V4_RANGES: [Range<Ipv4Addr>; 24] = [
    // The links below every cloud machine: AWS, Azure, Google, Oracle and others; AWS containers (two);
    // Scaleway; Alibaba; the wire server of Azure, in a public block; Oracle's older one.
    v4([169, 254, 169, 254], 32, kind!("cloud metadata", Named)),
    v4([169, 254, 170, 2], 32, kind!("cloud metadata", Named)),
    v4([169, 254, 170, 23], 32, kind!("cloud metadata", Named)),
    v4([169, 254, 42, 42], 32, kind!("cloud metadata", Named)),
    v4([100, 100, 100, 200], 32, kind!("cloud metadata", Named)),
    v4([168, 63, 129, 16], 32, kind!("cloud metadata", Named)),
    v4([192, 0, 0, 192], 32, kind!("cloud metadata", Named)),
    v4([0, 0, 0, 0], 32, kind!("unspecified", Never)),
    v4([0, 0, 0, 0], 8, kind!("this-network", Listed)),
    v4([10, 0, 0, 0], 8, kind!("private", Listed)),
    v4([100, 64, 0, 0], 10, kind!("shared (CGNAT)", Listed)),
    v4([127, 0, 0, 0], 8, kind!("loopback", Listed)),
    v4([169, 254, 0, 0], 16, kind!("link-local", Listed)),
    v4([172, 16, 0, 0], 12, kind!("private", Listed)),
    // Two anycast addresses in it (RFC 7723, RFC 8155) are global, but no host of anybody.
    v4([192, 0, 0, 0], 24, kind!("protocol-assignment", Listed)),
    v4([192, 0, 2, 0], 24, kind!("documentation", Listed)),
    v4([192, 88, 99, 0], 24, kind!("6to4 relay", Listed)),
    v4([192, 168, 0, 0], 16, kind!("private", Listed)),
    v4([198, 18, 0, 0], 15, kind!("benchmarking", Listed)),
    v4([198, 51, 100, 0], 24, kind!("documentation", Listed)),
    v4([203, 0, 113, 0], 24, kind!("documentation", Listed)),
    v4([224, 0, 0, 0], 4, kind!("multicast", Listed)),
    v4([255, 255, 255, 255], 32, kind!("broadcast", Listed)),
    v4([240, 0, 0, 0], 4, kind!("reserved", Listed)),
];

/// As [`V4_RANGES`]. What lies outside 2000::/3 and is not named here is reserved.
static V6_RANGES: [Range<Ipv6Addr>; 20] = [
    // AWS (two), Google, Scaleway.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, kind!("cloud metadata", Named)),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, kind!("cloud metadata", Named)),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, kind!("cloud metadata", Named)),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, kind!("cloud metadata", Named)),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, kind!("unspecified", Never)),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, kind!("loopback", Listed)),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, kind!("IPv4-compatible", Listed)),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, kind!("local translation (NAT64)", Listed)),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, kind!("discard-only", Listed)),
    // 2001::/23 is for protocols; what is global in it are anycast addresses and relays, no hosts,
    // except for the identifiers of 2001:20::/28 and 2001:30::/28, which are not routed either.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, kind!("Teredo", Listed)),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, kind!("benchmarking", Listed)),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, kind!("protocol-assignment", Listed)),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, kind!("documentation", Listed)),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, kind!("6to4", Listed)),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, kind!("documentation", Listed)),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, kind!("segment-routing", Listed)),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, kind!("private (unique local)", Listed)),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, kind!("link-local", Listed)),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, kind!("private (site-local)", Listed)),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, kind!("multicast", Listed)),
];

/// Whether a connection to `address` could come to a listener that is bound to `own`.
pub fn reaches(address: SocketAddr, own: SocketAddr) -> bool {
    own.port() == address.port() && (own.ip() == address.ip() || own.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn judge(allowed: &[&str], text: &str) -> Result<(), &'static str> {
        Addresses::new(allowed.iter().map(|net| net.parse().unwrap()).collect())
            .judge(address(text))
    }

    /// First and last address of a range, the addresses just outside, and what the range is called.
    #[test]
    fn ranges_end_where_the_registries_say() {
        let rows = [
            ("0.0.0.1", "0.255.255.255", None, Some("1.0.0.0"), "this-network"),
            ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0"), "private"),
            (
                "100.64.0.0",
                "100.127.255.255",
                Some("100.63.255.255"),
                Some("100.128.0.0"),
                "shared (CGNAT)",
            ),
            (
                "127.0.0.0",
                "127.255.255.255",
                Some("126.255.255.255"),
                Some("128.0.0.0"),
                "loopback",
            ),
            (
                "169.254.0.0",
                "169.254.255.255",
                Some("169.253.255.255"),
                Some("169.255.0.0"),
                "link-local",
            ),
            ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0"), "private"),
            (
                "192.0.0.0",
                "192.0.0.255",
                Some("191.255.255.255"),
                Some("192.0.1.0"),
                "protocol-assignment",
            ),
            ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0"), "documentation"),
            (
                "192.88.99.0",
                "192.88.99.255",
                Some("192.88.98.255"),
                Some("192.88.100.0"),
                "6to4 relay",
            ),
            (
                "192.168.0.0",
                "192.168.255.255",
                Some("192.167.255.255"),
                Some("192.169.0.0"),
                "private",
            ),
            (
                "198.18.0.0",
                "198.19.255.255",
                Some("198.17.255.255"),
                Some("198.20.0.0"),
                "benchmarking",
            ),
            (
                "198.51.100.0",
                "198.51.100.255",
                Some("198.51.99.255"),
                Some("198.51.101.0"),
                "documentation",
            ),
            (
                "203.0.113.0",
                "203.0.113.255",
                Some("203.0.112.255"),
                Some("203.0.114.0"),
                "documentation",
            ),
            ("224.0.0.0", "239.255.255.255", Some("223.255.255.255"), None, "multicast"),
            ("240.0.0.0", "255.255.255.254", None, None, "reserved"),
            ("255.255.255.255", "255.255.255.255", None, None, "broadcast"),
            (
                "168.63.129.16",
                "168.63.129.16",
                Some("168.63.129.15"),
                Some("168.63.129.17"),
                "cloud metadata",
            ),
            ("::1", "::1", None, None, "loopback"),
            ("::2:0", "::ffff:ffff", None, None, "IPv4-compatible"),
            (
                "64:ff9b:1::800:0",
                "64:ff9b:1:808:808:808:808:808",
                None,
                None,
                "local translation (NAT64)",
            ),
            ("100::", "100::ffff:ffff:ffff:ffff", None, None, "discard-only"),
            (
                "2001:0:808:808::f7f7:f7f7",
                "2001:0:808:808:ffff:ffff:f7f7:f7f7",
                Some("2000:ffff::"),
                None,
                "Teredo",
            ),
            ("2001:1::", "2001:1ff:ffff::", None, Some("2001:200::"), "protocol-assignment"),
            ("2001:2::", "2001:2:0:ffff::", None, None, "benchmarking"),
            (
                "2001:db8::",
                "2001:db8:ffff::1",
                Some("2001:db7:ffff::"),
                Some("2001:db9::"),
                "documentation",
            ),
            ("2002:808:808::", "2002:dfff:ffff::1", Some("2001:ffff::"), Some("2003::"), "6to4"),
            (
                "3fff::",
                "3fff:fff:ffff::",
                Some("3ffe:ffff::"),
                Some("3fff:1000::"),
                "documentation",
            ),
            ("5f00::", "5f00:ffff::", None, None, "segment-routing"),
            ("fc00::", "fdff:ffff::", None, None, "private (unique local)"),
            ("fe80::", "febf:ffff::", None, None, "link-local"),
            ("fec0::", "feff:ffff::", None, None, "private (site-local)"),
            ("ff00::", "ffff:ffff::", None, None, "multicast"),
            ("::1:0:0:0", "64:ff9a:ffff::", None, None, "reserved"),
            ("64:ff9b:0:0:0:1::", "64:ff9b:0:ffff::", None, None, "reserved"),
            ("4000::", "5eff:ffff::", Some("3fff:ffff:ffff::"), None, "reserved"),
            ("5f01::", "fbff:ffff::", None, None, "reserved"),
        ];
        for (first, last, before, after, kind) in rows {
            for inside in [first, last] {
                assert_eq!(judge(&[], inside), Err(kind), "{inside}");
                let bits = if inside.contains(':') { 128 } else { 32 };
                assert_eq!(judge(&[&format!("{inside}/{bits}")], inside), Ok(()), "{inside}");
            }
            for outside in [before, after].into_iter().flatten() {
                assert_eq!(judge(&[], outside), Ok(()), "{outside}");
            }
        }
    }

    #[test]
    fn the_public_internet_needs_no_listing() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "20.36.0.1",
            "2606:4700::1111",
            "2a00::1",
            "64:ff9b::808:808",
            "2001:4860::8888",
        ] {
            assert_eq!(judge(&[], text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_metadata_address_must_be_named_itself() {
        let rows = [
            (
                "169.254.169.254",
                "169.254.169.254/32",
                ["169.254.0.0/16", "169.254.169.254/31", "0.0.0.0/0"],
            ),
            (
                "169.254.170.2",
                "169.254.170.2/32",
                ["169.254.0.0/16", "169.254.170.2/31", "0.0.0.0/0"],
            ),
            (
                "100.100.100.200",
                "100.100.100.200/32",
                ["100.64.0.0/10", "100.100.100.200/31", "0.0.0.0/0"],
            ),
            (
                "168.63.129.16",
                "168.63.129.16/32",
                ["168.63.129.0/24", "168.63.129.16/31", "0.0.0.0/0"],
            ),
            ("fd00:ec2::254", "fd00:ec2::254/128", ["fd00::/8", "fd00:ec2::254/127", "::/0"]),
            ("fd20:ce::254", "fd20:ce::254/128", ["fc00::/7", "fd20:ce::254/127", "::/0"]),
            (
                "::ffff:169.254.169.254",
                "169.254.169.254/32",
                ["169.254.0.0/16", "::ffff:0:0/96", "::/0"],
            ),
            (
                "::ffff:169.254.169.254",
                "::ffff:169.254.169.254/128",
                ["::ffff:169.254.169.254/127", "::/0", "0.0.0.0/0"],
            ),
        ];
        for (text, exact, wider) in rows {
            assert_eq!(judge(&[], text), Err("cloud metadata"), "{text}");
            assert_eq!(judge(&wider, text), Err("cloud metadata"), "{text}");
            assert_eq!(judge(&[exact], text), Ok(()), "{text}");
        }
    }

    #[test]
    fn an_embedded_address_is_judged_too() {
        let metadata = "IPv4-embedding of cloud metadata";
        let rows: [(&str, &[&str], Result<(), &str>); 29] = [
            ("64:ff9b::a9fe:a9fe", &[], Err(metadata)),
            ("64:ff9b::a9fe:a9fe", &["64:ff9b::/96", "169.254.0.0/16"], Err(metadata)),
            ("64:ff9b::a9fe:a9fe", &["169.254.169.254/32"], Ok(())),
            ("64:ff9b::a9fe:a9fe", &["64:ff9b::a9fe:a9fe/128"], Ok(())),
            ("64:ff9b::7f00:1", &[], Err("IPv4-embedding of loopback")),
            ("64:ff9b::7f00:1", &["127.0.0.0/8"], Ok(())),
            ("64:ff9b::7f00:1", &["64:ff9b::/96"], Ok(())),
            ("64:ff9b::", &["64:ff9b::/96", "0.0.0.0/0"], Err("IPv4-embedding of unspecified")),
            ("2002:7f00:1::", &[], Err("6to4")),
            ("2002:7f00:1::", &["2002::/16"], Ok(())),
            ("2002:a9fe:a9fe::", &["2002::/16"], Err(metadata)),
            ("2002:a9fe:a9fe::", &["2002::/16", "169.254.169.254/32"], Ok(())),
            ("::a9fe:a9fe", &["::/0"], Err(metadata)),
            ("::7f00:1", &[], Err("IPv4-compatible")),
            ("::808:808", &[], Err("IPv4-compatible")),
            ("2001:0:808:808:0:0:5601:5601", &["2001::/32"], Err(metadata)),
            ("2001:0:a9fe:a9fe:0:0:f7f7:f7f7", &["2001::/32"], Err(metadata)),
            ("2001:0:808:808:0:0:f7f7:f7f7", &["2001::/32"], Ok(())),
            ("64:ff9b:1::a9fe:a9fe", &["64:ff9b:1::/48"], Err(metadata)),
            ("64:ff9b:1:a9fe:a9:fe00::", &["64:ff9b:1::/48"], Err(metadata)),
            ("64:ff9b:1::808:808", &["64:ff9b:1::/48"], Ok(())),
            ("64:ff9b:1:5::808:808", &["64:ff9b:1::/48"], Ok(())),
            ("64:ff9b:1:808:8:800::", &["64:ff9b:1::/48"], Ok(())),
            ("2606:4700::5efe:a9fe:a9fe", &[], Err(metadata)),
            ("2606:4700::200:5efe:a00:1", &[], Err("IPv4-embedding of private")),
            ("2606:4700::200:5efe:a00:1", &["10.0.0.0/8"], Ok(())),
            ("2606:4700::200:5efe:808:808", &[], Ok(())),
            ("::ffff:0:a9fe:a9fe", &["::/0"], Err(metadata)),
            ("::ffff:a00:1", &["10.0.0.0/8"], Ok(())),
        ];
        for (text, allowed, expected) in rows {
            assert_eq!(judge(allowed, text), expected, "{text} with {allowed:?}");
        }
    }

    #[test]
    fn the_unspecified_address_is_never_admitted() {
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(
                judge(&["0.0.0.0/0", "::/0", "0.0.0.0/32", "::/128"], text),
                Err("unspecified"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_listed_block_admits_what_is_in_it_and_no_more() {
        let allowed = ["10.1.0.0/16", "fd12:3456::/32", "::ffff:192.168.0.0/120"];
        for text in ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "fd12:3456::1", "192.168.0.255"]
        {
            assert_eq!(judge(&allowed, text), Ok(()), "{text}");
        }
        for text in ["10.0.255.255", "10.2.0.0", "127.0.0.1", "fd12:3457::", "192.168.1.0", "::1"] {
            assert!(judge(&allowed, text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_mapped_address_changes_by_becoming_canonical() {
        assert_eq!(canonical(address("::ffff:10.0.0.1")), address("10.0.0.1"));
        for text in ["10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "2001:db8::1"] {
            assert_eq!(canonical(address(text)), address(text));
        }
    }

    proptest! {
        /// However an IPv4 address is dressed up, it is not easier to reach than plain.
        #[test]
        fn no_embedding_reaches_more_than_the_address_itself(v4: Ipv4Addr, filler: u16) {
            let addresses = Addresses::default();
            let [g, h] = [(v4.to_bits() >> 16) as u16, v4.to_bits() as u16];
            let dressed = [
                [0, 0, 0, 0, 0, 0xffff, g, h],
                [0, 0, 0, 0, 0, 0, g, h],
                [0x64, 0xff9b, 0, 0, 0, 0, g, h],
                [0x64, 0xff9b, 1, filler, 0, 0, g, h],
                [0x2002, g, h, filler, 0, 0, 0, 1],
                [0x2001, 0, 0x808, 0x808, 0, filler, !g, !h],
                [0x2606, 0x4700, filler, 0, 0x200, 0x5efe, g, h],
            ];
            if addresses.judge(v4.into()).is_err() {
                for segments in dressed {
                    let v6 = Ipv6Addr::from(segments);
                    prop_assert!(addresses.judge(v6.into()).is_err(), "{}", v6);
                }
            }
        }
    }
}

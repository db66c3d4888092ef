//! Section B as data: targets that are not the allowed one, however they are spelled. `@` at the end
//! stands for the port of a server on loopback whose name is allowed.

use crate::bench::Vector;
use crate::support::reply::Refused;

const TARGET: Refused = Refused { status: 400, event: 104, reason: "malformed_target" };
const HEAD: Refused = Refused { status: 400, event: 104, reason: "malformed_head" };
const VERSION: Refused = Refused { status: 400, event: 104, reason: "unsupported_version" };
const HOST: Refused = Refused { status: 403, event: 105, reason: "host_not_allowed" };
const PORT: Refused = Refused { status: 403, event: 105, reason: "port_not_allowed" };

/// The patterns besides `localhost:@` that are allowed here.
pub const PATTERNS: [&str; 2] = ["*.ods.example.com", "azgn*.servicebus.example.org"];

/// A target that is refused.
#[derive(Clone, Debug)]
pub struct BadTarget {
    /// Row of the catalogue.
    pub row: &'static str,
    text: Vec<u8>,
    /// How it is refused.
    pub refused: Refused,
}

impl BadTarget {
    /// The target as it is asked for.
    pub fn at(&self, port: u16) -> Vec<u8> {
        at_port(&self.text, port)
    }
}

/// `@` at the end replaced by a port.
pub fn at_port(target: &[u8], port: u16) -> Vec<u8> {
    match target.strip_suffix(b":@") {
        Some(host) => [host, b":", port.to_string().as_bytes()].concat(),
        None => target.to_vec(),
    }
}

impl Vector for BadTarget {
    fn refused(&self) -> Option<(u64, &'static str)> {
        Some((self.refused.event, self.refused.reason))
    }

    fn shown(&self) -> String {
        format!("{}: {}", self.row, self.text.escape_ascii())
    }
}

/// Targets by row and by how they are refused.
const BAD: &[(&str, Refused, &[&[u8]])] = &[
    (
        "B1",
        TARGET,
        &[
            b"localhost..:@",
            b".localhost:@",
            b"local..host:@",
            b".:@",
            b"..:@",
            b"-localhost:@",
            b"localhost-:@",
        ],
    ),
    ("B1", HOST, &[b"local_host:@", b"localhost.localdomain:@", b"LOCALHOST.EXAMPLE.:@"]),
    (
        "B2",
        TARGET,
        &[
            b"[localhost]:@",
            b"[[localhost]]:@",
            b"[localhost.]:@",
            b"[::1]",
            b"::1:@",
            b"[::1:@",
            b"::1]:@",
            b"[]:@",
            b"[:]:@",
            b"[::1]x:@",
            b"[::1]]:@",
            b"[[::1]]:@",
            b"]::1[:@",
            b"local[host]:@",
            b"[127.0.0.1]:@",
            b"[::g]:@",
            b"[1:2:3:4:5:6:7:8:9]:@",
            b"[::ffff:127.1]:@",
            b"[v1.fe80::a]:@",
            b"[::1]:",
            b"[::1]:0",
            b"[fe80::1%25eth0]:@",
            b"[fe80::1%eth0]:@",
            b"[::1%lo]:@",
        ],
    ),
    ("B2", HOST, &[b"[::1]:@", b"[0:0:0:0:0:0:0:1]:@", b"[::]:@"]),
    (
        "B3",
        HEAD,
        &[
            b"evil.example\0.localhost:@",
            b"localhost\0:@",
            b"localhost\0.evil.example:@",
            b"\0localhost:@",
            b"127.0.0.1\0.localhost:@",
            b"localhost:\x00443",
            b"a\0.ods.example.com:443",
            b"localhost\t:@",
            b"localhost\r:@",
            b"localhost\x7f:@",
            b"localhost\x1b[0m:@",
            b"localhost\x08:@",
        ],
    ),
    ("B3", VERSION, &[b"localhost\n:@"]),
    (
        "B4",
        TARGET,
        &[
            b"evil.example%00.localhost:@",
            b"localhost%2e:@",
            b"evil%23.localhost:@",
            b"localhost%0d%0a:@",
            b"%6cocalhost:@",
            b"localhost%:@",
            b"localhost%3a443",
            b"localhost%40evil.example:@",
            b"a%2eods.example.com:443",
            b"localhost%ef%bc%8e:@",
            b"127.0.0.1%00:@",
        ],
    ),
    (
        "B5",
        TARGET,
        &[
            b"localhost@evil.example:443",
            b"user:pw@localhost:443",
            b"localhost:443@evil.example:443",
            b"@localhost:443",
            b"user@[::1]:443",
            b"a.ods.example.com:x@127.0.0.1:443",
        ],
    ),
    (
        "B6",
        TARGET,
        &[
            b"http://localhost:443",
            b"https://localhost:443/",
            b"HTTPS://localhost:443",
            b"//localhost:443",
            b"ftp://localhost:443",
            b"unix:/run/docker.sock",
            b"file:///etc/passwd",
            b"/etc/passwd",
            b"/",
            b"*",
            b"localhost",
            b"localhost:",
            b":@",
            b":",
            b"localhost:443:443",
            b"localhost::443",
            b"localhost:443/",
            b"localhost:443/path",
            b"localhost:443?x",
            b"localhost:443#x",
            b"localhost/:443",
            b"localhost#:@",
            b"localhost?:@",
            b"local\\host:@",
            b"\\\\localhost:443",
            b"localhost,other:@",
            b"localhost;x:@",
            b"*:@",
            b"(localhost):@",
            b"<localhost>:@",
            b"{localhost}:@",
            b"\"localhost\":@",
            b"'localhost':@",
            b"localhost|x:@",
            b"$localhost:@",
            b"~localhost:@",
            b"local&host:@",
            b"local=host:@",
            b"local!host:@",
            b"local+host:@",
            b"local`host:@",
            b"local^host:@",
        ],
    ),
    ("B6", HEAD, &[b"localhost: 443", b"localhost :443", b"localhost:4 43", b"local host:@"]),
    (
        "B7",
        TARGET,
        &[
            b"localhost:0",
            b"localhost:00",
            b"localhost:65536",
            b"localhost:65537",
            b"localhost:65979",
            b"localhost:131515",
            b"localhost:2147484091",
            b"localhost:4294967739",
            b"localhost:18446744073709552059",
            b"localhost:99999999999999999999",
            b"localhost:-1",
            b"localhost:-443",
            b"localhost:+443",
            b"localhost:443x",
            b"localhost:x443",
            b"localhost:443.",
            b"localhost:443.0",
            b"localhost:443,80",
            b"localhost:443;",
            b"localhost:443-444",
            b"localhost:0443",
            b"localhost:0x1bb",
            b"localhost:0o673",
            b"localhost:1e2",
            b"localhost:https",
            b"localhost:'443'",
            b"localhost:443%00",
            b"localhost:\xef\xbc\x94\xef\xbc\x94\xef\xbc\x93",
            b"localhost:\xd9\xa4\xd9\xa4\xd9\xa3",
        ],
    ),
    ("B7", PORT, &[b"localhost:443", b"localhost:1", b"localhost:65535", b"localhost.:443"]),
    (
        "B8",
        TARGET,
        &[
            b"127.1:@",
            b"127.0.1:@",
            b"0x7f.1:@",
            b"0x7f.0.0.1:@",
            b"0177.0.0.1:@",
            b"2130706433:@",
            b"017700000001:@",
            b"0x7f000001:@",
            b"0X7F000001:@",
            b"0x:@",
            b"0:@",
            b"00:@",
            b"1:@",
            b"4294967295:@",
            b"4294967296:@",
            b"127.0.0.1.:@",
            b"127.0.0.01:@",
            b"127.0.0.0x1:@",
            b"127.0.0.256:@",
            b"256.256.256.256:@",
            b"127.0.0.-1:@",
            b"1.2.3:@",
            b"1.2.3.4.5:@",
            b"127.0.0.1.1:@",
            b"0300.0250.1.1:@",
            b"localhost.127:@",
            b"localhost.0x7f:@",
            b"localhost.1.:@",
            b"\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1:@",
            b"\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1:@",
            b"127\xe3\x80\x820\xe3\x80\x820\xe3\x80\x821:@",
        ],
    ),
    (
        "B8",
        HOST,
        &[
            b"127.0.0.1:@",
            b"127.0.0.2:@",
            b"127.255.255.255:@",
            b"0.0.0.0:@",
            b"0.0.0.1:@",
            b"255.255.255.255:@",
        ],
    ),
    (
        "B9",
        HOST,
        &[
            b"[::ffff:127.0.0.1]:@",
            b"[::ffff:7f00:1]:@",
            b"[::ffff:a9fe:a9fe]:@",
            b"[64:ff9b::a9fe:a9fe]:@",
            b"[2002:7f00:1::]:@",
            b"[2001:0:7f00:1::]:@",
            b"[::127.0.0.1]:@",
            b"[fe80::1]:@",
        ],
    ),
    (
        "B13",
        HOST,
        &[
            b"evillocalhost:@",
            b"localhost.evil.example:@",
            b"x.localhost:@",
            b"ods.example.com:443",
            b"ods.example.com.:443",
            b"evilods.example.com:443",
            b"a-ods.example.com:443",
            b"a.evilods.example.com:443",
            b"a.ods.example.com.evil.example:443",
            b"a.ods.example.comx:443",
            b"a.ods.example.co:443",
            b"a.ods-example.com:443",
            b"azg.servicebus.example.org:443",
            b"xazgn1.servicebus.example.org:443",
            b"azgn1.x.servicebus.example.org:443",
            b"azgn1.servicebus.example.org.evil.example:443",
            b"azgn1.servicebus.example.net:443",
            b"servicebus.example.org:443",
        ],
    ),
    (
        "B13",
        PORT,
        &[
            b"a.ods.example.com:8443",
            b"azgn1.servicebus.example.org:80",
            b"c.b.a.ods.example.com:80",
        ],
    ),
    (
        "B13",
        TARGET,
        &[b".ods.example.com:443", b"a..ods.example.com:443", b"*.ods.example.com:443"],
    ),
    (
        "B14",
        TARGET,
        &[
            b"b\xc3\xbccher.example:@",
            b"b\xfccher.example:@",
            b"\xef\xbd\x8cocalhost:@",
            b"localhost\xe3\x80\x82:@",
            b"localhost\xef\xbc\x8e:@",
            b"localhost\xef\xbd\xa1:@",
            b"local\xe2\x80\x8bhost:@",
            b"localhost\xc2\xad:@",
            b"\xef\xbb\xbflocalhost:@",
            b"loc\xd0\xb0lhost:@",
            b"loca\xc4\xb1host:@",
            b"\xe2\x93\x9bocalhost:@",
            b"localhost\xc0\xae:@",
            b"localhost\xff:@",
            b"a\xe3\x80\x82ods.example.com:443",
            b"xn--\xff.example:@",
            b"xn--a-\x80.example:@",
            b"xn--99999999999.example:@",
            b"xn--:@",
            b"xn--a-:@",
        ],
    ),
    ("B14", HOST, &[b"xn--bcher-kva.example:@", b"XN--BCHER-KVA.example:@"]),
];

/// Targets that are refused before anything is looked up or dialled.
pub fn bad() -> Vec<BadTarget> {
    let mut targets = Vec::new();
    for (row, refused, texts) in BAD {
        for text in *texts {
            targets.push(BadTarget { row, text: text.to_vec(), refused: *refused });
        }
    }
    let long = [
        ("B1", [&[b'a'; 64][..], b".example:@"].concat()),
        ("B1", [&b"a.".repeat(127)[..], b"example:@"].concat()),
        ("B7", [b"localhost:", &[b'4'; 200][..]].concat()),
        ("B7", [b"localhost:", &[b'0'; 200][..], b"443"].concat()),
        ("B8", [&[b'1'; 60][..], b":@"].concat()),
    ];
    targets.extend(long.map(|(row, text)| BadTarget { row, text, refused: TARGET }));
    targets
}

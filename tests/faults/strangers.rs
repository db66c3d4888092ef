//! Section E as data: first bytes of clients that do not speak TLS, and names in hellos that are none or
//! are others.

/// Other protocols.
pub const FOREIGN: &[(&str, &[u8])] = &[
    ("HTTP", b"GET / HTTP/1.1\r\n\r\n"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("another CONNECT", b"CONNECT a.example:443 HTTP/1.1\r\n\r\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ("SMTP", b"EHLO there\r\n"),
    ("SOCKS", &[5, 1, 0]),
    ("RDP", &[3, 0, 0, 19, 14, 0xe0]),
    ("SMB", &[0, 0, 0, 0x85, 0xff, b'S', b'M', b'B']),
    ("MQTT", &[0x10, 0x0c, 0, 4, b'M', b'Q', b'T', b'T']),
    ("XML", b"<?xml version='1.0'?>"),
    ("one byte", &[0]),
    ("an empty line", b"\r\n"),
    ("DTLS", &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]),
    ("QUIC", &[0xc3, 0, 0, 0, 1, 8, 1, 2, 3]),
    ("TLCP", &[22, 1, 1, 0, 80, 1, 0, 0, 0]),
    ("record of version 2", &[22, 2, 0, 0, 80, 1]),
    ("record of version 4", &[22, 4, 0, 0, 80, 1]),
    ("record of version 0", &[22, 0, 0, 0, 80, 1]),
    ("ChangeCipherSpec first", &[20, 3, 3, 0, 1, 1]),
    ("application data first", &[23, 3, 3, 0, 1, 0]),
    ("heartbeat first", &[24, 3, 3, 0, 3, 1, 0, 0]),
    ("unknown record type", &[25, 3, 3, 0, 1, 0]),
    ("high bits", &[0xff, 0xff, 0xff, 0xff, 0xff]),
];

/// Names that are no names.
pub const NO_NAMES: &[&[u8]] = &[
    b"",
    b"localhost\0.example",
    b"localhost\0",
    b"\0localhost",
    b"local host",
    b"localhost\n",
    b"localhost..",
    b".localhost",
    b"localhost:443",
    b"user@localhost",
    b"localhost/",
    b"http://localhost",
    b"%6cocalhost",
    b"*.localhost",
    b"l\xc3\xb6calhost",
    b"\xff",
    b"xn--99999999999",
    b"127.1",
    b"2130706433",
    b"localhost,other",
    &[b'a'; 64],
    &[b'a'; 1000],
];

/// Names that are others.
pub const OTHER_NAMES: &[&[u8]] = &[
    b"other.example",
    b"localhost.example",
    b"x.localhost",
    b"evillocalhost",
    b"local_host",
    b"127.0.0.1",
    b"::1",
    b"[::1]",
    b"xn--bcher-kva.example",
];

//! Bytes through a rustls connection of either side, so that it never holds more than a few records.

use std::io::{self, BufRead, Write};

use rustls::{ConnectionCommon, SideData};

use super::records::Framing;

/// Feeds `wire` to a connection and drains its plaintext after each step. `Ok(false)` once the peer has
/// said that it closes.
pub fn pull<S: SideData>(
    connection: &mut ConnectionCommon<S>,
    mut wire: &[u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<bool, String> {
    let mut open = true;
    while open && !wire.is_empty() {
        match connection.read_tls(&mut wire) {
            Ok(0) => return Err("TLS took no more bytes".to_owned()),
            Ok(_) => {}
            Err(why) => return Err(why.to_string()),
        }
        let state = connection.process_new_packets().map_err(|why| why.to_string())?;
        open = !state.peer_has_closed();
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let mut reader = connection.reader();
            let piece = reader.fill_buf().map_err(|why| why.to_string())?;
            let count = piece.len();
            sink(piece)?;
            reader.consume(count);
            left = left.saturating_sub(count.max(1));
        }
    }
    Ok(open)
}

/// Sends `message` on from the plaintext's `position`, about `budget_bytes` at most. `Ok(true)` once all
/// is with the kernel, `Ok(false)` when the budget is spent first.
pub fn push<S: SideData>(
    connection: &mut ConnectionCommon<S>,
    stream: &mut impl Write,
    message: &Framing<'_>,
    position: &mut u64,
    budget_bytes: usize,
) -> io::Result<bool> {
    let mut spent = 0;
    loop {
        // The connection keeps at most its buffer limit (64 KiB) of records for a slow peer.
        seal(connection, message, position)?;
        if !connection.wants_write() {
            return Ok(true);
        }
        if spent >= budget_bytes {
            return Ok(false);
        }
        spent += connection.write_tls(stream)?;
    }
}

fn seal<S: SideData>(
    connection: &mut ConnectionCommon<S>,
    message: &Framing<'_>,
    position: &mut u64,
) -> io::Result<()> {
    let head_bytes = message.head.len() as u64;
    while *position < head_bytes + message.body.bytes {
        let piece = match message.head.get(*position as usize..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => message.block.piece(message.body, *position - head_bytes),
        };
        match connection.writer().write(piece)? {
            0 => return Ok(()),
            count => *position += count as u64,
        }
    }
    Ok(())
}

//! The catalogue of faults on the real program: its sections of bytes and of reach as tables.
//!
//! Each input is sent whole, byte by byte and in random pieces, to gateways that splice and that copy.
//! Reply, event and counter are checked for each, and that nothing stays open. What must not be dialled
//! or looked up is proven in a network of its own that counts every attempt.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod a_head;
mod addresses;
mod answers;
mod b_itself;
mod b_reach;
mod bench;
#[cfg(target_os = "linux")]
mod c_names;
#[cfg(target_os = "linux")]
mod c_strain;
mod e_handshake;
mod heads;
mod hellos;
mod strangers;
mod targets;

/// Each is played whole, byte by byte and in random pieces, by splice and by copy.
#[test]
fn there_are_four_hundred_vectors() {
    let tables = [
        heads::good().len(),
        heads::bad().len(),
        targets::bad().len(),
        addresses::SPECIAL.len(),
        hellos::good().len(),
        hellos::bad().len(),
        answers::good().len(),
        answers::bad().len(),
    ];
    assert!(tables.iter().sum::<usize>() >= 400, "{tables:?}");
}

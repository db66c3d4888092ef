//! What differs between operating systems, and the only `unsafe`. Every platform supplies:
//!
//! - [`SplicePipe`]: a pipe that moves bytes between sockets inside the kernel, with `open`, `fill`,
//!   `pour` and `read`; uninhabited where there is none, so that the code around it compiles everywhere;
//! - [`Alarm`]: a timer that a poll tells of;
//! - [`raise_descriptor_limit`]: lifts the soft limit of open descriptors to the hard one;
//! - [`descriptor_limit`], [`open_descriptors`]: what holds of them, and how many are open;
//! - [`work_in_batches`]: a hint to the scheduler that throughput matters more than who runs first;
//! - [`let_go_of_pages`]: memory that only a start or a reload needed;
//! - [`zeroed_counters`]: counters that take memory once they are used;
//! - [`share_port`]: lets several listeners of this process take turns on one port;
//! - [`bind_late`]: a source address without a port reserved for it;
//! - [`unsent_bytes`]: bytes that the peer has not acknowledged yet;
//! - [`is_paced`]: whether the system spreads over time what is written at once;
//! - [`is_out_of_descriptors`], [`is_out_of_memory`], [`is_out_of_ports`], [`is_of_one_connection`],
//!   [`is_connecting`], [`is_splice_refused`]: what an error means;
//! - [`reuse_address`]: a port whose last owner is gone is free at once;
//! - [`set_reset_on_close`]: a close that the peer sees as a reset;
//! - [`is_readable_by_others`], [`TELLS_READERS`]: whether others than its owner and its group can
//!   read a file;
//! - [`is_writable_by_others`], [`may_write_in`]: whether they can write it; whether we can, in a folder;
//! - [`own_bits`]: what its mode lets us do, where we own a file;
//! - [`Signals`]: what an operator sends to the process;
//! - [`tell_manager`], [`manager_patience`], [`inherited_listeners`]: what a service manager such as
//!   systemd is told, asks for and hands over;
//! - [`open_to_append`]: a file to append to, without waiting for anybody;
//! - [`create_private`], [`keep_owner`], [`keep_readers`], [`keep_access`], [`keep_attributes`],
//!   [`let_all_read`]: who may read and write a file;
//! - [`sync_folder`]: names of files seen to the disk.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub use portable::*;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

mod counters;
pub use counters::zeroed_counters;

mod signal;
pub use signal::Signal;

mod standing;
pub use standing::Standing;

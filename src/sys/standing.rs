//! The one thing all service managers are told.

/// How the process stands, for a service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It serves.
    Ready,
    /// It reads its configuration again; [`Standing::Ready`] follows.
    Reloading,
    /// It drains or ends.
    Stopping,
    /// It still turns.
    Alive,
}

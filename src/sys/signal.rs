//! The one thing all systems' signals are turned into.

/// What an operator asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End: SIGTERM, SIGINT, Ctrl-C, a closed console.
    Stop,
    /// Read the configuration again: SIGHUP.
    Reload,
}

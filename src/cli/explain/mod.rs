//! `sluice explain`: what a CONNECT would get and why, by the same rules that judge one, without the
//! running gateway; with `--dial` also whether the target can be reached and speaks TLS.

mod dial;
mod handshake;
mod relay;
pub(crate) mod tell;
mod verdict;

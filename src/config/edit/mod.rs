//! Changes to a configuration file: in its text, touching nothing but what is changed; then in its
//! place, as a whole or not at all. What would not pass `check` is not written.

mod array;
pub mod change;
mod denied;
pub mod headers;
pub(crate) mod held;
pub mod secret;
pub mod text;
mod way;

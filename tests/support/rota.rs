//! A gateway for long tables: beyond 20 like events a second the gateway tells only their number, so
//! rows take turns at fresh ones.

use super::gateway::{Gateway, Setup};

/// Rows that one gateway serves.
const ROWS: usize = 18;

/// A gateway that is replaced in time; each one's events are audited when it goes.
pub struct Rota<F: Fn() -> Setup> {
    setup: F,
    gateway: Option<Gateway>,
    rows: usize,
}

impl<F: Fn() -> Setup> Rota<F> {
    /// Gateways made so.
    pub fn new(setup: F) -> Rota<F> {
        Rota { setup, gateway: None, rows: 0 }
    }

    /// The gateway for the next row.
    pub fn next(&mut self) -> &Gateway {
        if self.rows == ROWS {
            self.finish();
        }
        self.rows += 1;
        self.gateway.get_or_insert_with(|| (self.setup)().start())
    }

    /// Stops the last one.
    pub fn finish(&mut self) {
        self.rows = 0;
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
    }
}

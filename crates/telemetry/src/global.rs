//! The metrics of this process, and the short way to write to them.

use std::sync::OnceLock;

use crate::registry::Telemetry;
use crate::series::{Counter, Gauge, Histogram, Series};

/// The one set of metrics of this process.
pub fn global() -> &'static Telemetry {
    static GLOBAL: OnceLock<Telemetry> = OnceLock::new();
    GLOBAL.get_or_init(|| Telemetry::new().expect("Invariant: the catalogue registers (tested)"))
}

impl<K> Series<K> {
    /// Removes it, for example of a partition that is no longer owned.
    pub fn remove(&self) {
        global().remove(self);
    }
}

impl Series<Counter> {
    /// Adds 1.
    pub fn inc(&self) {
        global().inc(self);
    }

    /// Adds an amount, which is not negative.
    pub fn add(&self, amount: f64) {
        global().add(self, amount);
    }

    /// What has been counted; 0 where nothing was.
    pub fn value(&self) -> f64 {
        global().value(self)
    }
}

impl Series<Gauge> {
    /// Sets it.
    pub fn set(&self, value: f64) {
        global().set(self, value);
    }

    /// Moves it up, or down by a negative amount.
    pub fn shift(&self, amount: f64) {
        global().shift(self, amount);
    }

    /// Where it stands; 0 where it was never set.
    pub fn value(&self) -> f64 {
        global().value(self)
    }
}

impl Series<Histogram> {
    /// Adds an observation.
    pub fn observe(&self, value: f64) {
        global().observe(self, value);
    }
}

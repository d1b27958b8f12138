//! The performing half: processes around the machines. They keep handles, monitors and one timer; they decide nothing.

pub(crate) mod alarm;
pub(crate) mod distributed;
pub(crate) mod instances;
pub(crate) mod local;
pub(crate) mod starter;

/// Eight random bytes, for what should differ from run to run.
pub(crate) fn entropy() -> u64 {
    getrandom::u64().unwrap_or_default()
}

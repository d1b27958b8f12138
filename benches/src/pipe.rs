//! The child's end of the pipes to the parent.
//!
//! Standard input is read by the runtime, not by a thread: the allocator takes a faster way in a process
//! which never had a second thread, and that is worth a sixth of a call to `mux-mp`. When it closes the
//! child ends: children never outlive the parent.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::unix::pipe,
};

use crate::Outcome;

/// The parent's orders, one per line.
#[derive(Debug)]
pub struct Orders(Lines<BufReader<pipe::Receiver>>);

impl Orders {
    /// Standard input, which has to be a pipe. Needs a runtime.
    ///
    /// # Errors
    /// It is something else.
    pub fn open() -> io::Result<Self> {
        let pipe = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Orders(BufReader::new(pipe::Receiver::from_owned_fd(pipe)?).lines()))
    }

    /// The next order; `None` when the parent closed the pipe or is gone.
    ///
    /// # Errors
    /// The line is not an order.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Outcome<Option<T>> {
        let Some(line) = self.0.next_line().await? else { return Ok(None) };
        Ok(Some(serde_json::from_str(&line)?))
    }
}

/// One line to the parent.
///
/// # Errors
/// The parent is gone.
pub fn answer(value: &impl Serialize) -> Outcome<()> {
    line(&serde_json::to_string(value)?)
}

/// The same, of text.
///
/// # Errors
/// The parent is gone.
pub fn line(text: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Completes when the parent closes the pipe or is gone. Needs a runtime.
///
/// # Errors
/// Standard input is not a pipe.
pub async fn stdin_closed() -> Outcome<()> {
    let mut orders = Orders::open()?;
    while orders.0.next_line().await?.is_some() {}
    Ok(())
}

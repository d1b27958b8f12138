//! Waiting for a condition, with a deadline. Nothing here waits for a state by the clock.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const STEP: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
#[track_caller]
pub(crate) fn until<T>(within: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(last) if start.elapsed() > within => {
                panic!("not within {within:?}: {what}; last seen: {last}")
            }
            Err(_) => rest(STEP),
        }
    }
}

/// Looks all the time for a while: what is asked for must hold at every look.
#[track_caller]
pub(crate) fn throughout(time: Duration, what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(seen) = look() {
            panic!("after {:?} of {time:?} not true any more: {what}; seen: {seen}", start.elapsed());
        }
        rest(STEP);
    }
}

/// Lets time pass that is itself the matter of a test, such as how long a node is frozen.
pub(crate) fn rest(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

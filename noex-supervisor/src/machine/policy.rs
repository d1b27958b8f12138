//! Restart policy: decides whether a child that ended is started again, and how a stop begins.

use std::time::Duration;

use noex_actors::{__private::Lease, ExitReason, Monotonic};

use crate::options::{Restart, Shutdown};

/// What becomes of a child that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Restart,
    Remove,
}

/// After the end of a child. Reasons beyond `normal` and `shutdown` are abnormal.
pub(crate) fn after_exit(restart: Restart, reason: &ExitReason) -> Verdict {
    match restart {
        Restart::Permanent => Verdict::Restart,
        Restart::Transient if reason.is_abnormal() => Verdict::Restart,
        Restart::Transient | Restart::Temporary => Verdict::Remove,
    }
}

/// After the loss of a child's node, or when that node leaves.
pub(crate) fn after_node_loss(restart: Restart) -> Verdict {
    match restart {
        Restart::Permanent | Restart::Transient => Verdict::Restart,
        Restart::Temporary => Verdict::Remove,
    }
}

/// How an instance is told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Asked, with reason `shutdown`.
    Ask,
    /// Killed.
    Kill,
}

/// What an instance exits with that its supervisor stops because another instance, or another supervisor's, takes its
/// place. Another supervisor of the name that watches it knows by this that it did not fail, and that it is not alone.
const SUPERSEDED: &str = "noex: superseded";

/// That reason.
pub(crate) fn superseded() -> ExitReason {
    ExitReason::error(SUPERSEDED)
}

/// Whether it is that reason.
pub(crate) fn is_superseded(reason: &ExitReason) -> bool {
    matches!(reason, ExitReason::Error(text) if text == SUPERSEDED)
}

/// Whether the instance did not fail: another one takes its place, or it stopped itself because it was cut off.
pub(crate) fn is_cleared_away(reason: &ExitReason) -> bool {
    is_superseded(reason) || Lease::is_reason(reason)
}

/// First step of a stop that begins at `now`, and when the kill follows.
pub(crate) fn first_step(shutdown: Shutdown, now: Monotonic) -> (Stop, Option<Monotonic>) {
    match shutdown {
        Shutdown::BrutalKill => (Stop::Kill, None),
        Shutdown::Timeout(after) => (Stop::Ask, Some(now.plus(after))),
        Shutdown::Infinity => (Stop::Ask, None),
    }
}

/// How long a duplicate may take to stop before it is killed: shorter than any detection time.
pub(crate) const DUPLICATE_GRACE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_type_and_reason_decide() {
        let error = ExitReason::Error("x".into());
        for (restart, reason, verdict) in [
            (Restart::Permanent, &ExitReason::Normal, Verdict::Restart),
            (Restart::Permanent, &error, Verdict::Restart),
            (Restart::Transient, &ExitReason::Normal, Verdict::Remove),
            (Restart::Transient, &ExitReason::Shutdown, Verdict::Remove),
            (Restart::Transient, &ExitReason::Killed, Verdict::Restart),
            (Restart::Transient, &error, Verdict::Restart),
            (Restart::Temporary, &error, Verdict::Remove),
        ] {
            assert_eq!(after_exit(restart, reason), verdict, "{restart} {reason}");
        }
        assert_eq!(after_node_loss(Restart::Transient), Verdict::Restart);
        assert_eq!(after_node_loss(Restart::Temporary), Verdict::Remove);
    }
}

//! What an exit signal does to the process that gets it.
//!
//! | signal | reason | trapping | not trapping |
//! |---|---|---|---|
//! | a link broke | `normal` | message | nothing |
//! | a link broke | any other, `killed` too | message | ends with that reason |
//! | `exit` | `killed` | killed | killed |
//! | `exit` | `normal` | message | nothing; of a process to itself: ends |
//! | `exit` | any other | message | ends with that reason |
//!
//! Source: OTP's `erlang:exit/2` and "Processes" in the reference manual.

use crate::ExitReason;

/// Where an exit signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The process at the other end of a link ended.
    Link,
    /// Somebody sent it. OTP: `exit/2`.
    Exit,
    /// The process sent it to itself.
    OwnExit,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    Ignore,
    /// `Info::Exit` in the mailbox.
    Message,
    /// The process ends with the reason of the signal.
    End,
    /// The process is killed; nothing of it runs any more.
    Kill,
}

/// Whether a process turns exit signals into messages. OTP: `process_flag(trap_exit, …)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    On,
    Off,
}

pub(crate) fn decide(signal: Signal, reason: &ExitReason, trap: Trap) -> Effect {
    let by_hand = matches!(signal, Signal::Exit | Signal::OwnExit);
    match (reason, trap) {
        (ExitReason::Killed, _) if by_hand => Effect::Kill,
        (_, Trap::On) => Effect::Message,
        (ExitReason::Normal, Trap::Off) if signal != Signal::OwnExit => Effect::Ignore,
        (
            ExitReason::Normal
            | ExitReason::Shutdown
            | ExitReason::Killed
            | ExitReason::Panic(_)
            | ExitReason::Error(_)
            | ExitReason::NoProc
            | ExitReason::NoConnection,
            Trap::Off,
        ) => Effect::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons() -> [ExitReason; 7] {
        [
            ExitReason::Normal,
            ExitReason::Shutdown,
            ExitReason::Killed,
            ExitReason::Panic("p".into()),
            ExitReason::Error("e".into()),
            ExitReason::NoProc,
            ExitReason::NoConnection,
        ]
    }

    #[test]
    fn otps_table_of_signal_and_trap_and_reason_holds() {
        use Effect::{End, Ignore, Kill, Message};
        for reason in reasons() {
            let (link, exit, own) = match reason {
                ExitReason::Normal => (Ignore, Ignore, End),
                ExitReason::Killed => (End, Kill, Kill),
                _ => (End, End, End),
            };
            assert_eq!(decide(Signal::Link, &reason, Trap::Off), link, "{reason}");
            assert_eq!(decide(Signal::Exit, &reason, Trap::Off), exit, "{reason}");
            assert_eq!(decide(Signal::OwnExit, &reason, Trap::Off), own, "{reason}");
            let killed = reason == ExitReason::Killed;
            assert_eq!(decide(Signal::Link, &reason, Trap::On), Message, "{reason}");
            for signal in [Signal::Exit, Signal::OwnExit] {
                assert_eq!(
                    decide(signal, &reason, Trap::On),
                    if killed { Kill } else { Message },
                    "{reason}"
                );
            }
        }
    }
}

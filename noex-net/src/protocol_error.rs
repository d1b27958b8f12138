//! How a peer that authenticated broke the protocol: the words under which it is counted, and when that is logged.

use std::{collections::BTreeMap, time::Duration};

use noex_actors::{Monotonic, NodeId};
use parking_lot::Mutex;

/// How a peer broke the protocol on a connection that it had authenticated. Each ends the connection, and is counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A batch longer than 256 KiB, or too short to hold its tag.
    Length,
    /// A batch whose tag does not verify: changed, repeated, left out, or not of this session.
    Forged,
    /// What is in a batch is not frames.
    Frame,
    /// A control message that cannot be read, or that speaks for what is not the peer's.
    Control,
    /// More than one peer may hold or ask for: chunks, watches, signals, facts for the manager, bytes that it does not read.
    Limit,
    /// More for one process than it was given credit for, or a credit for what was never sent.
    Credit,
}

noex_actors::__vocabulary!(ProtocolError {
    Length = "length",
    Forged = "forged",
    Frame = "malformed_frame",
    Control = "malformed_control",
    Limit = "limit",
    Credit = "credit",
});

/// One log line per peer, error and this long.
const LOG_PERIOD: Duration = Duration::from_secs(60);
/// Most peers and errors that are remembered for that.
const MAX_LOGGED: usize = 1024;

/// Counts the errors of all peers, and tells which of them are news.
#[derive(Debug, Default)]
pub(crate) struct ProtocolErrors(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    counts: BTreeMap<ProtocolError, u64>,
    logged: BTreeMap<(NodeId, ProtocolError), Monotonic>,
}

impl ProtocolErrors {
    /// Counts one; true if it should be logged as well.
    pub(crate) fn count(&self, peer: &NodeId, error: ProtocolError, now: Monotonic) -> bool {
        let mut table = self.0.lock();
        *table.counts.entry(error).or_insert(0) += 1;
        let key = (peer.clone(), error);
        if table.logged.get(&key).is_some_and(|last| now.since(*last) < LOG_PERIOD) {
            return false;
        }
        table.logged.retain(|_, at| now.since(*at) < LOG_PERIOD);
        if table.logged.len() < MAX_LOGGED {
            table.logged.insert(key, now);
        }
        true
    }

    /// How often each happened; every one is there.
    pub(crate) fn counts(&self) -> BTreeMap<ProtocolError, u64> {
        let mut all: BTreeMap<_, _> = ProtocolError::ALL.iter().map(|error| (*error, 0)).collect();
        all.extend(&self.0.lock().counts);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_counted_and_one_a_minute_is_logged() {
        let errors = ProtocolErrors::default();
        let (a, b) = (NodeId::parse("a@h:1").unwrap(), NodeId::parse("b@h:1").unwrap());
        let at = |seconds: u64| Monotonic::from_millis(seconds * 1000);
        assert!(errors.count(&a, ProtocolError::Forged, at(0)));
        assert!(!errors.count(&a, ProtocolError::Forged, at(59)));
        assert!(errors.count(&a, ProtocolError::Frame, at(59)), "another error");
        assert!(errors.count(&b, ProtocolError::Forged, at(59)), "another peer");
        assert!(errors.count(&a, ProtocolError::Forged, at(60)));
        let counts = errors.counts();
        assert_eq!(counts.len(), ProtocolError::ALL.len());
        assert_eq!((counts[&ProtocolError::Forged], counts[&ProtocolError::Limit]), (4, 0));
    }

    #[test]
    fn many_peers_do_not_fill_the_memory_of_the_log() {
        let errors = ProtocolErrors::default();
        for n in 0..2 * MAX_LOGGED {
            let peer = NodeId::parse(&format!("n{n}@h:1")).unwrap();
            errors.count(&peer, ProtocolError::Frame, Monotonic::ZERO);
        }
        assert_eq!(errors.0.lock().logged.len(), MAX_LOGGED);
    }
}

//! Calls of this node that wait for a reply on one connection.
//!
//! A slab with generations for the callers of each thread, so that those of one do not wait for those of another: a late reply finds
//! nothing ([`CallId`]). Deadlines are kept by one alarm for each of these tables: it is set for
//! the earliest deadline known, and a stale alarm only looks again. With one timeout for most calls that is one look
//! per timeout, however many calls there were; with many timeouts, one in [`COARSE`]. A wheel would cost each call, for what
//! few calls ever see (adr/0038).

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use noex_actors::{
    __private::{CallFailure, contained},
    COARSE, Delivery, Monotonic,
    route::ReplyBytes,
};
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;

use super::{
    call_id::{CallId, Generation, TABLES},
    waking::{Home, Homes},
};

type Outcome = Result<ReplyBytes, CallFailure>;

#[derive(Debug)]
struct Entry {
    generation: Generation,
    deadline: Monotonic,
    /// Number of the process that was called.
    target: u64,
    /// Where in the outgoing stream the call begins; [`IN_LANE`] if it waits beside that.
    offset: u64,
    home: Home,
    state: State,
}

/// No place in the outgoing stream.
const IN_LANE: u64 = u64::MAX;

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Outcome),
}

#[derive(Debug, Default)]
struct Table {
    entries: Slab<Entry>,
    /// Of each place, for its next call.
    generations: Vec<Generation>,
    /// When the alarm is set; `None`: not set.
    alarm: Option<Monotonic>,
    closed: bool,
    totals: Totals,
}

/// How calls ended, so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) resolved: u64,
    pub(crate) rejected: u64,
    pub(crate) timed_out: u64,
    pub(crate) cancelled: u64,
}

impl Totals {
    fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            resolved: self.resolved + other.resolved,
            rejected: self.rejected + other.rejected,
            timed_out: self.timed_out + other.timed_out,
            cancelled: self.cancelled + other.cancelled,
        }
    }

    /// Calls whose other end was told that nobody waits any more.
    pub(super) fn given_up(&self) -> u64 {
        self.timed_out + self.cancelled
    }
}

/// A call that nobody waits for any more: its number, and that of the process that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) id: u64,
    pub(crate) target: u64,
}

/// The calls of one thread, or of a few.
#[derive(Debug, Default)]
struct Shelf {
    table: Mutex<Table>,
    /// How many waited when the last one came. Written with `table` locked.
    lately: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct Calls {
    /// Where the callers are.
    homes: Homes,
    shelves: [Shelf; TABLES],
}

/// Where the calls of a home are: those of the connection's own thread by themselves, those of the others as far as there are tables.
fn table_of(home: Home) -> usize {
    home.map_or(0, |other| 1 + usize::from(other) % (TABLES - 1))
}

/// Outcomes that came together.
pub(crate) struct Completing<'a> {
    calls: &'a Calls,
    /// The table of the last one, locked. Most come from where the last one came from.
    table: Option<(usize, MutexGuard<'a, Table>)>,
    /// Kept between batches for its room.
    woken: &'a mut Vec<(Home, Waker)>,
}

impl Completing<'_> {
    /// The outcome of one call. False if nobody waits for it.
    #[inline]
    pub(crate) fn complete(&mut self, id: u64, outcome: Outcome) -> bool {
        let id = CallId::of(id);
        let table = match &mut self.table {
            Some((at, table)) if *at == id.table() => table,
            other => {
                // The lock of the one goes before that of the other is waited for.
                *other = None;
                &mut other.insert((id.table(), self.calls.table(id))).1
            }
        };
        let Some(entry) = table.get(id) else { return false };
        let State::Waiting(waker) = &mut entry.state else { return false };
        self.woken.extend(waker.take().map(|waker| (entry.home, waker)));
        let resolved = outcome.is_ok();
        entry.state = State::Done(outcome);
        if resolved {
            table.totals.resolved += 1;
        } else {
            table.totals.rejected += 1;
        }
        true
    }
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        // A waker may run code of a user: without the lock, and a panic of it is not that of the connection.
        drop(self.table.take());
        for (runtime, together) in self.calls.homes.away(self.woken) {
            together.wake_on(&runtime);
        }
        for (_, waker) in self.woken.drain(..) {
            contained(|| waker.wake());
        }
    }
}

/// A new entry.
pub(crate) struct Inserted {
    pub(crate) id: u64,
    /// The alarm must be set earlier than it is.
    pub(crate) rearm: bool,
}

impl Table {
    fn get(&mut self, id: CallId) -> Option<&mut Entry> {
        self.entries.get_mut(id.place()).filter(|entry| entry.generation == id.generation)
    }

    fn take(&mut self, id: CallId) -> Option<Entry> {
        self.get(id)?;
        self.entries.try_remove(id.place())
    }
}

impl Calls {
    /// Those of a connection that this thread reads.
    pub(crate) fn new() -> Self {
        Self { homes: Homes::new(), shelves: Default::default() }
    }

    /// Where a caller is: here.
    #[inline]
    pub(super) fn here(&self) -> Home {
        self.homes.here()
    }

    fn table(&self, id: CallId) -> MutexGuard<'_, Table> {
        self.shelves[id.table()].table.lock()
    }

    fn tables(&self) -> impl Iterator<Item = MutexGuard<'_, Table>> {
        self.shelves.iter().map(|shelf| shelf.table.lock())
    }

    /// A place for a call. `None` when the session is over, or there is none.
    pub(super) fn insert(
        &self,
        deadline: Monotonic,
        (target, offset): (u64, u64),
        (home, waker): (Home, &Waker),
    ) -> Option<Inserted> {
        let at = table_of(home);
        let shelf = &self.shelves[at];
        let mut table = shelf.table.lock();
        if table.closed {
            return None;
        }
        let place = table.entries.vacant_key();
        if place == table.generations.len() {
            table.generations.push(Generation::default());
        }
        let generation = table.generations[place].next();
        let id = CallId::at(at, place, generation)?.number();
        table.generations[place] = generation;
        let state = State::Waiting(Some(waker.clone()));
        table.totals.sent += 1;
        table.entries.insert(Entry { generation, deadline, target, offset, home, state });
        shelf.lately.store(table.entries.len(), Ordering::Relaxed);
        let rearm = table.alarm.is_none_or(|alarm| deadline < alarm);
        if rearm {
            table.alarm = Some(deadline);
        }
        Some(Inserted { id, rearm })
    }

    /// The call waits beside the outgoing stream.
    pub(super) fn laned(&self, id: u64) {
        let id = CallId::of(id);
        if let Some(entry) = self.table(id).get(id) {
            entry.offset = IN_LANE;
        }
    }

    /// The outcome came. False if nobody waits for it.
    #[cfg(test)]
    fn complete(&self, id: u64, outcome: Outcome) -> bool {
        self.completing(&mut Vec::new()).complete(id, outcome)
    }

    /// Outcomes come, perhaps many. Those who wait for them are woken at the end.
    pub(crate) fn completing<'a>(&'a self, woken: &'a mut Vec<(Home, Waker)>) -> Completing<'a> {
        Completing { calls: self, table: None, woken }
    }

    pub(crate) fn poll(&self, id: u64, cx: &mut Context<'_>) -> Poll<Outcome> {
        let id = CallId::of(id);
        let mut table = self.table(id);
        let Some(entry) = table.get(id) else { return Poll::Ready(Err(CallFailure::ConnectionLost)) };
        match &mut entry.state {
            State::Waiting(waker) => {
                if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            State::Done(_) => match table.entries.remove(id.place()).state {
                State::Done(outcome) => Poll::Ready(outcome),
                State::Waiting(_) => Poll::Pending,
            },
        }
    }

    /// The caller went away. Gives what the other end should know of, if no outcome has come yet.
    pub(crate) fn abandon(&self, id: u64) -> Option<GivenUp> {
        let call = CallId::of(id);
        let mut table = self.table(call);
        let entry = table.take(call)?;
        let waits = matches!(entry.state, State::Waiting(_));
        if waits {
            table.generations[call.place()] = call.generation.given_up();
        }
        table.totals.cancelled += u64::from(waits);
        drop(table);
        waits.then_some(GivenUp { id, target: entry.target })
    }

    /// The call could not be sent after all: it does not count.
    pub(crate) fn retract(&self, id: u64) {
        let id = CallId::of(id);
        let mut table = self.table(id);
        table.totals.sent = table.totals.sent.saturating_sub(1);
        let entry = table.take(id);
        drop(table);
        drop(entry);
    }

    /// When the alarm is due.
    pub(crate) fn alarm(&self) -> Option<Monotonic> {
        self.tables().filter_map(|table| table.alarm).min()
    }

    /// Ends the calls whose deadline has come, and sets the alarm for the rest. Gives what the other end should know of.
    pub(crate) fn expire(&self, now: Monotonic) -> Vec<GivenUp> {
        let (mut wake, mut given_up) = (Vec::new(), Vec::new());
        for (at, mut table) in self.tables().enumerate() {
            if table.alarm.is_none_or(|alarm| now < alarm) {
                continue;
            }
            let mut next: Option<Monotonic> = None;
            let before = given_up.len();
            let Table { entries, generations, .. } = &mut *table;
            for (place, entry) in entries {
                let State::Waiting(waker) = &mut entry.state else { continue };
                if entry.deadline <= now {
                    wake.extend(waker.take());
                    entry.state = State::Done(Err(CallFailure::Timeout(Delivery::Unknown)));
                    generations[place] = entry.generation.given_up();
                    let id = CallId::at(at, place, entry.generation).map(CallId::number);
                    given_up.extend(id.map(|id| GivenUp { id, target: entry.target }));
                } else {
                    next = Some(next.map_or(entry.deadline, |next| next.min(entry.deadline)));
                }
            }
            // One look ends all that have come since the last, however many deadlines they have.
            table.alarm = next.map(|next| next.max(now.plus(COARSE)));
            table.totals.timed_out += u64::try_from(given_up.len() - before).unwrap_or(u64::MAX);
        }
        wake.into_iter().for_each(Waker::wake);
        given_up
    }

    /// The session is over. What was never handed to the kernel cannot have run: `written` bytes of the stream were, and of what
    /// waits in lanes all but `unsent`.
    pub(crate) fn close(&self, written: u64, unsent: &BTreeSet<u64>) {
        let mut wake = Vec::new();
        for (at, mut table) in self.tables().enumerate() {
            table.closed = true;
            let mut rejected = 0;
            for (place, entry) in &mut table.entries {
                let State::Waiting(waker) = &mut entry.state else { continue };
                wake.extend(waker.take());
                let never = match entry.offset {
                    IN_LANE => CallId::at(at, place, entry.generation)
                        .is_some_and(|id| unsent.contains(&id.number())),
                    offset => offset >= written,
                };
                let failure = if never { CallFailure::NotSent } else { CallFailure::ConnectionLost };
                entry.state = State::Done(Err(failure));
                rejected += 1;
            }
            table.totals.rejected += rejected;
        }
        wake.into_iter().for_each(Waker::wake);
    }

    /// How calls ended, so far.
    pub(crate) fn totals(&self) -> Totals {
        self.tables().fold(Totals::default(), |all, table| all.plus(table.totals))
    }

    /// Calls of a home that waited when the last one came, without a lock.
    pub(super) fn lately_waiting(&self, home: Home) -> usize {
        self.shelves[table_of(home)].lately.load(Ordering::Relaxed)
    }

    /// Calls that wait now.
    pub(crate) fn len(&self) -> usize {
        self.tables().map(|table| table.entries.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller on the thread of the connection.
    const HERE: (Home, &Waker) = (None, Waker::noop());

    fn poll(calls: &Calls, id: u64) -> Poll<Outcome> {
        calls.poll(id, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_late_reply_finds_nothing() {
        let calls = Calls::new();
        let first = calls.insert(Monotonic::from_millis(5), (7, 0), HERE).unwrap();
        assert_eq!(calls.abandon(first.id), Some(GivenUp { id: first.id, target: 7 }));
        assert_eq!(calls.abandon(first.id), None);
        let second = calls.insert(Monotonic::from_millis(5), (7, 0), HERE).unwrap();
        assert_ne!(first.id, second.id, "the place is used again, under another generation");
        assert!(!calls.complete(first.id, Ok(ReplyBytes::from_slice(&[]))));
        assert!(calls.complete(second.id, Ok(ReplyBytes::from_slice(&[]))));
        let third = calls.insert(Monotonic::from_millis(5), (7, 0), HERE).unwrap();
        assert!(calls.complete(third.id, Ok(ReplyBytes::from_slice(&[]))));
        assert_eq!(calls.abandon(third.id), None, "it was answered: nothing is to be cancelled");
        assert!(matches!(poll(&calls, second.id), Poll::Ready(Ok(_))));
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn a_waker_that_panics_keeps_no_reply_from_the_others() {
        #[derive(Default)]
        struct Woken(std::sync::atomic::AtomicBool, bool);
        impl std::task::Wake for Woken {
            fn wake(self: std::sync::Arc<Self>) {
                assert!(!self.1, "a waker of a user");
                self.0.store(true, std::sync::atomic::Ordering::Release);
            }
        }
        let calls = Calls::new();
        let good = std::sync::Arc::new(Woken::default());
        let wakers = [std::sync::Arc::new(Woken(false.into(), true)), std::sync::Arc::clone(&good)];
        let ids = wakers.map(|waker| {
            calls.insert(Monotonic::from_millis(5), (7, 0), (None, &Waker::from(waker))).unwrap().id
        });
        let mut woken = Vec::new();
        let mut completing = calls.completing(&mut woken);
        assert!(ids.iter().all(|id| completing.complete(*id, Ok(ReplyBytes::from_slice(&[])))));
        assert!(!completing.complete(ids[0], Ok(ReplyBytes::from_slice(&[]))), "once");
        drop(completing);
        assert!(good.0.load(std::sync::atomic::Ordering::Acquire));
        assert!(ids.iter().all(|id| poll(&calls, *id).is_ready()));
    }

    #[test]
    fn callers_of_one_thread_do_not_wait_for_the_replies_of_another() {
        let calls = Calls::new();
        let insert =
            |home| calls.insert(Monotonic::from_millis(5), (7, 0), (home, Waker::noop())).unwrap().id;
        let (own, other) = (insert(None), insert(Some(0)));
        assert_ne!(CallId::of(own).table(), CallId::of(other).table());
        let mut woken = Vec::new();
        let mut completing = calls.completing(&mut woken);
        assert!(completing.complete(own, Ok(ReplyBytes::from_slice(&[]))), "its table stays locked");
        assert!(poll(&calls, other).is_pending());
        let more = insert(Some(0));
        assert!(completing.complete(more, Ok(ReplyBytes::from_slice(&[]))));
        assert!(poll(&calls, own).is_ready(), "the lock of the one is not kept for the other");
        drop(completing);
        assert!(poll(&calls, more).is_ready());
        assert_eq!((calls.len(), calls.lately_waiting(None), calls.lately_waiting(Some(0))), (1, 1, 2));
        assert_eq!((calls.totals().sent, calls.totals().resolved), (3, 2));
        assert_eq!(calls.expire(Monotonic::from_millis(5)), [GivenUp { id: other, target: 7 }]);
        assert_eq!(calls.alarm(), None);
    }

    #[test]
    fn numbers_stay_short_however_many_calls_there_were() {
        let calls = Calls::new();
        for round in 0..10_000_u64 {
            let ids: Vec<u64> =
                (0..256).map(|_| calls.insert(Monotonic::from_millis(5), (7, 0), HERE).unwrap().id).collect();
            assert!(ids.iter().all(|id| *id < 1 << 21), "three bytes as varints");
            for id in ids {
                assert!(calls.complete(id, Ok(ReplyBytes::from_slice(&[]))), "{round}");
                assert!(matches!(poll(&calls, id), Poll::Ready(Ok(_))));
            }
        }
    }

    #[test]
    fn a_place_whose_calls_were_given_up_has_a_new_number_each_time() {
        let calls = Calls::new();
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..100_000_u64 {
            let id = calls.insert(Monotonic::from_millis(round), (7, 0), HERE).unwrap().id;
            assert!(seen.insert(id), "{round}");
            // Dropped, or timed out.
            if round % 2 == 0 {
                calls.abandon(id);
            } else {
                calls.expire(Monotonic::from_millis(round));
                assert!(matches!(poll(&calls, id), Poll::Ready(Err(_))));
            }
        }
        assert!(
            seen.iter().all(|id| !calls.complete(*id, Ok(ReplyBytes::from_slice(&[])))),
            "late replies find nothing"
        );
    }

    #[test]
    fn the_alarm_is_moved_only_forward_in_time() {
        let calls = Calls::new();
        let at = Monotonic::from_millis;
        assert!(calls.insert(at(50), (7, 0), HERE).unwrap().rearm);
        assert!(!calls.insert(at(60), (7, 0), HERE).unwrap().rearm);
        let early = calls.insert(at(10), (7, 0), HERE).unwrap();
        assert!(early.rearm && calls.alarm() == Some(at(10)));
        assert_eq!(calls.expire(at(10)), [GivenUp { id: early.id, target: 7 }], "the other end is told");
        assert!(matches!(poll(&calls, early.id), Poll::Ready(Err(CallFailure::Timeout(_)))));
        assert_eq!(calls.alarm(), Some(at(50)));
    }

    #[test]
    fn however_many_deadlines_there_are_one_look_ends_those_of_a_while() {
        const CALLS: u64 = 50_000;
        let calls = Calls::new();
        // A deadline each, within five seconds; a few on another thread, which wait longer.
        let micros = |n| Monotonic::ZERO.plus(std::time::Duration::from_micros(n));
        for n in 0..CALLS {
            calls.insert(micros(100 * n), (n, 0), HERE).unwrap();
        }
        let elsewhere = (Some(0), Waker::noop());
        for _ in 0..10 {
            calls.insert(Monotonic::from_millis(60_000), (CALLS, 0), elsewhere).unwrap();
        }
        let (mut looks, mut ended) = (0, 0);
        while let Some(at) = calls.alarm().filter(|at| *at < Monotonic::from_millis(60_000)) {
            looks += 1;
            for given_up in calls.expire(at) {
                ended += 1;
                let deadline = micros(100 * given_up.target);
                assert!((deadline..=deadline.plus(COARSE)).contains(&at), "{given_up:?} at {at:?}");
            }
        }
        assert_eq!((ended, calls.totals().timed_out), (CALLS, CALLS));
        assert!(looks <= 501, "{looks}");
    }

    #[test]
    fn at_the_end_only_what_never_left_is_safe_to_repeat() {
        let calls = Calls::new();
        let insert = |offset| calls.insert(Monotonic::ZERO, (7, offset), HERE);
        let (sent, kept) = (insert(0).unwrap(), insert(100).unwrap());
        let (begun, waits) = (insert(200).unwrap(), insert(0).unwrap());
        calls.laned(begun.id);
        calls.laned(waits.id);
        calls.close(100, &BTreeSet::from([waits.id]));
        for (id, failure) in [
            (sent.id, CallFailure::ConnectionLost),
            (kept.id, CallFailure::NotSent),
            (begun.id, CallFailure::ConnectionLost),
            (waits.id, CallFailure::NotSent),
        ] {
            assert_eq!(poll(&calls, id), Poll::Ready(Err(failure)));
        }
        assert!(insert(0).is_none());
    }
}

//! Waking those who wait for replies: on the thread of the connection at once, on another one together.
//!
//! A waker that is woken from another thread costs a system call, and may take the processor from who wakes: each caller would then
//! find itself alone, and send what it has by itself. So those of one thread are handed to its runtime, which wakes them there.

use std::{sync::OnceLock, task::Waker, thread::ThreadId};

use noex_actors::__private::contained;
use tokio::runtime::Handle;

use crate::io::here::here;

/// Threads that are known of one connection, beside its own. Those beyond are woken one by one.
const HOMES: usize = 31;

/// Where calls were made. Known without a lock.
#[derive(Debug)]
pub(super) struct Homes {
    own: ThreadId,
    others: [OnceLock<(ThreadId, Handle)>; HOMES],
}

/// The thread of a caller, as a place in [`Homes`]; `None` for that of the connection.
pub(super) type Home = Option<u8>;

impl Homes {
    /// Those of a connection that this thread reads.
    pub(super) fn new() -> Self {
        Self { own: here(), others: [const { OnceLock::new() }; HOMES] }
    }

    /// The thread of a caller: this one.
    #[inline]
    pub(super) fn here(&self) -> Home {
        let here = here();
        if self.own == here { None } else { self.other(here) }
    }

    fn other(&self, here: ThreadId) -> Home {
        for (at, place) in (0..).zip(&self.others) {
            let (thread, _) = match place.get() {
                Some(known) => known,
                None => {
                    let runtime = Handle::try_current().ok()?;
                    place.get_or_init(|| (here, runtime))
                }
            };
            if *thread == here {
                return Some(at);
            }
        }
        None
    }

    /// Those of other threads, by their runtime. What stays in `woken` is for this thread to wake.
    pub(super) fn away(&self, woken: &mut Vec<(Home, Waker)>) -> Vec<(Handle, Together)> {
        // One alone costs the same from here.
        if woken.len() <= 1 || woken.iter().all(|(home, _)| home.is_none()) {
            return Vec::new();
        }
        let mut away: Vec<(u8, Vec<Waker>)> = Vec::new();
        let mut here = Vec::with_capacity(woken.len());
        for (home, waker) in woken.drain(..) {
            let Some(at) = home else {
                here.push((None, waker));
                continue;
            };
            match away.iter_mut().find(|(other, _)| *other == at) {
                Some((_, wakers)) => wakers.push(waker),
                None => away.push((at, vec![waker])),
            }
        }
        *woken = here;
        let with_runtime = |(at, wakers)| {
            let together = Together(wakers);
            let (_, runtime) = self.others.get(usize::from(at))?.get()?;
            Some((runtime.clone(), together))
        };
        away.into_iter().filter_map(with_runtime).collect()
    }
}

/// Wakers of one thread, woken when this is dropped: there, or here if its runtime is gone.
#[derive(Debug)]
pub(super) struct Together(Vec<Waker>);

impl Together {
    /// Wakes them on their runtime.
    pub(super) fn wake_on(self, runtime: &Handle) {
        // One alone costs the same from here.
        if self.0.len() > 1 {
            runtime.spawn(async move { drop(self) });
        }
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        for waker in self.0.drain(..) {
            contained(|| waker.wake());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc},
        task::Wake,
        thread,
    };

    use tokio::runtime::Builder;

    use super::*;

    /// Remembers the threads that woke it.
    #[derive(Default)]
    struct Woken(Mutex<Vec<ThreadId>>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().push(thread::current().id());
        }
    }

    /// Wakes two callers of this thread and two of another, whose runtime runs until `ended`; gives who woke them.
    fn wake(runtime_ends_first: bool) -> (Vec<ThreadId>, ThreadId) {
        let woken = Arc::new(Woken::default());
        let homes = Homes::new();
        let own = homes.here();
        let (made, runtime) = mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let other = thread::spawn(move || {
            Builder::new_current_thread().build().unwrap().block_on(async {
                made.send((Handle::current(), thread::current().id())).unwrap();
                let _ = ended.await;
            });
        });
        let (runtime, there) = runtime.recv().unwrap();
        homes.others[0].set((there, runtime)).unwrap();
        let mut end = Some(end);
        let mut other = Some(other);
        if runtime_ends_first {
            drop(end.take());
            other.take().into_iter().for_each(|other| other.join().unwrap());
        }
        let mut waiting: Vec<(Home, Waker)> =
            [own, Some(0), Some(0), own].map(|home| (home, Arc::clone(&woken).into())).into();
        for (runtime, together) in homes.away(&mut waiting) {
            together.wake_on(&runtime);
            // What is spawned after them runs after them.
            let end = end.take();
            runtime.spawn(async move { drop(end) });
        }
        assert_eq!(waiting.len(), 2, "this thread wakes its own itself");
        other.into_iter().for_each(|other| other.join().unwrap());
        let seen = woken.0.lock().unwrap().clone();
        (seen, there)
    }

    #[test]
    fn callers_of_another_thread_are_woken_there() {
        let (seen, there) = wake(false);
        assert_eq!(seen, [there, there]);
    }

    #[test]
    fn callers_whose_runtime_is_gone_are_woken_all_the_same() {
        let (seen, _) = wake(true);
        assert_eq!(seen, [thread::current().id(); 2]);
    }

    #[test]
    fn a_thread_has_one_home_and_those_without_a_runtime_have_none() {
        let homes = Homes::new();
        let elsewhere = |with_runtime: bool| {
            thread::scope(|scope| {
                scope
                    .spawn(|| {
                        let runtime = Builder::new_current_thread().build().unwrap();
                        let _entered = with_runtime.then(|| runtime.enter());
                        [homes.here(), homes.here()]
                    })
                    .join()
                    .unwrap()
            })
        };
        assert_eq!(elsewhere(true), [Some(0); 2]);
        assert_eq!(elsewhere(false), [None; 2]);
        assert_eq!(elsewhere(true), [Some(1); 2]);
        assert_eq!(homes.here(), None);
    }
}

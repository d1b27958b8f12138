//! Which thread this is, as a number that fits into an atomic.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The mark of a thread, never 0. Two threads have the same one once in four thousand million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadMark(u32);

impl ThreadMark {
    pub(crate) fn current() -> Self {
        let mut hasher = DefaultHasher::new();
        std::thread::current().id().hash(&mut hasher);
        Self(u32::try_from(hasher.finish() >> 32).unwrap_or(0) | 1)
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_mark_and_another_has_another() {
        let mark = ThreadMark::current();
        assert_eq!(mark, ThreadMark::current());
        assert_ne!(mark, std::thread::spawn(ThreadMark::current).join().unwrap());
    }
}

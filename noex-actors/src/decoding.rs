//! Which node decodes: references in messages need one to become handles. And what is decoded: [`Bytes`](crate::Bytes) keep their
//! part of it. And, the other way round, where is encoded: what can be shared is lent instead of copied.
//!
//! Decoding is synchronous, so a scope on the current thread is enough. It is left on return and on panic, and holds
//! nothing outside of a scope.

use std::{
    cell::{Cell, RefCell},
    ptr,
};

use bytes::Bytes;

use crate::Node;

thread_local! {
    static NODE: RefCell<Vec<Node>> = const { RefCell::new(Vec::new()) };
    static BUFFER: RefCell<Option<Bytes>> = const { RefCell::new(None) };
    static LENDING: Cell<usize> = const { Cell::new(NOBODY) };
    static LENT: RefCell<Lent> = const { RefCell::new(Lent { offered: None, taken: None }) };
}

/// Nobody takes bytes that are offered, or somebody did already. Else it is the address of who does.
const NOBODY: usize = 0;
const TAKEN: usize = 1;
/// Bytes that are worth being lent: they are cut anyway.
pub(crate) const WORTH: usize = 64 * 1024;

struct Lent {
    offered: Option<Bytes>,
    /// And where in the encoded value they belong.
    taken: Option<(usize, Bytes)>,
}

/// What decoding a reference outside of a scope says.
pub(crate) const OUTSIDE: &str = "a reference can only be decoded by a node: decode inside Node::decoding";

pub(crate) fn current() -> Option<Node> {
    NODE.with_borrow(|nodes| nodes.last().cloned())
}

pub(crate) fn within<T>(node: &Node, f: impl FnOnce() -> T) -> T {
    within_owned(node.clone(), f).1
}

/// The same for who has a node to lend: it comes back.
pub(crate) fn within_owned<T>(node: Node, f: impl FnOnce() -> T) -> (Node, T) {
    /// Leaves the scope when `f` panics.
    struct Leave(bool);
    impl Drop for Leave {
        fn drop(&mut self) {
            if self.0 {
                drop(leave());
            }
        }
    }
    fn leave() -> Option<Node> {
        NODE.with_borrow_mut(Vec::pop)
    }
    NODE.with_borrow_mut(|nodes| nodes.push(node));
    let mut inside = Leave(true);
    let value = f();
    inside.0 = false;
    (leave().expect("what was entered is left once"), value)
}

/// Decodes within `f` what is part of `buffer`.
pub fn sharing<T>(buffer: &Bytes, f: impl FnOnce() -> T) -> T {
    /// Leaves the scope also when `f` panics.
    struct Leave(Option<Bytes>);
    impl Drop for Leave {
        fn drop(&mut self) {
            // What it held goes when the cell is not borrowed any more.
            drop(BUFFER.replace(self.0.take()));
        }
    }
    let _leave = Leave(BUFFER.replace(Some(buffer.clone())));
    f()
}

/// What may be shared of the value that is decoded.
pub(crate) fn with_buffer<T>(f: impl FnOnce(&Option<Bytes>) -> T) -> T {
    BUFFER.with_borrow(f)
}

/// Encodes into `out`, which need not hold long bytes that can be shared: gives the first of those, and where in `out` they belong.
#[inline]
pub fn lending<T>(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>) -> T) -> (T, Option<(usize, Bytes)>) {
    /// Leaves the scope also when `encode` panics.
    struct Leave(usize);
    impl Drop for Leave {
        #[inline]
        fn drop(&mut self) {
            if LENDING.replace(self.0) == TAKEN {
                drop(taken());
            }
        }
    }
    let _leave = Leave(LENDING.replace(ptr::from_ref(out).addr()));
    let encoded = encode(out);
    let lent = if LENDING.get() == TAKEN { taken() } else { None };
    (encoded, lent)
}

#[cold]
fn taken() -> Option<(usize, Bytes)> {
    LENT.with_borrow_mut(|lent| lent.taken.take())
}

/// Offers bytes to who writes them within `f`.
pub(crate) fn offering<T>(bytes: &Bytes, f: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            drop(LENT.with_borrow_mut(|lent| lent.offered.take()));
        }
    }
    if bytes.len() < WORTH || LENDING.get() <= TAKEN {
        return f();
    }
    LENT.with_borrow_mut(|lent| lent.offered = Some(bytes.clone()));
    let _leave = Leave;
    f()
}

/// Whether `bytes` need not be appended to the buffer at this address, which has `at` bytes so far.
pub(crate) fn takes(buffer: usize, at: usize, bytes: &[u8]) -> bool {
    if LENDING.get() != buffer {
        return false;
    }
    LENT.with_borrow_mut(|Lent { offered, taken }| {
        if taken.is_some() {
            return false;
        }
        *taken = offered.take_if(|offered| ptr::eq(&raw const **offered, bytes)).map(|bytes| (at, bytes));
        if taken.is_some() {
            LENDING.set(TAKEN);
        }
        taken.is_some()
    })
}

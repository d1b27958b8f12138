//! Which node decodes: references in messages need one to become handles. And what is decoded: [`Bytes`](crate::Bytes) keep their
//! part of it.
//!
//! Decoding is synchronous, so a scope on the current thread is enough. It is left on return and on panic, and holds
//! nothing outside of a scope.

use std::cell::RefCell;

use bytes::Bytes;

use crate::Node;

thread_local! {
    static NODE: RefCell<Vec<Node>> = const { RefCell::new(Vec::new()) };
    static BUFFER: RefCell<Option<Bytes>> = const { RefCell::new(None) };
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

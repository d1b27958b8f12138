//! Starts the actors of this crate: a panic in one of them stops the node.

use actix::{Actor, Addr, Context, dev::channel::channel};
use actix_rt::ArbiterHandle;
use noex_actors::Node;

/// Messages that may wait for an actor, as actix has it.
const CAPACITY: usize = 16;

/// Starts an actor here, on the arbiter of this thread.
pub(crate) fn start<A: Actor<Context = Context<A>>>(node: &Node, part: &'static str, actor: A) -> Addr<A> {
    let running = Context::new().into_future(actor);
    let addr = running.address();
    actix_rt::spawn(node.vital(part, running));
    addr
}

/// Starts an actor on another arbiter.
pub(crate) fn start_on<A: Actor<Context = Context<A>>>(
    arbiter: &ArbiterHandle,
    node: &Node,
    part: &'static str,
    make: impl FnOnce() -> A + Send + 'static,
) -> Addr<A> {
    let (sender, receiver) = channel(CAPACITY);
    let node = node.clone();
    arbiter.spawn_fn(move || {
        let running = Context::with_receiver(receiver).into_future(make());
        actix_rt::spawn(node.vital(part, running));
    });
    Addr::new(sender)
}

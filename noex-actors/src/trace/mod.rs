//! Traces that follow messages: W3C Trace Context, from a call to the handler that runs by it, on this node or another.
//!
//! While a [`TraceContext`] is current, calls and casts carry it, and it is current in their handlers. Nothing else inherits it:
//! what a handler starts beside itself (`Context::task`, timers) says so with [`TraceContext::scope`]. Where none is current, a
//! message pays for a look at a thread-local flag, and nothing on the wire.
//!
//! Without more, handlers of such messages run in a span `message` (target `noex::message`, level info) with `trace_id` and
//! `parent_id`, so that all lines of one trace have the same id in the logs of all nodes, and the context passes through
//! unchanged. A [`Tracer`] puts spans of its own in their place, those of OpenTelemetry, say.
//!
//! ```
//! use noex_actors::{ExitReason, Node, behavior, trace::TraceContext};
//!
//! struct Orders;
//!
//! #[behavior]
//! impl Orders {
//!     #[init]
//!     fn new() -> Result<Self, ExitReason> {
//!         Ok(Orders)
//!     }
//!     #[call]
//!     fn traced(&mut self) -> Option<String> {
//!         noex_actors::trace::current().map(|context| context.to_string())
//!     }
//! }
//!
//! # #[actix_rt::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let node = Node::start().await?;
//! let orders = node.spawn::<Orders>(()).await?;
//! // As it stands in the header `traceparent` of a request.
//! let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
//! let context: TraceContext = header.parse()?;
//! assert_eq!(context.scope(async { orders.traced().await }).await?, Some(header.to_owned()));
//! # node.stop().await;
//! # Ok(())
//! # }
//! ```

mod context;
mod scope;

use std::fmt;

pub use self::{
    context::{InvalidTraceContext, MAX_STATE, TraceContext},
    scope::Scoped,
};
use crate::{Node, Pid};

/// Joins a node to a tracing system: [`NodeBuilder::tracer`](crate::NodeBuilder::tracer).
pub trait Tracer: Send + Sync + 'static {
    /// The context of what runs now; it goes with the calls and casts that are sent now. With `None`, what is in
    /// [`scope`](TraceContext::scope) goes, if anything is.
    ///
    /// Called for every call and cast, on the thread of its sender, outside of all locks of noex.
    fn current(&self) -> Option<TraceContext>;

    /// The span in which a message is handled that came with a context: a child of that.
    fn span(&self, message: &Traced<'_>) -> tracing::Span;
}

/// A message that came with a trace context and is about to be handled.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Traced<'a> {
    /// What it came with.
    pub context: &'a TraceContext,
    /// `call` or `cast`.
    pub kind: &'static str,
    /// The behavior that handles it.
    pub behavior: &'static str,
    /// The process that handles it.
    pub pid: &'a Pid,
}

/// The context in whose [`scope`](TraceContext::scope) this runs: of the message that is handled, or of who sends.
#[must_use]
#[inline]
pub fn current() -> Option<TraceContext> {
    if scope::is_inside() { scope::current() } else { None }
}

impl Node {
    /// The context that goes with what is sent now: that of the node's [`Tracer`], or the one in
    /// [`scope`](TraceContext::scope).
    #[must_use]
    #[inline]
    pub fn current_trace(&self) -> Option<TraceContext> {
        match &self.0.tracer {
            None => current(),
            Some(tracer) => tracer.current().or_else(current),
        }
    }

    /// The span in which a message is handled.
    pub(crate) fn span_of(&self, message: &Traced<'_>) -> tracing::Span {
        match &self.0.tracer {
            Some(tracer) => tracer.span(message),
            None => tracing::info_span!(
                target: "noex::message",
                "message",
                trace_id = message.context.trace_id_text(),
                parent_id = message.context.span_id_text(),
                kind = message.kind,
            ),
        }
    }
}

impl fmt::Debug for dyn Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracer")
    }
}

//! One trace of OpenTelemetry through processes and nodes.
//!
//! With the tracer [`OpenTelemetry`], and the layer of [`tracing_opentelemetry`] in the subscriber, calls and casts that are sent in a span carry the
//! context of it, and their handlers run in a span that is its child: of kind `server` for a call, `consumer` for a cast, and with
//! the name `<behavior> call` or `<behavior> cast`. In actix-web, the span of a request that reads `traceparent` (as
//! `tracing-actix-web` makes them, say) is the beginning; nothing else has to be written.
//!
//! ```
//! use tracing_subscriber::layer::SubscriberExt;
//! # use opentelemetry::trace::noop::NoopTracer;
//!
//! # let tracer = NoopTracer::new();
//! // `tracer` is that of an exporter: opentelemetry_otlp, say.
//! let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
//! # drop(subscriber);
//! let builder = noex::Node::builder().tracer(noex::opentelemetry::OpenTelemetry);
//! # drop(builder);
//! ```

use noex_actors::trace::{TraceContext, Traced, Tracer};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Joins a node to OpenTelemetry: `Node::builder().tracer(OpenTelemetry)`, or that of a `ClusterBuilder`.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenTelemetry;

impl Tracer for OpenTelemetry {
    fn current(&self) -> Option<TraceContext> {
        let context = tracing::Span::current().context();
        let span = context.span();
        let span = span.span_context();
        let trace = u128::from_be_bytes(span.trace_id().to_bytes());
        let found = TraceContext::new(
            trace,
            u64::from_be_bytes(span.span_id().to_bytes()),
            span.trace_flags().to_u8(),
        );
        let found = found.ok()?;
        // One that is too long is left out, as the standard wants it.
        Some(found.clone().with_state(&span.trace_state().header()).unwrap_or(found))
    }

    fn span(&self, message: &Traced<'_>) -> tracing::Span {
        let Traced { context, kind, behavior, pid, .. } = message;
        let role = if *kind == "call" { "server" } else { "consumer" };
        let span = tracing::info_span!(
            target: "noex::message",
            "message",
            otel.name = format!("{behavior} {kind}"),
            otel.kind = role,
            behavior,
            kind,
            %pid,
        );
        let parent = SpanContext::new(
            TraceId::from_bytes(context.trace_id().to_be_bytes()),
            SpanId::from_bytes(context.span_id().to_be_bytes()),
            TraceFlags::new(context.flags()),
            true,
            context.state().parse::<TraceState>().unwrap_or_default(),
        );
        // It cannot be set where no layer of OpenTelemetry listens: then the span is one of tracing, and no more.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        span
    }
}

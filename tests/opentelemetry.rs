//! A request, a process that it calls, and one on another node that this calls, are one trace.

use std::time::Duration;

use noex::{opentelemetry::OpenTelemetry, prelude::*};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

type Res<T = ()> = Result<T, Box<dyn std::error::Error>>;

struct Shop;

#[behavior(name = "shop")]
impl Shop {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Shop)
    }
    #[call]
    async fn order(&mut self, stock: Ref<Stock>) -> bool {
        stock.take().await.is_ok() && stock.count().is_ok() && stock.settle().await.is_ok()
    }
}

struct Stock;

#[behavior(name = "stock")]
impl Stock {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Stock)
    }
    #[call]
    fn take(&mut self) {}
    #[cast]
    fn count(&mut self) {}
    #[call]
    fn settle(&mut self) {}
}

async fn node(name: &str, seed: Option<&Cluster>) -> Res<Cluster> {
    let config = ClusterConfig::builder(name).host("127.0.0.1").port(0).secret("a secret of the tests");
    let config = match seed {
        Some(seed) => config.seed(seed.local_node_id().to_string()),
        None => config,
    };
    Ok(Cluster::builder(config.build()?)
        .behavior::<Shop>()
        .behavior::<Stock>()
        .tracer(OpenTelemetry)
        .arbiters(1)
        .start()
        .await?)
}

/// The span of that name whose parent is one of these.
fn child<'a>(spans: &'a [SpanData], name: &str, parent: &SpanData) -> Res<&'a SpanData> {
    let of = |span: &&SpanData| span.name == name && span.parent_span_id == parent.span_context.span_id();
    spans.iter().find(of).ok_or_else(|| format!("{name} is no child of {}: {spans:#?}", parent.name).into())
}

#[actix_rt::test]
async fn one_trace_goes_through_processes_and_nodes() -> Res {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let tracer = opentelemetry::trace::TracerProvider::tracer(&provider, "noex");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;

    let a = node("a", None).await?;
    let b = node("b", Some(&a)).await?;
    tokio::time::timeout(Duration::from_secs(10), async {
        a.wait_for_nodes(2).await.and(b.wait_for_nodes(2).await)
    })
    .await??;
    let shop = a.spawn::<Shop>(()).await?;
    let stock = b.spawn::<Stock>(()).await?;
    stock.settle().await?;
    assert_eq!(a.current_trace(), None, "outside of spans there is no trace");
    exporter.reset();
    let request = tracing::info_span!("request");
    assert!(shop.order(a.resolve(stock.pid())).instrument(request.clone()).await?);
    drop(request);
    // Its spans end with its handlers; those of calls before their callers hear of it, the others with the next turn.
    tokio::time::timeout(Duration::from_secs(10), async {
        while exporter.get_finished_spans().is_ok_and(|spans| spans.len() < 5) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await?;
    let spans = exporter.get_finished_spans()?;
    let request = spans.iter().find(|span| span.name == "request").ok_or("the request ended")?;
    let order = child(&spans, "shop call", request)?;
    child(&spans, "stock call", order)?;
    child(&spans, "stock cast", order)?;
    let trace = request.span_context.trace_id();
    assert!(spans.iter().all(|span| span.span_context.trace_id() == trace), "{spans:#?}");
    assert_eq!(spans.len(), 5);
    assert!(order.parent_span_is_remote);
    b.stop().await;
    a.stop().await;
    Ok(())
}

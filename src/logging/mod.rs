//! Logging: where `tracing` events of the program go, and in which form.
//!
//! | Room | What it does |
//! |---|---|
//! | `mod` | installs it |
//! | `json` | one event as one JSON object on one line |
//! | `lines` | lines to standard output, without ever making a caller wait |
//! | `panics` | which panics are lines, and which end the program |
//!
//! ```text
//! {"timestamp":"2026-01-02T03:04:05.678901Z","level":"info","nodeId":"a@10.0.0.1:4369","message":"node up","peer":"b@10.0.0.2:4369"}
//! ```

mod json;
mod lines;
mod panics;

use std::{fmt, io::IsTerminal, sync::Arc, time::Duration};

use noex_net::Cluster;
use parking_lot::RwLock;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::LevelFilter,
    fmt::{
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::{json::JsonLayer, lines::Lines};

/// How long the last lines may take when the program ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Pretty,
}
noex_actors::__vocabulary!(LogFormat { Json = "json", Pretty = "pretty" });

impl LogFormat {
    /// Reads `LOG_FORMAT`. Unset, or not a format, is [`LogFormat::Json`]; `noex::env::parse("LOG_FORMAT", …)` refuses
    /// what is not a format.
    #[must_use]
    pub fn from_env() -> Self {
        std::env::var("LOG_FORMAT").ok().and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

/// Which node the lines of this program are of.
type NodeName = Arc<RwLock<Option<Arc<str>>>>;

/// The logging of a program. Keep it as long as the program runs: dropping it writes what is left to be written.
#[must_use = "dropping it waits for the last lines"]
pub struct Logging {
    node: NodeName,
    lines: Lines,
}

/// Sends `tracing` events to standard output, from `RUST_LOG` (default `info`) on.
///
/// Lines are written by a thread of their own. When standard output is not read, 4 MiB of lines are kept; what comes
/// then is lost and counted in a line that says so: nothing in the program ever waits for its log. A program that has a
/// `tracing` subscriber already keeps it, and this does nothing.
pub fn init(format: LogFormat) -> Logging {
    let node = NodeName::default();
    let of = Arc::clone(&node);
    let lines = Lines::to_stdout(match format {
        LogFormat::Json => Box::new(move |lost| json::lost(&of, lost)),
        LogFormat::Pretty => Box::new(|lost| format!("{lost} log lines were lost\n").into_bytes()),
    });
    let layer = match format {
        LogFormat::Json => JsonLayer::new(Arc::clone(&node), lines.clone()).boxed(),
        LogFormat::Pretty => {
            let writer = lines.clone();
            let pretty = tracing_subscriber::fmt::layer::<Registry>();
            pretty.with_ansi(std::io::stdout().is_terminal()).with_writer(move || writer.line()).boxed()
        }
    };
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_err() {
        tracing::debug!("logging is set up already");
    }
    Logging { node, lines }
}

impl Logging {
    /// From now on every JSON line carries the id of this node in `nodeId`; before, it is null.
    pub fn set_node(&self, cluster: &Cluster) {
        *self.node.write() = Some(cluster.local_node_id().as_str().into());
    }

    /// From now on a panic is an `error` line instead of text on standard error; and one in noex itself, unlike one in
    /// a process, ends the program with code 1: a node does not go on half alive. Replaces the panic hook.
    pub fn end_on_noex_panic(&self) {
        panics::set_hook(self.lines.clone());
    }

    /// Waits until what was logged before is written; a second at most.
    pub fn flush(&self) {
        self.lines.flush(LAST_LINES);
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The present as RFC 3339, in UTC.
pub(crate) fn timestamp() -> String {
    let mut text = String::with_capacity(32);
    // Writing into a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

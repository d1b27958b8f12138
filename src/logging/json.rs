//! One event as one JSON object on one line.
//!
//! `timestamp`, `level`, `nodeId` and `message` come first; the fields of the spans around the event and of the event
//! itself follow, flat. The innermost value of a name counts; a field that bears one of the four names gets a `_` in
//! front of it.

use std::{collections::BTreeMap, error::Error, fmt, sync::Arc};

use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{NodeName, lines::Lines, timestamp};

pub(super) struct JsonLayer {
    node: NodeName,
    lines: Lines,
}

impl JsonLayer {
    pub(super) fn new(node: NodeName, lines: Lines) -> Self {
        Self { node, lines }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLayer {
    fn on_new_span(&self, attrs: &span::Attributes<'_>, id: &span::Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut fields = Fields::default();
        attrs.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in cx.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.others.extend(of_span.others.iter().map(|(name, value)| (*name, value.clone())));
            }
        }
        event.record(&mut fields);
        let node = self.node.read().clone();
        self.lines.write(line(
            &timestamp(),
            *event.metadata().level(),
            node,
            event.metadata().target(),
            &fields,
        ));
    }
}

/// The fields of an event or a span.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    others: BTreeMap<&'static str, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "message" => {
                self.message = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                return;
            }
            "timestamp" => "_timestamp",
            "level" => "_level",
            "nodeId" => "_nodeId",
            "target" => "_target",
            name => name.strip_prefix("r#").unwrap_or(name),
        };
        self.others.insert(name, value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.set(field, text.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

/// Quotes a text.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The line that says how many lines were lost.
pub(super) fn lost(node: &NodeName, count: u64) -> Vec<u8> {
    let mut fields = Fields { message: Some("log lines were lost".to_owned()), ..Fields::default() };
    fields.others.insert("lost", count.into());
    line(&timestamp(), Level::WARN, node.read().clone(), module_path!(), &fields)
}

fn line(timestamp: &str, level: Level, node: Option<Arc<str>>, target: &str, fields: &Fields) -> Vec<u8> {
    let level = match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        _ => "error",
    };
    let node = node.map_or_else(|| "null".to_owned(), |node| quoted(&node));
    let message = quoted(fields.message.as_deref().unwrap_or_default());
    let mut line =
        format!(r#"{{"timestamp":"{timestamp}","level":"{level}","nodeId":{node},"message":{message}"#);
    line.push_str(r#","target":"#);
    line.push_str(&quoted(target));
    for (name, value) in &fields.others {
        line.push(',');
        line.push_str(&quoted(name));
        line.push(':');
        line.push_str(&value.to_string());
    }
    line.push_str("}\n");
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use parking_lot::RwLock;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<parking_lot::Mutex<Vec<u8>>>);

    impl std::io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(node: Option<&str>, log: impl FnOnce()) -> Vec<Value> {
        let memory = Memory::default();
        let lines = Lines::start(memory.clone(), Box::new(|_| Vec::new()));
        let node: NodeName = Arc::new(RwLock::new(node.map(Into::into)));
        let subscriber = tracing_subscriber::registry().with(JsonLayer::new(node, lines.clone()));
        tracing::subscriber::with_default(subscriber, log);
        lines.flush(std::time::Duration::from_secs(10));
        let text = String::from_utf8(memory.0.lock().clone()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_one_object_with_flat_fields() {
        let lines = logged(Some("a@h:1"), || {
            tracing::warn!(peer = %"b@h:2", count = 3, ok = true, text = "two\nlines \"quoted\"", "node down");
        });
        let line = &lines[0];
        assert_eq!(lines.len(), 1);
        assert_eq!(line["level"], "warn");
        assert_eq!(line["nodeId"], "a@h:1");
        assert_eq!(line["message"], "node down");
        assert_eq!((&line["peer"], &line["count"], &line["ok"]), (&"b@h:2".into(), &3.into(), &true.into()));
        assert_eq!(line["text"], "two\nlines \"quoted\"");
        let at = line["timestamp"].as_str().unwrap();
        assert!(at.len() >= 20 && at.ends_with('Z') && at.as_bytes()[10] == b'T', "{at}");
    }

    #[test]
    fn the_node_is_null_before_it_is_known() {
        let lines = logged(None, || tracing::error!("no"));
        assert_eq!((&lines[0]["nodeId"], &lines[0]["level"]), (&Value::Null, &"error".into()));
    }

    #[test]
    fn fields_of_spans_are_there_and_the_innermost_counts() {
        let lines = logged(None, || {
            let outer = tracing::info_span!("outer", conn = 1, peer = "x");
            let _in = outer.enter();
            let inner = tracing::info_span!("inner", conn = 2).entered();
            tracing::info!(level = "mine", "in");
            drop(inner);
        });
        assert_eq!((&lines[0]["conn"], &lines[0]["peer"]), (&2.into(), &"x".into()));
        assert_eq!((&lines[0]["level"], &lines[0]["_level"]), (&"info".into(), &"mine".into()));
    }
}

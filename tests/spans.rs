//! What a process logs stands in the span of its process, for whoever asks; and costs nothing else anything.

use std::{
    io,
    sync::{Arc, Mutex},
};

use noex::{prelude::*, trace::TraceContext};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

struct Talker;

#[behavior]
impl Talker {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Talker)
    }
    #[call]
    async fn say(&mut self, word: String) {
        tokio::task::yield_now().await;
        tracing::info!(word, "said");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_poisoned| io::Error::other("poisoned"))?.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Runs a talker under a filter, in a trace or not; its line and its address.
fn line(filter: &str, context: Option<TraceContext>) -> Result<(String, String), Box<dyn std::error::Error>> {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    // The process runs on this thread, as its parent does: the subscriber of this thread hears it.
    let pid = tracing::subscriber::with_default(subscriber, || {
        actix_rt::System::new().block_on(async {
            let node = Node::start().await?;
            let talker = node.spawn::<Talker>(()).await?;
            let said = talker.say("hello".to_owned());
            match context {
                Some(context) => context.scope(said).await?,
                None => said.await?,
            }
            node.stop().await;
            Ok::<_, Box<dyn std::error::Error>>(talker.pid().to_string())
        })
    })?;
    let text = String::from_utf8(lines.0.lock().map_err(|_poisoned| "poisoned")?.clone())?;
    let line = text.lines().find(|line| line.contains("hello")).unwrap_or_default();
    Ok((line.to_owned(), pid))
}

#[test]
fn a_line_of_a_process_names_it_at_debug_level_and_not_by_default() -> Result<(), Box<dyn std::error::Error>>
{
    let (asked, pid) = line("info,noex::process=debug", None)?;
    assert!(asked.contains(&format!("process{{pid={pid} behavior=\"Talker\"}}")), "{asked}");
    let (quiet, _) = line("info", None)?;
    assert!(quiet.contains("said") && !quiet.contains("process{"), "{quiet}");
    Ok(())
}

#[test]
fn a_line_of_a_handler_names_the_trace_that_its_message_belongs_to() -> Result<(), Box<dyn std::error::Error>>
{
    let context: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
    let (line, _) = line("info", Some(context))?;
    let span =
        "message{trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\" parent_id=\"00f067aa0ba902b7\" kind=\"call\"}";
    assert!(line.contains(span), "{line}");
    Ok(())
}

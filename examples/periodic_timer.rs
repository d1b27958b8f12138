//! A tide gauge and its report: what happens every so often, after a while, and when nothing happens.
//!
//! ```text
//! cargo run --example periodic_timer
//! ```
//! The gauge reads the water every 100 ms (`send_interval`). Twice it is switched off (`TimerRef::cancel`) and wakes up later
//! (`send_after`). The report writes down what it is told, and notices by itself when nothing comes (`set_idle_timeout`). A flood
//! alarm is set for later, and called off in time (`cast_after`). Every timer ends with the process that set it.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{process::ExitCode, time::Duration};

use actix::clock::Instant;
use noex::prelude::*;

const TICK: Duration = Duration::from_millis(100);
/// Readings between two breaks, and how many such series there are.
const SERIES: u32 = 8;
const ROUNDS: u32 = 3;

struct Gauge {
    report: Ref<Report>,
    ticking: TimerRef,
    readings: u32,
}

/// What the gauge tells itself.
enum Note {
    Read,
    WakeUp,
}

#[behavior]
impl Gauge {
    #[init]
    fn new(report: Ref<Report>, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        report.watch(cx.pid().clone())?;
        Ok(Gauge { report, ticking: cx.send_interval(TICK, || Note::Read), readings: 0 })
    }
    #[info]
    fn timer(&mut self, info: Info<Note>, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match info {
            Info::User(Note::Read) => {
                self.readings += 1;
                self.report.level(50.0 + 40.0 * (f64::from(self.readings) * 0.45).sin())?;
                if self.readings == SERIES * ROUNDS {
                    cx.stop(ExitReason::Normal);
                } else if self.readings.is_multiple_of(SERIES) && self.ticking.cancel() {
                    cx.send_after(6 * TICK, Note::WakeUp);
                }
            }
            Info::User(Note::WakeUp) => self.ticking = cx.send_interval(TICK, || Note::Read),
            _ => {}
        }
        Ok(())
    }
}

/// What there is to say at the end.
#[derive(Debug, Default)]
struct Summary {
    readings: u32,
    silences: u32,
    alarms: u32,
}

struct Report {
    began: Instant,
    summary: Summary,
    reader: Option<Caller<Summary>>,
}

#[behavior]
impl Report {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Report { began: Instant::now(), summary: Summary::default(), reader: None })
    }
    #[cast]
    fn watch(&mut self, gauge: Pid, cx: &mut Context<Self>) {
        cx.monitor(&gauge);
    }
    #[cast]
    fn level(&mut self, centimetres: f64, cx: &mut Context<Self>) {
        self.summary.readings += 1;
        self.line(&format!("{:<24} {centimetres:>3.0} cm", "▒".repeat((centimetres / 4.0) as usize)));
        cx.set_idle_timeout(Some(3 * TICK));
    }
    #[cast]
    fn alarm(&mut self) {
        self.summary.alarms += 1;
        self.line("flood!");
    }
    /// Answers when the gauge has ended: the caller waits, the report goes on.
    #[call]
    fn summary(&mut self, from: Caller<Summary>) {
        self.reader = Some(from);
    }
    #[info]
    fn info(&mut self, info: Info, cx: &mut Context<Self>) {
        match info {
            Info::Timeout => {
                self.summary.silences += 1;
                self.line("                … nothing for 0.3 s");
                cx.set_idle_timeout(None); // said once; the next reading sets it again
            }
            Info::Down(down) => {
                self.line(&format!("the gauge has ended: {}", down.reason));
                if let Some(reader) = self.reader.take() {
                    reader.reply(std::mem::take(&mut self.summary));
                }
            }
            _ => {}
        }
    }
}

impl Report {
    fn line(&self, text: &str) {
        println!("  {:>5.2} s  {text}", self.began.elapsed().as_secs_f64());
    }
}

#[actix::main]
async fn main() -> ExitCode {
    noex::exit_code(tide().await)
}

async fn tide() -> Result<(), noex::BoxError> {
    let node = Node::start().await?;
    let report = node.spawn::<Report>(()).await?;
    let alarm = report.cast_after(Duration::from_secs(60), ReportCast::Alarm);
    node.spawn::<Gauge>(report.clone()).await?;

    let summary = report.summary().timeout(Duration::from_secs(20)).await?;
    let called_off = alarm.cancel();
    println!("  {summary:?}; the alarm was called off: {called_off}, and again: {}", alarm.cancel());
    // A machine that is busy elsewhere may make a silence of its own.
    if summary.readings != SERIES * ROUNDS
        || summary.silences < ROUNDS - 1
        || summary.alarms > 0
        || !called_off
    {
        return Err("that is not how the tide went".into());
    }
    node.stop().await;
    Ok(())
}

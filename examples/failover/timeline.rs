//! What a person sees: one line per thing that happened, with its time since the start.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::protocol::{Failures, now};

/// How a line looks where colours can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Quiet,
    Good,
    Notable,
    Bad,
}

/// The lines on stdout.
pub(crate) struct Timeline {
    began: u64,
    last_line: Instant,
    colours: bool,
}

impl Timeline {
    /// Time runs from here.
    pub(crate) fn begin() -> Self {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { began: now(), last_line: Instant::now(), colours }
    }

    /// A line about what happened just now.
    pub(crate) fn say(&mut self, tone: Tone, what: &str, text: impl Display) -> io::Result<()> {
        self.at(now(), tone, what, text)
    }

    /// A line about what happened at `at`, in microseconds since 1970.
    pub(crate) fn at(&mut self, at: u64, tone: Tone, what: &str, text: impl Display) -> io::Result<()> {
        let since = Duration::from_micros(at.saturating_sub(self.began)).as_secs_f64();
        self.line(tone, format_args!("{since:9.3} s  {what:<10} {text}"))
    }

    /// A line without a time.
    pub(crate) fn line(&mut self, tone: Tone, text: impl Display) -> io::Result<()> {
        self.last_line = Instant::now();
        let mut out = io::stdout().lock();
        let colour = match tone {
            Tone::Plain => "",
            Tone::Quiet => "\x1b[2m",
            Tone::Good => "\x1b[32m",
            Tone::Notable => "\x1b[33m",
            Tone::Bad => "\x1b[1;31m",
        };
        if self.colours && !colour.is_empty() {
            writeln!(out, "{colour}{text}\x1b[0m")?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()
    }

    /// Whether nothing was said for that long.
    pub(crate) fn quiet_for(&self, time: Duration) -> bool {
        self.last_line.elapsed() >= time
    }
}

/// Microseconds, in milliseconds or seconds.
pub(crate) fn span(micros: u64) -> String {
    let time = Duration::from_micros(micros).as_secs_f64();
    if micros < 10_000 {
        format!("{:.1} ms", time * 1000.0)
    } else if micros < 1_000_000 {
        format!("{:.0} ms", time * 1000.0)
    } else {
        format!("{time:.2} s")
    }
}

/// A number in groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// How many calls failed, and how.
pub(crate) fn failures(failed: &Failures) -> String {
    if failed.is_empty() {
        return "none failed".to_owned();
    }
    let kinds: Vec<String> =
        failed.iter().map(|(kind, count)| format!("{} {kind}", grouped(*count))).collect();
    format!("{} failed ({})", grouped(failed.values().sum()), kinds.join(", "))
}

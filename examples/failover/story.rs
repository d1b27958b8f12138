//! The telling: which events a person is told, and in which words.

use std::{io, time::Duration};

use crate::{
    facts::Facts,
    members::Member,
    protocol::{Event, Progress, short},
    run::{DRIVER, SEED},
    table,
    timeline::{Timeline, Tone, failures, grouped, span},
};

/// Nothing takes longer than a second without a word.
const A_WORD: Duration = Duration::from_millis(900);
/// So many lines of one kind are told singly.
const SINGLY: usize = 20;

/// What was told already, and where it is told.
pub(crate) struct Story {
    pub(crate) timeline: Timeline,
    /// The verdict is out: what is left is leaving.
    pub(crate) over: bool,
    /// Who is believed when a node goes.
    pub(crate) teller: usize,
    by_hand: bool,
    /// When the node was killed, in microseconds since 1970.
    killed_at: Option<u64>,
    migrations: usize,
    recoveries: usize,
    answered: u64,
    /// The calls at the time of the kill.
    before: Progress,
}

impl Story {
    pub(crate) fn new(timeline: Timeline, by_hand: bool) -> Self {
        Self {
            timeline,
            over: false,
            teller: SEED,
            by_hand,
            killed_at: None,
            migrations: 0,
            recoveries: 0,
            answered: 0,
            before: Progress::default(),
        }
    }

    /// Whether it is time for a word about what is going on.
    pub(crate) fn is_due(&self) -> bool {
        self.timeline.quiet_for(A_WORD)
    }

    /// The node is killed now, after these calls.
    pub(crate) fn killed(&mut self, at: u64, load: &Progress) {
        self.killed_at = Some(at);
        self.before = load.clone();
    }

    fn since_kill(&self, at: u64) -> String {
        self.killed_at.map_or_else(String::new, |killed| {
            format!(", {} after the kill", span(at.saturating_sub(killed)))
        })
    }

    /// Tells what a node told.
    pub(crate) fn tell(&mut self, from: usize, member: &Member, at: u64, event: &Event) -> io::Result<()> {
        match event {
            Event::Started { id } => {
                let role = match from {
                    _ if self.by_hand => "",
                    SEED => " (seed, supervisor)",
                    DRIVER => " (calls)",
                    _ => "",
                };
                self.timeline.at(at, Tone::Plain, "node up", format_args!("{id}, pid {}{role}", member.pid()))
            }
            Event::PeerDown { peer, reason } if from == self.teller && !self.over => {
                let text =
                    format!("{} sees {} go: {reason}{}", member.name, short(peer), self.since_kill(at));
                self.timeline.at(at, Tone::Notable, "detected", text)
            }
            Event::NodeFailure { node, children } => {
                let text =
                    format!("the supervisor gives up {} and the {children} children there", short(node));
                self.timeline.at(at, Tone::Notable, "failover", text)
            }
            Event::Migrated { child, from, to, generation } => {
                self.migrations += 1;
                if self.migrations > SINGLY {
                    return Ok(());
                }
                let (from, to, generation) = (short(from), short(to), table::generation(*generation));
                let text = format!("{child}: {from} → {to}, generation {generation}{}", self.since_kill(at));
                self.timeline.at(at, Tone::Notable, "migrated", text)
            }
            Event::Recovered { child, gap_us, failed } => {
                self.recoveries += 1;
                if self.recoveries > SINGLY {
                    return Ok(());
                }
                let text = format!("{child} again after {}; calls: {}", span(*gap_us), failures(failed));
                self.timeline.at(at, Tone::Good, "answers", text)
            }
            Event::Note { text } => self.timeline.at(at, Tone::Notable, "supervisor", text),
            Event::PeerUp { .. }
            | Event::PeerDown { .. }
            | Event::Supervising { .. }
            | Event::Progress(_)
            | Event::Counted { .. }
            | Event::Account { .. }
            | Event::Left
            | Event::Failed { .. } => Ok(()),
        }
    }

    /// A line about the calls, at least once a second.
    pub(crate) fn load(&mut self, load: &Progress) -> io::Result<()> {
        if !self.is_due() {
            return Ok(());
        }
        let more = grouped(load.ok.saturating_sub(self.answered));
        self.answered = load.ok;
        let text = format!("{} calls answered (+{more}), {}", grouped(load.ok), failures(&load.failed));
        self.timeline.say(Tone::Quiet, "load", text)
    }

    /// What was not told singly, and what became of the calls since the kill.
    pub(crate) fn sum_up(&mut self, facts: &Facts) -> io::Result<()> {
        if self.migrations > SINGLY {
            let last = facts.migrated.values().max().copied().unwrap_or_default();
            let text = format!(
                "{} children in all, until{}",
                self.migrations,
                self.since_kill(last).replacen(',', "", 1)
            );
            self.timeline.say(Tone::Notable, "migrated", text)?;
        }
        if self.recoveries > SINGLY {
            self.timeline.say(Tone::Good, "answers", format_args!("{} children in all", self.recoveries))?;
        }
        let mut failed = facts.load.failed.clone();
        for (kind, count) in &mut failed {
            *count -= self.before.failed.get(kind).copied().unwrap_or_default().min(*count);
        }
        failed.retain(|_, count| *count > 0);
        let ok = facts.load.ok.saturating_sub(self.before.ok);
        let text = format!("since the kill: {} calls answered, {}", grouped(ok), failures(&failed));
        self.timeline.say(Tone::Plain, "load", text)
    }
}

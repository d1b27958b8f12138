//! A supervisor under test, for the tests in this room.

use std::time::Duration;

use noex_actors::{ExitReason, Generation, Incarnation, Monotonic, NodeId, Pid};

use super::*;
use crate::options::{AutoShutdown, Backoff, Restart, RestartIntensity, Shutdown, Strategy};

pub(super) fn node(name: &str) -> NodeId {
    NodeId::new(name, "127.0.0.1", 4369).unwrap()
}

pub(super) fn pid(on: &str, number: u64) -> Pid {
    Pid::new(node(on), Incarnation(1), number)
}

pub(super) fn rule(id: &str) -> Rule {
    Rule {
        id: id.into(),
        restart: Restart::Permanent,
        shutdown: Shutdown::default(),
        pinned: false,
        significant: false,
    }
}

pub(super) fn settings(scope: Scope) -> Settings {
    Settings {
        strategy: Strategy::OneForOne,
        auto_shutdown: AutoShutdown::Never,
        intensity: RestartIntensity::default(),
        backoff: Backoff::default(),
        pace: Duration::from_millis(10),
        scope,
        unix_seconds: 1000,
    }
}

pub(super) fn crash() -> ExitReason {
    ExitReason::Panic("boom".into())
}

impl Supervision {
    /// How many entries the intensity ever had.
    pub(crate) fn counted(&self) -> u64 {
        self.intensity.total
    }

    /// Whether it counts what it hears of.
    pub(crate) fn counts(&self) -> bool {
        self.is_in_charge()
    }

    /// Whether no other supervisor may have its name.
    pub(crate) fn is_sure(&self) -> bool {
        !self.superseded
    }

    /// Whether the end of this instance by itself, now, is a cause of a round.
    pub(crate) fn is_cause(&self, id: &str, pid: &Pid) -> bool {
        let runs = |child: &Child| child.state == State::Running { pid: pid.clone() };
        let leaves = self.draining.contains(pid.node_id());
        self.is_in_charge() && self.child(id).is_some_and(runs) && !self.is_to_stop(id) && !leaves
    }
}

/// A supervisor under test, with everything that it asked for and nobody looked at yet.
pub(super) struct Bench {
    pub(super) machine: Supervision,
    pub(super) now: Monotonic,
    pub(super) out: Outputs,
    pids: u64,
}

impl Bench {
    pub(super) fn of(scope: Scope, rules: Vec<Rule>) -> Self {
        Self::with(settings(scope), rules)
    }

    pub(super) fn with(settings: Settings, rules: Vec<Rule>) -> Self {
        let machine = Supervision::new(settings, rules);
        Self { machine, now: Monotonic::from_millis(1), out: Outputs::new(), pids: 0 }
    }

    /// All children running on node `a`.
    pub(super) fn running(scope: Scope, rules: Vec<Rule>) -> Self {
        Self::running_with(settings(scope), rules)
    }

    pub(super) fn running_with(settings: Settings, rules: Vec<Rule>) -> Self {
        let mut bench = Self::with(settings, rules);
        bench.fact(Input::Begun { found: Vec::new() });
        while bench.start_next("a").is_some() {}
        bench.out.clear();
        bench
    }

    pub(super) fn fact(&mut self, input: Input) {
        self.machine.handle(input, self.now, 1, &mut self.out);
    }

    pub(super) fn after(&mut self, by: Duration) {
        self.now = self.now.plus(by);
        self.fact(Input::DeadlineReached);
    }

    pub(super) fn next_start(&mut self) -> Option<(String, Generation)> {
        let at = self.out.iter().position(|output| matches!(output, Output::Start { .. }))?;
        match self.out.remove(at) {
            Some(Output::Start { child, generation, .. }) => Some((child, generation)),
            _ => None,
        }
    }

    pub(super) fn start_next(&mut self, on: &str) -> Option<(String, Generation, Pid)> {
        let (child, generation) = self.next_start()?;
        self.pids += 1;
        let pid = pid(on, self.pids);
        self.fact(Input::StartSucceeded { child: child.clone(), generation, pid: pid.clone() });
        Some((child, generation, pid))
    }

    pub(super) fn fail_next(&mut self, failure: Failure) -> String {
        let (child, generation) = self.next_start().expect("a start");
        self.fact(Input::StartFailed { child: child.clone(), generation, node: Some(node("b")), failure });
        child
    }

    pub(super) fn pid_of(&self, id: &str) -> Pid {
        self.machine.child(id).and_then(Child::pid).cloned().expect("it runs")
    }

    pub(super) fn exit(&mut self, id: &str, reason: ExitReason) {
        let pid = self.pid_of(id);
        self.fact(Input::ChildExited { child: id.into(), pid, reason });
    }

    pub(super) fn stops(&mut self) -> Vec<(String, Stop)> {
        let out = std::mem::take(&mut self.out);
        let (stops, rest) = out.into_iter().partition(|output| matches!(output, Output::Stop { .. }));
        self.out = rest;
        let stops: Outputs = stops;
        let named = |output| match output {
            Output::Stop { child, how, .. } => Some((child, how)),
            _ => None,
        };
        stops.into_iter().filter_map(named).collect()
    }

    pub(super) fn reports(&mut self) -> Vec<Report> {
        let out = std::mem::take(&mut self.out);
        out.into_iter()
            .filter_map(|output| match output {
                Output::Report(report) => Some(report),
                _ => None,
            })
            .collect()
    }

    pub(super) fn has(&self, wanted: &Output) -> bool {
        self.out.contains(wanted)
    }

    pub(super) fn ended(&self) -> Option<&Ending> {
        self.out.iter().find_map(|output| match output {
            Output::End(ending) => Some(ending),
            _ => None,
        })
    }

    /// The next stop or start that was asked for.
    pub(super) fn next_step(&mut self) -> Option<Output> {
        let at = self
            .out
            .iter()
            .position(|output| matches!(output, Output::Start { .. } | Output::Stop { .. }))?;
        self.out.remove(at)
    }

    /// Does the next thing that is asked, and says what it was: `-x`, `!x` (killed) or `+x`.
    pub(super) fn start_or_stop(&mut self) -> Option<String> {
        match self.next_step()? {
            Output::Start { child, generation, .. } => {
                let done = format!("+{child}");
                self.pids += 1;
                let pid = pid("a", self.pids);
                self.fact(Input::StartSucceeded { child, generation, pid });
                Some(done)
            }
            Output::Stop { child, pid, how, .. } => {
                let (sign, reason) = match how {
                    Stop::Ask => ("-", ExitReason::Shutdown),
                    Stop::Kill => ("!", ExitReason::Killed),
                };
                let done = format!("{sign}{child}");
                self.fact(Input::ChildExited { child, pid, reason });
                Some(done)
            }
            _ => None,
        }
    }

    /// Does what is asked, at once, and writes it down, until nothing more is asked.
    pub(super) fn obey(&mut self) -> String {
        let mut log = Vec::new();
        while let Some(done) = self.start_or_stop() {
            log.push(done);
        }
        log.join(" ")
    }

    /// Fails the start in flight, if there is one of this child.
    pub(super) fn fail_if_started(&mut self, id: &str) {
        let Some(child) = self.machine.child(id) else { return };
        let (child, generation) = (child.rule.id.clone(), child.generation);
        let failure = Failure::Refused("no".into());
        self.fact(Input::StartFailed { child, generation, node: None, failure });
    }

    /// The children that run, in start order.
    pub(super) fn alive(&self) -> String {
        let running = |child: &&Child| matches!(child.state, State::Running { .. });
        self.machine.children().filter(running).map(|child| child.rule.id.as_str()).collect()
    }

    pub(super) fn restarts(&self, id: &str) -> u32 {
        self.machine.child(id).map_or(0, |child| child.restarts)
    }
}

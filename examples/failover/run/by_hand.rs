//! The course that is typed: nodes are killed and started as whoever watches says, and a board shows what became of it.

use std::time::{Duration, Instant};

use super::{COUNT, Failure, MESH, Run, SEED, START};
use crate::{
    protocol::{Instance, Request, short},
    timeline::Tone,
    verdict,
};

/// By when every child must run once again.
const SETTLED: Duration = Duration::from_secs(20);

const HOW: &str = "\
  Type:   kill n2    SIGKILL to that node, also to the one with the supervisor (or, in another terminal: kill -9 PID)
          start      one more node
          settle     wait until every child runs exactly once; with status 1 if it does not (for scripts)
          quit       end all of them; so does the end of the input
";

/// What there is to see: each node with its children, and how many run as they must.
#[derive(Clone, PartialEq, Eq)]
struct Board {
    nodes: Vec<String>,
    wrong: Vec<String>,
}

enum Next {
    Goes,
    Settles(Instant),
    Over,
}

impl Run {
    pub(super) fn by_hand(&mut self) -> Result<Vec<String>, Failure> {
        self.members.listen_to_stdin();
        self.form_the_cluster()?;
        for at in self.members.living() {
            self.request(at, &Request::StandBy { children: self.plan.children })?;
        }
        self.wait("the supervisor starts its children", super::SUPERVISE, |facts| facts.supervising)?;
        self.story.timeline.line(Tone::Plain, format_args!("\n{HOW}"))?;
        let (mut shown, mut next) = (None, Next::Goes);
        loop {
            let counted = self.look(matches!(next, Next::Settles(_)))?;
            if let Some(counted) = &counted {
                self.show(counted, &mut shown)?;
            }
            next = match (next, counted) {
                (Next::Over, _) => break,
                (Next::Settles(since), Some(counted)) => self.settle(since, &counted)?,
                (Next::Goes, _) => self.obey()?,
                (settles, None) => settles,
            };
        }
        self.story.over = true;
        for name in self.members.end(Duration::from_secs(2)) {
            self.story.timeline.say(Tone::Bad, "leave", format_args!("{name} did not end and was killed"))?;
        }
        Ok(Vec::new())
    }

    /// What runs on the living nodes now; `None` if not all have said so in time.
    fn look(&mut self, settles: bool) -> Result<Option<Vec<Instance>>, Failure> {
        self.samples += 1;
        let sample = self.samples;
        for at in self.members.living() {
            // One that is gone is heard of in a moment.
            let _ = self.members.ask(at, &Request::Count { sample });
        }
        let until = Instant::now() + COUNT / if settles { 20 } else { 2 };
        let mut counted = None;
        while Instant::now() < until && (settles || counted.is_none() || self.typed.is_empty()) {
            self.hear(until)?;
            let living: Vec<usize> = self.members.living().collect();
            counted = counted.or_else(|| self.facts.counted(sample, &living));
        }
        self.facts.forget_count(sample);
        Ok(counted)
    }

    /// The board, when it has changed; while much happens not every step of it.
    fn show(&mut self, counted: &[Instance], shown: &mut Option<(Instant, Board)>) -> Result<(), Failure> {
        let node = |at: usize| {
            let member = self.members.get(at)?;
            let pid = member.pid();
            if member.killed {
                return Some(format!("{:<4} pid {pid:<8} gone", member.name));
            }
            let runs = counted.iter().filter(|instance| short(&instance.node) == member.name).count();
            let owner = if self.facts.owner == Some(at) { "   the supervisor" } else { "" };
            Some(format!("{:<4} pid {pid:<8} {runs:>3} children{owner}", member.name))
        };
        let nodes = (0..self.members.len()).filter_map(node).collect();
        let board = Board { nodes, wrong: verdict::exactly_once(self.plan.children, counted) };
        let same = |(at, last): &(Instant, Board)| {
            *last == board || (!board.wrong.is_empty() && !last.wrong.is_empty() && at.elapsed() < COUNT)
        };
        if shown.as_ref().is_some_and(same) {
            return Ok(());
        }
        let children = self.plan.children;
        let (tone, text) = match board.wrong.as_slice() {
            [] => (Tone::Good, format!("each of {children} children runs once")),
            wrong => (Tone::Bad, format!("{} of {children} children do not run once", wrong.len())),
        };
        self.story.timeline.say(tone, "board", text)?;
        for node in &board.nodes {
            self.story.timeline.line(Tone::Plain, format_args!("{:24}{node}", ""))?;
        }
        *shown = Some((Instant::now(), board));
        Ok(())
    }

    fn settle(&mut self, since: Instant, counted: &[Instance]) -> Result<Next, Failure> {
        let wrong = verdict::exactly_once(self.plan.children, counted);
        match wrong.first() {
            None => {
                let text = format!("every child runs once, {} ms later", since.elapsed().as_millis());
                self.story.timeline.say(Tone::Good, "settled", text)?;
                Ok(Next::Goes)
            }
            Some(first) if since.elapsed() > SETTLED => {
                Err(Failure::Late { what: first.clone(), limit: SETTLED })
            }
            Some(_) => Ok(Next::Settles(since)),
        }
    }

    /// Does what was typed first.
    fn obey(&mut self) -> Result<Next, Failure> {
        let Some(line) = self.typed.pop_front() else { return Ok(Next::Goes) };
        let line = line.unwrap_or_else(|| "quit".to_owned());
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] => {}
            ["kill", name] => self.kill_named(name)?,
            ["start"] => self.start_another()?,
            ["settle"] => return Ok(Next::Settles(Instant::now())),
            ["quit"] => return Ok(Next::Over),
            _ => self.story.timeline.line(Tone::Plain, HOW)?,
        }
        Ok(Next::Goes)
    }

    fn kill_named(&mut self, name: &str) -> Result<(), Failure> {
        let Some(at) = self.members.living().find(|at| self.name(*at) == name) else {
            let text = format!("there is no living {name}");
            return Ok(self.story.timeline.say(Tone::Quiet, "kill", text)?);
        };
        let pid = self.members.get(at).map_or(0, |member| member.pid());
        self.story.killed(crate::protocol::now(), &self.facts.load);
        self.members.kill(at)?;
        self.lost(at);
        Ok(self.story.timeline.say(Tone::Bad, "kill", format_args!("SIGKILL to {name} (pid {pid})"))?)
    }

    /// Somebody else has ended a node.
    pub(super) fn found_dead(&mut self, at: usize) -> Result<(), Failure> {
        self.story.killed(crate::protocol::now(), &self.facts.load);
        self.members.gone(at);
        self.lost(at);
        let text = format!("{} is gone: {}", self.name(at), self.members.status(at));
        Ok(self.story.timeline.say(Tone::Bad, "kill", text)?)
    }

    fn lost(&mut self, at: usize) {
        self.story.teller = self.members.living().next().unwrap_or(SEED);
        if self.facts.owner == Some(at) {
            self.facts.owner = None;
        }
    }

    fn start_another(&mut self) -> Result<(), Failure> {
        let seed = self.members.living().find_map(|at| self.facts.ids.get(&at).cloned());
        let at = self.members.len();
        self.members.start(seed.as_deref())?;
        self.wait("the node starts", START, |facts| facts.ids.contains_key(&at))?;
        if seed.is_some() {
            let met = |facts: &crate::facts::Facts| facts.sees.get(&at).is_some_and(|seen| !seen.is_empty());
            self.wait("it meets the others", MESH, met)?;
        }
        self.request(at, &Request::StandBy { children: self.plan.children })
    }
}

//! The course of events, from the first process to the last.

mod by_hand;

use std::{
    collections::{BTreeSet, VecDeque},
    fmt, io,
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use crate::{
    args::Plan,
    facts::Facts,
    members::{Heard, Members},
    protocol::{Event, Instance, Request, Stamped, now},
    story::Story,
    table,
    timeline::{Timeline, Tone},
    verdict::{self, Evidence},
};

/// The node that others join through, and that runs the supervisor.
pub(crate) const SEED: usize = 0;
/// The node that calls.
pub(crate) const DRIVER: usize = 1;

/// Deadlines of each step.
const START: Duration = Duration::from_secs(10);
const MESH: Duration = Duration::from_secs(15);
const SUPERVISE: Duration = Duration::from_secs(60);
const FIRST_ANSWERS: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(10);
const ACCOUNT: Duration = Duration::from_secs(15);
const LEAVE: Duration = Duration::from_secs(10);
/// Calls before the kill.
const WARM_UP: Duration = Duration::from_secs(2);
/// Between two counts of the living instances.
const COUNT: Duration = Duration::from_millis(500);
/// So many findings are told singly.
const FINDINGS: usize = 40;

/// Why it could not go on.
enum Failure {
    Late { what: String, limit: Duration },
    Node { node: String, what: String },
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late { what, limit } => write!(f, "{what}: not within {} s", limit.as_secs()),
            Self::Node { node, what } => write!(f, "{node}: {what}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// Runs all of it. Whatever happens, no process is left.
pub(crate) fn run(plan: &Plan) -> ExitCode {
    let story = Story::new(Timeline::begin(), plan.by_hand);
    let (members, heard) = match Members::new() {
        Ok(members) => members,
        Err(error) => return fail(story, &Failure::Io(error)),
    };
    let (facts, doubled) = (Facts::default(), BTreeSet::new());
    let typed = VecDeque::new();
    let mut run = Run { plan: *plan, story, members, heard, facts, samples: 0, doubled, typed };
    let went = if plan.by_hand { run.by_hand() } else { run.all() };
    match went {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => fail(run.story, &failure),
    }
}

fn fail(mut story: Story, failure: &Failure) -> ExitCode {
    let _ = story.timeline.say(Tone::Bad, "failed", failure);
    ExitCode::FAILURE
}

struct Run {
    plan: Plan,
    story: Story,
    members: Members,
    heard: Receiver<Heard>,
    facts: Facts,
    /// Counts asked for so far.
    samples: u64,
    /// Children of which a count found two.
    doubled: BTreeSet<String>,
    /// What was typed and not done yet.
    typed: VecDeque<Option<String>>,
}

impl Run {
    fn all(&mut self) -> Result<Vec<String>, Failure> {
        let victim = self.plan.nodes - 1;
        self.form_the_cluster()?;
        self.start_the_children()?;
        self.start_the_load()?;
        self.kill(victim)?;
        self.load_goes_on()?;
        self.until_each_runs_once()?;
        self.request(DRIVER, &Request::Account)?;
        self.wait("a last call to each child", ACCOUNT, |facts| facts.account.is_some())?;
        let counted = self.count()?;
        let rows = self.facts.account.take().unwrap_or_default();
        let victim = self.name(victim);
        table::print(&mut self.story.timeline, &rows, &counted, &self.facts.placed)?;
        let problems = verdict::problems(&Evidence {
            children: self.plan.children,
            victim: &victim,
            before: &self.facts.placed,
            counted: &counted,
            doubled: &self.doubled,
            rows: &rows,
        });
        self.pronounce(&problems, &victim)?;
        self.leave()?;
        Ok(problems)
    }

    fn form_the_cluster(&mut self) -> Result<(), Failure> {
        let Plan { nodes, children, seconds, .. } = self.plan;
        let seconds = seconds.as_secs();
        let title = if self.plan.by_hand {
            format!("noex failover, by hand: {nodes} nodes, {children} children\n")
        } else {
            format!(
                "noex failover: {nodes} nodes, {children} children, {seconds} s of calls after the kill\n"
            )
        };
        self.story.timeline.line(Tone::Plain, title)?;
        let how =
            "one OS process per node on loopback, one seed, a fresh shared secret, heartbeats 200 ms × 3";
        self.story.timeline.say(Tone::Plain, "start", how)?;
        self.members.start(None)?;
        self.wait("the seed starts", START, |facts| facts.ids.contains_key(&SEED))?;
        let seed = self.facts.ids.get(&SEED).cloned();
        for _ in 1..nodes {
            self.members.start(seed.as_deref())?;
        }
        self.wait("all nodes start", START, |facts| facts.ids.len() == nodes)?;
        self.wait("every node sees every other", MESH, |facts| facts.is_meshed(nodes))?;
        let text = format!("every node sees the {} others", nodes - 1);
        Ok(self.story.timeline.say(Tone::Plain, "mesh", text)?)
    }

    fn start_the_children(&mut self) -> Result<(), Failure> {
        self.request(SEED, &Request::Supervise { children: self.plan.children })?;
        self.wait("the supervisor starts its children", SUPERVISE, |facts| facts.supervising)?;
        for (node, children) in self.facts.placement() {
            let few: Vec<&str> = children.iter().copied().take(8).collect();
            let more = if children.len() > few.len() { " …" } else { "" };
            let text = format!("{node} runs {}: {}{more}", children.len(), few.join(" "));
            self.story.timeline.say(Tone::Plain, "placed", text)?;
        }
        Ok(())
    }

    fn start_the_load(&mut self) -> Result<(), Failure> {
        let children = self.plan.children;
        self.request(DRIVER, &Request::Drive { children })?;
        let text = format!("{} calls every child by its name, without pause", self.name(DRIVER));
        self.story.timeline.say(Tone::Plain, "load", text)?;
        self.wait("every child answers", FIRST_ANSWERS, |facts| facts.load.answered == children)?;
        self.go_on(WARM_UP)
    }

    fn kill(&mut self, victim: usize) -> Result<(), Failure> {
        let victim_name = self.name(victim);
        let pid = self.members.get(victim).map_or(0, |member| member.pid());
        let runs = self.facts.placement().get(victim_name.as_str()).map_or(0, Vec::len);
        let text = format!("SIGKILL to {victim_name} (pid {pid}), which runs {runs} of the children");
        self.request(DRIVER, &Request::Mark)?;
        self.story.killed(now(), &self.facts.load);
        self.members.kill(victim)?;
        Ok(self.story.timeline.say(Tone::Bad, "kill", text)?)
    }

    fn load_goes_on(&mut self) -> Result<(), Failure> {
        self.go_on(self.plan.seconds)?;
        Ok(self.story.sum_up(&self.facts)?)
    }

    /// Lets time pass under load, and counts the living instances on the way.
    fn go_on(&mut self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        let mut next_count = Instant::now();
        let mut pending = None;
        while Instant::now() < end {
            if Instant::now() >= next_count {
                next_count += COUNT;
                if let Some(sample) = pending.replace(self.sample()?) {
                    self.facts.forget_count(sample);
                }
            }
            self.hear(next_count.min(end).min(Instant::now() + Duration::from_millis(50)))?;
            let living: Vec<usize> = self.members.living().collect();
            if let Some(counted) = pending.and_then(|sample| self.facts.counted(sample, &living)) {
                self.doubled.append(&mut verdict::doubled(&counted));
                pending = None;
            }
            self.story.load(&self.facts.load)?;
        }
        Ok(())
    }

    fn until_each_runs_once(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let problems = verdict::exactly_once(self.plan.children, &self.count()?);
            let Some(first) = problems.first() else { return Ok(()) };
            if began.elapsed() >= SETTLE {
                return Ok(()); // the verdict says what is wrong
            }
            if self.story.is_due() {
                let text = format!("{} children are not as they must be yet; {first}", problems.len());
                self.story.timeline.say(Tone::Notable, "waiting", text)?;
            }
            self.hear(Instant::now() + COUNT / 2)?;
        }
    }

    fn pronounce(&mut self, problems: &[String], victim: &str) -> Result<(), Failure> {
        self.story.over = true;
        let (children, living) = (self.plan.children, self.plan.nodes - 1);
        if problems.is_empty() {
            let text = format!(
                "\nOK: {children} of {children} children run exactly once, each on one of {living} living nodes, and answer; \
                 what was not on {victim} was not restarted"
            );
            self.story.timeline.line(Tone::Good, text)?;
        } else {
            self.story
                .timeline
                .line(Tone::Bad, format_args!("\nNOT AS IT MUST BE: {} findings", problems.len()))?;
            for problem in problems.iter().take(FINDINGS) {
                self.story.timeline.line(Tone::Bad, format_args!("  {problem}"))?;
            }
        }
        Ok(())
    }

    /// Ends the nodes in good order: the supervisor's first, as its children are on the others.
    fn leave(&mut self) -> Result<(), Failure> {
        for at in self.members.living() {
            self.request(at, &Request::Leave)?;
            let name = self.name(at);
            if let Err(failure) =
                self.wait(&format!("{name} leaves"), LEAVE, |facts| facts.left.contains(&at))
            {
                self.story.timeline.say(Tone::Bad, "leave", failure)?;
            }
        }
        for name in self.members.end(Duration::from_secs(2)) {
            self.story.timeline.say(Tone::Bad, "leave", format_args!("{name} did not end and was killed"))?;
        }
        Ok(())
    }

    fn name(&self, at: usize) -> String {
        self.members.get(at).map_or_else(|| format!("n{}", at + 1), |member| member.name.clone())
    }

    fn request(&mut self, at: usize, request: &Request) -> Result<(), Failure> {
        self.members
            .ask(at, request)
            .map_err(|error| Failure::Node { node: self.name(at), what: error.to_string() })
    }

    /// Asks every living node for its instances; returns the number of the count.
    fn sample(&mut self) -> Result<u64, Failure> {
        self.samples += 1;
        let sample = self.samples;
        for at in self.members.living() {
            self.request(at, &Request::Count { sample })?;
        }
        Ok(sample)
    }

    /// All supervised instances on living nodes, now.
    fn count(&mut self) -> Result<Vec<Instance>, Failure> {
        let sample = self.sample()?;
        let living: Vec<usize> = self.members.living().collect();
        self.wait("every node counts its children", START, |facts| facts.counted(sample, &living).is_some())?;
        let counted = self.facts.counted(sample, &living).unwrap_or_default();
        self.facts.forget_count(sample);
        self.doubled.append(&mut verdict::doubled(&counted));
        Ok(counted)
    }

    /// Hears until it is so.
    fn wait(&mut self, what: &str, limit: Duration, done: impl Fn(&Facts) -> bool) -> Result<(), Failure> {
        let began = Instant::now();
        while !done(&self.facts) {
            let waited = began.elapsed();
            if waited >= limit {
                return Err(Failure::Late { what: what.to_owned(), limit });
            }
            if self.story.is_due() {
                let text = format!("{what} ({} s)", waited.as_secs());
                self.story.timeline.say(Tone::Quiet, "waiting", text)?;
            }
            self.hear(Instant::now() + Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Hears one thing, or nothing until then.
    fn hear(&mut self, until: Instant) -> Result<(), Failure> {
        match self.heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Heard::Event(from, Stamped { at, event })) => {
                self.facts.note(from, at, &event);
                if let Event::Failed { what } = event {
                    return Err(Failure::Node { node: self.name(from), what });
                }
                let Some(member) = self.members.get(from) else { return Ok(()) };
                Ok(self.story.tell(from, member, at, &event)?)
            }
            Ok(Heard::Garbled(from, what)) => Err(Failure::Node { node: self.name(from), what }),
            Ok(Heard::Ended(from)) => {
                self.facts.ended.insert(from);
                let expected = self.members.get(from).is_none_or(|member| member.killed);
                if !expected && self.plan.by_hand {
                    return self.found_dead(from);
                }
                if expected || self.facts.left.contains(&from) {
                    return Ok(());
                }
                let what = format!("its process ended: {}", self.members.status(from));
                Err(Failure::Node { node: self.name(from), what })
            }
            Ok(Heard::Typed(line)) => {
                self.typed.push_back(line);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("nobody is there to be heard").into())
            }
        }
    }
}

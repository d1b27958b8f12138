//! A supervisor that has lost its name to the next one. It was frozen, or cut off, and does not know at first: then it may
//! take what the next one has for its own, or for duplicates. Once it knows, it starts nothing and stops nothing.

use super::*;

#[derive(Debug)]
pub(super) struct Loser {
    machine: Coordinator,
    /// Where it runs.
    home: NodeId,
    /// It was told that another one has its name.
    knows: bool,
    pub(super) frozen: bool,
}

impl Loser {
    pub(super) fn new(machine: Coordinator, home: NodeId) -> Self {
        Self { machine, home, knows: false, frozen: false }
    }

    pub(super) fn is_frozen_on(&self, node: &NodeId) -> bool {
        self.frozen && self.home == *node
    }
}

impl World {
    /// All its connections are new; it may have taken all other nodes for dead meanwhile.
    pub(super) fn thaw_loser(&mut self) {
        let Some(loser) = &self.loser else { return };
        let home = loser.home.clone();
        let all = loser.machine.supervision().children().map(|child| child.rule.id.clone());
        let (keep, reason) = (all.collect(), ExitReason::error("name_lost"));
        let hand_over = Input::Child(supervision::Input::HandedOver { keep, reason });
        let here = |(id, node): (&NodeId, &Node)| (id.clone(), Incarnation(node.incarnation), node.connected);
        let all: Vec<_> = self.nodes.iter().map(here).collect();
        let cut_off = self.dice.roll(2) == 0;
        self.old_step(Input::StoodStill);
        for (node, incarnation, connected) in all {
            let reason = match cut_off && node != home {
                true => NodeDownReason::HeartbeatTimeout,
                false => NodeDownReason::ConnectionClosed,
            };
            let down = failover::Input::NodeDown { node: node.clone(), incarnation, reason };
            let back = self.dice.roll(20);
            self.old_step(Input::Node(down));
            if !connected {
                continue;
            }
            let up = failover::Input::NodeUp { node, incarnation };
            self.later(back, Event::Old(Box::new(Event::Fact(Input::Node(up)))));
        }
        let knows = self.dice.roll(60);
        self.rumour = self.now.plus(Duration::from_millis(knows));
        let superseded = Input::Child(supervision::Input::Superseded);
        self.later(knows, Event::Old(Box::new(Event::Fact(superseded))));
        let asked = knows + 1 + self.dice.roll(30);
        self.later(asked, Event::Old(Box::new(Event::Fact(hand_over))));
        // It hears of no ends here: then what it told to go had its time.
        self.later(asked + 300, Event::Old(Box::new(Event::Fact(Input::DeadlineReached))));
    }

    fn old_step(&mut self, input: Input) {
        let Some(loser) = &mut self.loser else { return };
        loser.knows |= matches!(input, Input::Child(supervision::Input::Superseded));
        let (knows, home) = (loser.knows, loser.home.clone());
        let mut out = VecDeque::new();
        loser.machine.handle(input, self.now, 0, &mut out);
        let term = loser.machine.supervision().term();
        for command in out {
            match command {
                Output::Query { node, query, .. } => {
                    let session = self.nodes[&node].session;
                    let answer = self.dice.roll(60);
                    self.later(answer, Event::Old(Box::new(Event::Told { node, session, query, term })));
                }
                Output::Child(Command::Start { child, generation, .. }) => {
                    assert!(!knows, "it starts {child}");
                    let (node, era) = (home.clone(), self.era - 1);
                    let session = self.nodes[&node].session;
                    self.soon(Event::Spawn { node, session, child, generation, era });
                }
                Output::Child(Command::Stop { child, pid, how, cause, .. }) => {
                    // Then only what it had told to go before.
                    let is_new = matches!(cause, Cause::Duplicate | Cause::NoChild | Cause::Late);
                    assert!(!knows || !is_new, "it stops {child}");
                    self.send_stop(pid, how, cause);
                }
                Output::AskOwners { .. } => self.later(2, Event::Old(Box::new(Event::Owners))),
                Output::Yield { to } => panic!("its view does not show {to} yet"),
                Output::Child(Command::End(_)) => {
                    self.soon(Event::Fact(Input::Node(failover::Input::RivalGone)));
                }
                Output::Child(
                    Command::DoubtName
                    | Command::Watch { .. }
                    | Command::Ready
                    | Command::Reply { .. }
                    | Command::Report(_)
                    | Command::Forget { .. },
                ) => {}
            }
        }
    }

    pub(super) fn old_event(&mut self, event: Event) {
        if self.loser.as_ref().is_some_and(|loser| loser.frozen || self.nodes[&loser.home].cut.is_some()) {
            return self.later(50, Event::Old(Box::new(event)));
        }
        match event {
            Event::Fact(input) => self.old_step(input),
            Event::Spawned { child, generation, pid, .. } => {
                let fact = supervision::Input::StartSucceeded { child, generation, pid };
                self.old_step(Input::Child(fact));
            }
            // Others know who has the name.
            Event::Owners => self.old_step(Input::Owners { seen: None, named: true }),
            Event::Told { node, session, query, term } => {
                let target = &self.nodes[&node];
                if target.is_silent() && target.connected && target.session == session {
                    let asked = Event::Told { node, session, query, term };
                    return self.later(50, Event::Old(Box::new(asked)));
                }
                let seen = self.exchange_term(&node, term);
                let found = self.instances(&node, session);
                if found.is_some() {
                    self.old_step(Input::Child(supervision::Input::Seen { term: seen }));
                }
                self.old_step(Input::Node(failover::Input::Answered { node, query, found }));
            }
            other => unreachable!("{other:?}"),
        }
    }
}

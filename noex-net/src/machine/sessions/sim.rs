//! Two machines, a seeded network between them: dials from both ends, delays, resets, black holes, restarts.

use std::collections::{BTreeMap, BinaryHeap};

use super::*;
use crate::machine::backoff::Entropy;

const CHAOS_MS: u64 = 4_000;
const END_MS: u64 = 20_000;
const CALM_MS: u64 = 12_000;
const INTERVAL_MS: u64 = 200;
const SILENCE_MS: u64 = 600;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Frame {
    Hello,
    Challenge(u64),
    Proof(u64),
    Welcome,
    Heartbeat,
    Ping(u64),
    Pong(u64),
    Close(CloseReason),
    Reset,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives {
        to: usize,
        conn: ConnId,
        frame: Frame,
    },
    /// The reader of an end has handed over its last batch.
    Drained {
        at: usize,
        conn: ConnId,
        life: u64,
        told: Option<CloseReason>,
    },
    Tick {
        at: usize,
    },
    Trouble,
}

#[derive(Default)]
struct End {
    authenticated: bool,
    closed: bool,
    beaten: bool,
    last_received: u64,
    busy_until: u64,
}

struct Node {
    id: NodeId,
    life: u64,
    sessions: Sessions,
    dialling_until: u64,
    up: Option<ConnId>,
    ups: u32,
    last_down: u64,
}

struct World {
    dice: Entropy,
    now: u64,
    order: u64,
    events: BinaryHeap<std::cmp::Reverse<(u64, u64, Event)>>,
    nodes: [Node; 2],
    conns: BTreeMap<ConnId, [End; 2]>,
    holes: Vec<ConnId>,
    next_conn: u64,
    seed: u64,
    /// The longest delay of one frame in ms; beyond half an interval a pong may come too late.
    slowest: u64,
}

fn node(name: &str) -> Node {
    let id = NodeId::parse(name).unwrap();
    let sessions = machine(&id);
    Node { id, life: 1, sessions, dialling_until: 0, up: None, ups: 0, last_down: 0 }
}

fn machine(id: &NodeId) -> Sessions {
    Sessions::new(id.clone(), Duration::from_millis(INTERVAL_MS), Duration::from_millis(1000))
}

impl World {
    fn new(seed: u64, slowest: u64) -> Self {
        let nodes = [node("a@h:1"), node("b@h:1")];
        let (events, conns) = (BinaryHeap::new(), BTreeMap::new());
        let dice = Entropy::new(seed);
        let holes = Vec::new();
        let mut world =
            Self { dice, now: 1, order: 0, events, nodes, conns, holes, next_conn: 0, seed, slowest };
        for at in 0..2 {
            world.dial(at); // both at the same moment
            world.after(10, Event::Tick { at });
        }
        world.after(50, Event::Trouble);
        world
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.order += 1;
        self.events.push(std::cmp::Reverse((self.now + delay, self.order, event)));
    }

    fn send(&mut self, from: usize, conn: ConnId, frame: Frame) {
        let to = 1 - from;
        if self.holes.contains(&conn) {
            return;
        }
        let slowest = if self.dice.roll(8) == 0 { self.slowest } else { 30 };
        let delay = 1 + self.dice.roll(slowest);
        let end = &mut self.conns.get_mut(&conn).unwrap()[to];
        let at = (self.now + delay).max(end.busy_until + 1); // one connection delivers in order
        end.busy_until = at;
        self.after(at - self.now, Event::Arrives { to, conn, frame });
    }

    fn dial(&mut self, at: usize) {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.conns.insert(conn, <[End; 2]>::default());
        self.nodes[at].dialling_until = self.now + 500;
        self.send(at, conn, Frame::Hello);
    }

    fn give(&mut self, at: usize, input: Input) {
        let mut out = VecDeque::new();
        let now = Monotonic::from_millis(self.now);
        self.nodes[at].sessions.handle(input, now, &mut out);
        for output in out {
            self.perform(at, output);
        }
    }

    fn perform(&mut self, at: usize, output: Output) {
        let (now, seed) = (self.now, self.seed);
        match output {
            Output::SendWelcome { conn } => {
                assert_eq!(at, 0, "seed {seed}: only the arbiter welcomes");
                self.send(at, conn, Frame::Welcome);
            }
            Output::SendHeartbeat { conn } => self.send(at, conn, Frame::Heartbeat),
            Output::SendPing { conn, nonce } => self.send(at, conn, Frame::Ping(nonce)),
            Output::Close { conn, reason } => {
                assert!(
                    at == 0 || reason != CloseReason::Duplicate,
                    "seed {seed}: only the arbiter closes duplicates"
                );
                self.send(at, conn, Frame::Close(reason));
                self.hang_up(at, conn, None);
            }
            Output::SessionUp { conn, .. } => {
                let node = &mut self.nodes[at];
                assert_eq!(node.up, None, "seed {seed}: up while another is up");
                node.up = Some(conn);
                node.ups += 1;
                self.conns.get_mut(&conn).unwrap()[at].last_received = now;
            }
            Output::SessionDown { conn, .. } => {
                let node = &mut self.nodes[at];
                assert_eq!(node.up.take(), Some(conn), "seed {seed}: down without up");
                node.last_down = now;
            }
            Output::SupersededByOther { .. } => panic!("seed {seed}: nobody is superseded here"),
        }
    }

    fn hang_up(&mut self, at: usize, conn: ConnId, told: Option<CloseReason>) {
        let end = &mut self.conns.get_mut(&conn).unwrap()[at];
        if std::mem::replace(&mut end.closed, true) || !end.authenticated {
            return;
        }
        let (delay, life) = (self.dice.roll(60), self.nodes[at].life);
        self.after(delay, Event::Drained { at, conn, life, told });
    }

    fn arrives(&mut self, to: usize, conn: ConnId, frame: Frame) {
        let end = &mut self.conns.get_mut(&conn).unwrap()[to];
        if end.closed {
            // As TCP does: who writes to a closed socket hears of it.
            if !matches!(frame, Frame::Close(_) | Frame::Reset) {
                self.send(to, conn, Frame::Reset);
            }
            return;
        }
        end.last_received = self.now;
        let peer = self.nodes[1 - to].id.clone();
        let authenticated = |world: &mut Self, life| {
            world.conns.get_mut(&conn).unwrap()[to].authenticated = true;
            world.give(to, Input::Authenticated { conn, peer: peer.clone(), incarnation: Incarnation(life) });
        };
        match frame {
            Frame::Hello => {
                let own = self.nodes[to].life;
                self.send(to, conn, Frame::Challenge(own));
            }
            Frame::Challenge(life) => {
                let own = self.nodes[to].life;
                self.send(to, conn, Frame::Proof(own)); // first on the wire, then what the machine says
                authenticated(self, life);
            }
            Frame::Proof(life) => authenticated(self, life),
            Frame::Welcome => self.give(to, Input::WelcomeReceived { conn }),
            Frame::Heartbeat => {
                if !std::mem::replace(&mut end.beaten, true) {
                    self.give(to, Input::FirstHeartbeat { conn });
                }
            }
            Frame::Ping(nonce) => self.send(to, conn, Frame::Pong(nonce)),
            Frame::Pong(nonce) => self.give(to, Input::PongReceived { conn, nonce }),
            Frame::Close(reason) => self.hang_up(to, conn, Some(reason)),
            Frame::Reset => self.hang_up(to, conn, None),
        }
    }

    fn tick(&mut self, at: usize) {
        let now = Monotonic::from_millis(self.now);
        if self.nodes[at].sessions.deadline().is_some_and(|deadline| deadline <= now) {
            self.give(at, Input::DeadlineReached);
        }
        if let Some(conn) = self.nodes[at].up {
            self.send(at, conn, Frame::Heartbeat);
            let end = &self.conns[&conn][at];
            if end.last_received + SILENCE_MS < self.now && !end.closed {
                self.give(at, Input::TimedOut { conn });
            }
        }
        let node = &self.nodes[at];
        let idle = !node.sessions.has_connection(&self.nodes[1 - at].id) && node.dialling_until < self.now;
        if idle && self.dice.roll(3) == 0 {
            self.dial(at);
        }
        let delay = 20 + self.dice.roll(80);
        self.after(delay, Event::Tick { at });
    }

    fn trouble(&mut self) {
        let victim = ConnId(self.dice.roll(self.next_conn));
        match self.dice.roll(6) {
            0 => self.reset(victim),
            1 => self.holes.push(victim),
            2 => {
                let at = usize::try_from(self.dice.roll(2)).unwrap();
                self.restart(at);
            }
            3 => {
                let at = usize::try_from(self.dice.roll(2)).unwrap();
                self.dial(at); // a dial that was under way
            }
            4 => (0..2).for_each(|at| self.dial(at)),
            _ => {}
        }
        let delay = 20 + self.dice.roll(500);
        if self.now + delay < CHAOS_MS {
            self.after(delay, Event::Trouble);
        }
    }

    fn reset(&mut self, conn: ConnId) {
        for to in 0..2 {
            let delay = self.dice.roll(100);
            self.after(delay, Event::Arrives { to, conn, frame: Frame::Reset });
        }
    }

    fn restart(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.life += 1;
        node.sessions = machine(&node.id);
        (node.up, node.dialling_until) = (None, 0);
        let open: Vec<ConnId> =
            self.conns.iter().filter(|(_, ends)| !ends[at].closed).map(|(id, _)| *id).collect();
        for conn in open {
            self.conns.get_mut(&conn).unwrap()[at].closed = true;
            if self.dice.roll(2) == 0 {
                self.reset(conn);
            } else {
                self.holes.push(conn);
            }
        }
    }

    fn run(&mut self) {
        while let Some(std::cmp::Reverse((at, _, event))) = self.events.pop() {
            if at > END_MS {
                break;
            }
            self.now = at;
            match event {
                Event::Arrives { to, conn, frame } => self.arrives(to, conn, frame),
                Event::Drained { at, conn, life, told } => {
                    if self.nodes[at].life == life {
                        self.give(at, Input::Closed { conn, told });
                    }
                }
                Event::Tick { at } => self.tick(at),
                Event::Trouble => self.trouble(),
            }
        }
    }
}

#[test]
fn after_any_trouble_one_connection_is_left_and_stays() {
    let mut restarts = 0;
    for seed in 0..4_000 {
        let mut world = World::new(seed, 300);
        world.run();
        let [a, b] = &world.nodes;
        assert!(a.up.is_some(), "seed {seed}: stuck");
        assert_eq!(a.up, b.up, "seed {seed}: the ends disagree");
        assert_eq!(a.sessions.session(&b.id), a.up, "seed {seed}");
        assert_eq!(b.sessions.session(&a.id), b.up, "seed {seed}");
        assert!(a.last_down.max(b.last_down) < CALM_MS, "seed {seed}: no rest");
        for (conn, ends) in world.conns.iter().filter(|(conn, _)| Some(**conn) != a.up) {
            let open = ends.iter().any(|end| end.authenticated && !end.closed);
            assert!(!open, "seed {seed}: {conn:?} is left over");
        }
        assert!(a.sessions.deadline().is_none() && b.sessions.deadline().is_none(), "seed {seed}");
        restarts += a.life + b.life - 2;
    }
    assert!(restarts > 1_000, "the trouble was real");
}

#[test]
fn a_simultaneous_dial_alone_costs_no_session() {
    for seed in 0..2_000 {
        let mut world = World::new(seed, 60);
        world.events.retain(|std::cmp::Reverse((_, _, event))| *event != Event::Trouble);
        world.run();
        let [a, b] = &world.nodes;
        assert_eq!((a.ups, b.ups, a.last_down, b.last_down), (1, 1, 0, 0), "seed {seed}");
    }
}

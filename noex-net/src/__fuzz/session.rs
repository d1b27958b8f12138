//! The incoming side of an authenticated connection, against a peer that holds the secret and says what it likes.
//!
//! Invariants: 1. no frame panics, and none blocks; 2. what the peer had set up on this node is gone when the session is;
//! 3. what waits to be sent to it is bounded; 4. the processes of the node answer as before.

use std::sync::Arc;

use actix_rt::{System, SystemRunner};
use noex_actors::{
    __private::encode_into,
    Caller, ExitReason, FencingToken, Generation, Incarnation, Info, MailboxPolicy, Node, NodeId, Owner, Pid,
    Ref, Registration, SpawnOptions, behavior, behavior_number,
    route::{BY_NAME, BehaviorId},
    trace::TraceContext,
};

use super::input::Input;
use crate::{
    ClusterConfig,
    groups::Groups,
    io::socket::{Socket, Transport, WriteHalf},
    link::{Inbound, Link, Step},
    machine::{
        groups::Membership,
        handshake::Established,
        names::{Held, Update},
        sessions::ConnId,
    },
    net::{Net, NetRouter},
    wire::{
        control::{Behavior, Control, Heartbeat, Hint, NUMBERED_UNLINKS, Request, Response, SpawnOrder},
        frame::{self, Head, NUMBERED_REPLIES},
        limits::CHUNK,
        to_name, trace,
    },
};

/// What waits to be sent to the peer at most: four times the outbox, and one more message.
const MAX_QUEUED: usize = 5 * OUTBOX;
const OUTBOX: usize = 64 << 10;
/// The name that the first of the targets has.
const NAME: &str = "named";
/// Chunks that one input may make.
const MAX_FRAMES: usize = 200;

/// What the peer talks to.
struct Subject {
    held: Vec<Caller<u64>>,
}

#[behavior(name = "fuzz")]
impl Subject {
    #[init]
    fn new(fails: bool) -> Result<Self, ExitReason> {
        if fails { Err(ExitReason::Normal) } else { Ok(Self { held: Vec::new() }) }
    }
    #[call]
    fn echo(&self, number: u64) -> u64 {
        number
    }
    #[call]
    fn hold(&mut self, from: Caller<u64>) {
        self.held.truncate(10);
        self.held.push(from);
    }
    #[cast]
    fn meet(&mut self, other: Ref<Subject>, pid: Pid) {
        drop((other, pid));
    }
    #[info]
    fn info(&mut self, info: Info<()>) {
        drop(info);
    }
}

/// A node and the near end of a connection, for many inputs.
pub struct Session {
    runner: SystemRunner,
    net: Arc<Net>,
    socket: Arc<WriteHalf>,
    peer: NodeId,
    runs: u64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// Starts the node.
    ///
    /// # Panics
    /// If there is no loopback, or no thread to be had.
    #[must_use]
    pub fn new() -> Self {
        let runner = System::new();
        let (net, socket) = runner.block_on(async {
            let config = ClusterConfig::builder("near").max_spawned_per_peer(20).outbox_bytes(OUTBOX);
            let config = config.max_message_bytes(256 << 10).secret("a secret of a test");
            let config = config.build().expect("valid settings");
            let id = NodeId::parse("near@127.0.0.1:1").expect("a valid id");
            let node = Node::builder().arbiters(1).behavior::<Subject>().identity(id, Incarnation(1));
            let net = Net::new(node.start().await.expect("a thread"), config, Transport::Tcp);
            net.node.set_router(Arc::new(NetRouter::new(&net)));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
            let address = listener.local_addr().expect("it is bound");
            let near = tokio::net::TcpStream::connect(address).await.expect("it listens");
            (net, Arc::new(Socket::from(near).into_split().1))
        });
        let peer = NodeId::parse("peer@127.0.0.1:2").expect("a valid id");
        Self { runner, net, socket, peer, runs: 0 }
    }

    /// One session: the input is what the peer says in it.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn run(&mut self, bytes: &[u8]) {
        self.runs += 1;
        let (runs, net) = (self.runs, Arc::clone(&self.net));
        let established = Established {
            peer: self.peer.clone(),
            incarnation: Incarnation(5),
            capabilities: trace::CAPABILITY | NUMBERED_REPLIES | NUMBERED_UNLINKS,
            send_key: None,
            receive_key: None,
            key: None,
        };
        let socket = Arc::clone(&self.socket);
        self.runner.block_on(async move {
            let spawn = |trap: bool| {
                let options = SpawnOptions::new();
                net.node.spawn::<Subject>(false).options(if trap { options.trap_exit() } else { options })
            };
            let witness = net.node.spawn::<Subject>(false).await.expect("the node runs");
            let targets = [spawn(false).await.expect("it runs"), spawn(true).await.expect("it runs")];
            net.node.register(NAME, &targets[0]).expect("nobody has it");
            let link = Link::new(ConnId(runs), &established, socket, None, Arc::clone(&net));
            net.peer(&link.peer).connected(&link, false);
            net.names.session_up(&link, runs % 3);
            Groups::session_up(&link);
            talk(&link, &targets, bytes);
            // Spawns that the peer asked for.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            assert!(link.outbox.queued() <= MAX_QUEUED, "{} bytes wait", link.outbox.queued());
            link.end();
            net.peer(&link.peer).disconnected();
            net.names.node_down(&net, &link.peer);
            net.groups.node_down(&net, &link.peer);
            assert_eq!(link.watches.counts(), (0, 0), "watches stay");
            assert_eq!(link.ties.len(), 0, "links stay");
            assert!(link.requests.close().is_empty(), "unconfirmed processes stay");
            assert_eq!(net.names.count_of(&link.peer), 0, "names stay");
            assert_eq!(net.groups.remote_total(), 0, "members stay");
            assert_eq!(witness.echo(runs).await.ok(), Some(runs), "the node answers");
            while net.node.process_count() > 0 {
                for process in net.node.processes() {
                    net.node.resolve_any(&process.pid, None).kill();
                }
                tokio::task::yield_now().await;
            }
        });
    }
}

/// Feeds what the input says, until the session is broken.
fn talk(link: &Arc<Link>, targets: &[Ref<Subject>; 2], bytes: &[u8]) {
    let mut inbound = Inbound::new(Arc::clone(link));
    let mut input = Input(bytes);
    // Mostly from a session that is up.
    let mut frames = Vec::new();
    if input.byte() != 0 {
        put(&Control::Heartbeat(Heartbeat::default()), &mut frames);
    }
    for _ in 0..MAX_FRAMES {
        if input.is_empty() {
            break;
        }
        match input.byte() {
            // What the input says, byte by byte.
            0..0x40 => frames.extend_from_slice(input.bytes()),
            0x40..0x50 => {
                let (kind, stream) = (input.byte(), u64::from(input.byte()));
                let total = u64::from(input.byte()) << (input.byte() % 24);
                let piece = input.bytes();
                let piece = &piece[..piece.len().min(CHUNK / 2)];
                match kind % 4 {
                    0 => frame::put_first(stream, total, piece, &mut frames),
                    1 | 2 => {
                        frames.extend_from_slice(frame::next_head(stream, piece.len()).as_bytes());
                        frames.extend_from_slice(piece);
                    }
                    _ => frame::put_dropped(stream, &mut frames),
                }
            }
            0x50..0x70 => {
                let target = number(targets, &mut input);
                let behavior = match input.byte() {
                    0..0x80 => BehaviorId::Hash(behavior_number("fuzz")),
                    0x80..0xF0 => BehaviorId::Number(1),
                    other => BehaviorId::Number(u32::from(other)),
                };
                let id = u64::from(input.byte());
                let kind = input.byte();
                let traced = kind >= 0x80;
                let head = match kind % 7 {
                    0 => Head::Call { id, behavior, target, budget_ms: id, numbered: id % 2 == 0, traced },
                    1 => Head::Cast { behavior, target, traced },
                    2 => Head::Reply { id },
                    3 => Head::Cancel { id, target },
                    4 => Head::Mark { target, position: id },
                    5 => Head::Credit { target, position: id },
                    _ => Head::Failure { id },
                };
                let at = frames.len();
                head.begin(&mut frames);
                if traced && id % 2 == 0 {
                    let context = TraceContext::new(u128::from(id) + 1, target + 1, kind).expect("a context");
                    trace::put(&context, &mut frames);
                }
                // A name that somebody has, or what the input says.
                if target & BY_NAME != 0 && id % 4 != 0 {
                    to_name::put(NAME, &mut frames);
                }
                frames.extend_from_slice(input.bytes());
                frames.truncate(at + frame::HEADER + CHUNK);
                frame::finish(&mut frames, at);
            }
            _ => put(&message(link, targets, &mut input), &mut frames),
        }
        if input.byte() < 0x20 && !take(&mut inbound, &std::mem::take(&mut frames)) {
            return;
        }
    }
    take(&mut inbound, &frames);
}

/// Takes a batch; false if it broke the session, or the peer ended it.
fn take(inbound: &mut Inbound, batch: &[u8]) -> bool {
    let mut frames = batch;
    loop {
        let before = frames.len();
        match inbound.run(&mut frames) {
            Ok(Step::Done) => return true,
            Ok(Step::Turn) => {}
            Ok(Step::FirstHeartbeat(_)) => assert!(frames.len() < before, "it goes on"),
            Ok(Step::End(_)) => return false,
            Err(broken) => {
                assert!(!broken.to_string().is_empty() && broken.to_string().len() < 1000);
                let _ = broken.error();
                return false;
            }
        }
    }
}

fn put(control: &Control, frames: &mut Vec<u8>) {
    let at = frames.len();
    Head::Control.begin(frames);
    encode_into(control, frames).expect("control messages can be written");
    frames.truncate(at + frame::HEADER + CHUNK);
    frame::finish(frames, at);
}

/// One of the targets, or one that is not there.
fn number(targets: &[Ref<Subject>; 2], input: &mut Input<'_>) -> u64 {
    match input.byte() {
        0..0x70 => targets[0].pid().number(),
        0x70..0xE0 => targets[1].pid().number(),
        byte @ 0xE0..0xF0 => u64::from(byte),
        byte => BY_NAME | u64::from(byte),
    }
}

fn reason(input: &mut Input<'_>) -> ExitReason {
    match input.byte() % 8 {
        0 => ExitReason::Normal,
        1 => ExitReason::Shutdown,
        2 => ExitReason::Killed,
        3 => ExitReason::NoProc,
        4 => ExitReason::NoConnection,
        5 => ExitReason::Panic("x".repeat(input.u16())),
        _ => ExitReason::Error(String::from_utf8_lossy(input.bytes()).into_owned()),
    }
}

fn text(input: &mut Input<'_>) -> String {
    match input.byte() {
        byte @ 0..0x80 => format!("name {byte}"),
        0x80..0x90 => "x".repeat(input.u16()),
        _ => String::from_utf8_lossy(input.bytes()).into_owned(),
    }
}

fn update(link: &Link, input: &mut Input<'_>) -> Update {
    let own = Pid::new(link.peer.clone(), link.incarnation, u64::from(input.byte()));
    let token = FencingToken::new(text(input), text(input), Generation(u64::from(input.byte())));
    let held = |pid, token| Some(Held { pid, token });
    let held = match input.byte() {
        0..0x80 => held(own, None),
        0x80..0xA0 => held(own.clone(), Some(token.owned_by(Owner(own)))),
        0xA0..0xA4 => held(Pid::new(link.net.node.id().clone(), Incarnation(1), 1), None),
        _ => None,
    };
    let version = u64::from(input.byte()) << (input.byte() % 64);
    Update { name: text(input), version, held }
}

fn membership(number: u64, input: &mut Input<'_>) -> Membership {
    Membership { group: text(input), number, count: u32::from(input.byte()) << (input.byte() % 32) }
}

/// A control message that can be read.
fn message(link: &Link, targets: &[Ref<Subject>; 2], input: &mut Input<'_>) -> Control {
    let id = u64::from(input.byte());
    let near = number(targets, input);
    match input.byte() % 28 {
        0 => Control::Welcome,
        1 => Control::Heartbeat(Heartbeat { draining: id > 200, ..Heartbeat::default() }),
        2 => Control::Ping { nonce: id },
        3 => Control::Pong { nonce: id },
        4 if id == 0 => Control::Close { reason: text(input) },
        5 => [Control::Draining, Control::Goodbye][usize::from(id % 2 == 0)].clone(),
        6 => Control::Unlinked { from: id, to: near, number: id / 2 },
        7 => Control::Hints(vec![
            Hint { id: link.peer.clone(), incarnation: Incarnation(id) };
            input.u16() % 900
        ]),
        8 => {
            let (number, name) = (u32::from(input.byte()), text(input));
            Control::Behaviors(vec![Behavior { number, name, schema: Vec::new() }; usize::from(input.byte())])
        }
        9 | 10 => {
            // Mostly what follows.
            let (after, upto) = if id < 0xE0 { (0, 0) } else { (id % 4, u64::from(input.byte())) };
            let updates = (0..id % 8).map(|_| update(link, input)).collect();
            Control::Names { after, upto, done: id & 1 == 0, updates }
        }
        11 => Control::Unregister { name: text(input), number: near },
        12 => Control::Monitor { id, number: near },
        13 => Control::Demonitor { id },
        14 => Control::Down { id, reason: reason(input) },
        15 => Control::Link { from: id, to: near },
        16 => Control::Unlink { from: id, to: near, number: id / 2 },
        17 => Control::Broken { from: id, to: near, reason: reason(input) },
        18 => Control::Exit { from: id, to: near, reason: reason(input) },
        19 => Control::Stop { number: near, reason: reason(input) },
        20 => Control::Kill { number: near },
        21 => Control::Request { id, body: Request::Instances { supervisor: text(input), term: id } },
        22 => Control::Request { id, body: Request::IsAlive { number: near } },
        23 => Control::Response { id, body: Response::Alive(true) },
        24 => Control::Confirm { id },
        25 if id > 200 => Control::Request { id, body: Request::WhereIs { name: NAME.to_owned() } },
        25 if id > 127 => Control::Request { id, body: Request::WhereIs { name: text(input) } },
        25 => Control::Request { id, body: Request::OwnerOf { name: text(input) } },
        26 => Control::Groups((0..id % 8).map(|number| membership(number, input)).collect()),
        27 => Control::Broadcast {
            group: text(input),
            behavior: behavior_number("fuzz"),
            body: input.bytes().to_vec(),
        },
        _ => Control::Request { id, body: Request::Spawn(Box::new(order(input))) },
    }
}

fn order(input: &mut Input<'_>) -> SpawnOrder {
    let registration = match input.byte() % 4 {
        0 => Registration::Local,
        1 => Registration::Global,
        _ => Registration::None,
    };
    let args = match input.byte() {
        0..0xC0 => vec![0xC2],
        0xC0..0xD0 => vec![0xC3],
        _ => input.bytes().to_vec(),
    };
    let token = FencingToken::new(text(input), "child", Generation(1));
    SpawnOrder {
        behavior: if input.byte() < 0xE0 { "fuzz".to_owned() } else { text(input) },
        args,
        name: (input.byte() > 0x80).then(|| text(input)),
        registration,
        init_timeout_ms: u64::from(input.byte()) << (input.byte() % 64),
        mailbox_capacity: u64::from(input.byte()) << (input.byte() % 64),
        token: (input.byte() > 0xC0).then_some(token),
        mailbox_policy: MailboxPolicy::Reject,
        trap_exit: input.byte() & 1 == 1,
        lease: (input.byte() > 0xC0).then(Default::default),
    }
}

//! Inputs from which fuzzing begins: something good of every kind, and the wrong things that matter.

use std::collections::VecDeque;

use noex_actors::{
    __private::{CallFailure, encode_into},
    Delivery, ExitReason, Generation, Incarnation, MailboxPolicy, NodeId, Owner, Pid, Registration,
    route::{BY_NAME, BehaviorId},
    trace::TraceContext,
};

use super::handshake::local;
use crate::{
    machine::{
        groups::Membership,
        handshake::{Acceptor, Expected, Initiator, Output, RefusedReason, refused_frame},
        names::{Held, Update},
    },
    wire::{
        control::{
            Behavior, Control, Heartbeat, Hint, Holder, InstanceEntry, Request, Response, SpawnFailure,
            SpawnOrder,
        },
        frame::{self, Head},
        trace,
    },
};

fn encoded(value: &impl serde::Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out).expect("it can be written");
    out
}

fn framed(head: Head, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    head.begin(&mut out);
    out.extend_from_slice(body);
    frame::finish(&mut out, 0);
    out
}

/// All that is said of a behavior without messages.
const SCHEMA: &[u8] = b"\x94\xa4Unit\xa4Unit\xa4Unit\xa4Unit";

fn controls() -> Vec<Vec<u8>> {
    let peer = NodeId::parse("peer@127.0.0.1:2").expect("a valid id");
    let pid = Pid::new(peer.clone(), Incarnation(5), 1);
    let owner = pid.clone();
    let token = noex_actors::FencingToken::new("s", "c", Generation(1)).owned_by(Owner(pid.clone()));
    let update = Update { name: "n".to_owned(), version: 1, held: Some(Held { pid, token: Some(token) }) };
    let entry = InstanceEntry {
        child: "c".to_owned(),
        generation: 1,
        number: 2,
        behavior: "fuzz".to_owned(),
        owner: Some(Box::new(Owner(owner.clone()))),
    };
    let reason = ExitReason::error("why");
    let order = SpawnOrder {
        behavior: "fuzz".to_owned(),
        args: vec![0xC0],
        name: None,
        registration: Registration::Global,
        init_timeout_ms: 1,
        mailbox_capacity: 1,
        token: None,
        mailbox_policy: MailboxPolicy::Block,
        trap_exit: false,
        lease: None,
    };
    let behavior = |number, name: &str| Behavior { number, name: name.to_owned(), schema: SCHEMA.to_vec() };
    let heartbeat = Heartbeat { behaviors: Some(vec![behavior(1, "fuzz")]), ..Heartbeat::default() };
    [
        Control::Welcome,
        Control::Heartbeat(heartbeat),
        Control::Ping { nonce: 1 },
        Control::Pong { nonce: 1 },
        Control::Close { reason: "duplicate".to_owned() },
        Control::Draining,
        Control::Goodbye,
        Control::Hints(vec![Hint { id: peer, incarnation: Incarnation(1) }]),
        Control::Behaviors(vec![behavior(1, "a"), behavior(0, "")]),
        Control::Names {
            after: 0,
            upto: 2,
            done: false,
            updates: vec![Update { held: None, ..update.clone() }],
        },
        Control::Names { after: 2, upto: 3, done: true, updates: vec![update] },
        Control::Unregister { name: "n".to_owned(), number: 1 },
        Control::Monitor { id: 1, number: 1 },
        Control::Demonitor { id: 1 },
        Control::Down { id: 1, reason: reason.clone() },
        Control::Link { from: 1, to: 1 },
        Control::Unlink { from: 1, to: 1, number: 0 },
        Control::Unlink { from: 1, to: 1, number: 1 },
        Control::Unlinked { from: 1, to: 1, number: 1 },
        Control::Broken { from: 1, to: 1, reason: ExitReason::NoConnection },
        Control::Exit { from: 1, to: 1, reason },
        Control::Stop { number: 1, reason: ExitReason::Normal },
        Control::Kill { number: 1 },
        Control::Request { id: 1, body: Request::Instances { supervisor: "s".to_owned(), term: 3 } },
        Control::Request { id: 1, body: Request::IsAlive { number: 1 } },
        Control::Response { id: 1, body: Response::Instances(vec![entry.clone()]) },
        Control::Response { id: 1, body: Response::Reign { term: 3, instances: vec![entry] } },
        Control::Response { id: 1, body: Response::Spawned(Err(SpawnFailure::TooMany)) },
        Control::Response { id: 1, body: Response::Alive(true) },
        Control::Request { id: 1, body: Request::WhereIs { name: "named".to_owned() } },
        Control::Response {
            id: 1,
            body: Response::Holder(Some(Holder { number: 1, behavior: "fuzz".to_owned() })),
        },
        Control::Request { id: 1, body: Request::OwnerOf { name: "n".to_owned() } },
        Control::Response {
            id: 1,
            body: Response::Owner { beside: vec![owner.node_id().clone()], owner: Some(owner) },
        },
        Control::Response { id: 1, body: Response::Spawned(Ok(1)) },
        Control::Confirm { id: 1 },
        Control::Ask { known: vec![1; 16] },
        Control::Groups(vec![Membership { group: "g".to_owned(), number: 1, count: 1 }]),
        Control::Broadcast { group: "g".to_owned(), behavior: 1, body: b"cast".to_vec() },
        Control::Request { id: 1, body: Request::Spawn(Box::new(order)) },
    ]
    .iter()
    .map(encoded)
    .collect()
}

fn handshake_messages() -> Vec<Vec<u8>> {
    let mut out = VecDeque::new();
    let mut initiator = Initiator::new(local("initiator", &["a"]), Expected::Anyone, [2; 32], &mut out);
    let mut acceptor = Acceptor::new(local("acceptor", &["a"]), [1; 32]);
    let mut all = Vec::new();
    while let Some(output) = out.pop_front() {
        let Output::Send(frame) = output else { continue };
        match all.len() {
            1 => initiator.handle(&frame, &mut out),
            _ => acceptor.handle(&frame, &mut out),
        }
        all.push(frame);
    }
    all.push(refused_frame(RefusedReason::Version));
    all
}

/// A choice of ends, and then frames: passed on (0), changed (1), cut (2), or made up (3).
fn exchanges() -> Vec<Vec<u8>> {
    let made_up = |body: &[u8]| {
        let len = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&[3], &len[..], body].concat()
    };
    let mut all = vec![vec![0, 0, 0, 0, 0], vec![1, 0, 0, 0, 0], vec![4, 0, 0, 0, 0], vec![0x80, 0, 0]];
    all.push(vec![0, 1, 0, 30, 1, 0, 0]);
    all.push(vec![0, 0, 1, 0, 90, 0x80, 0]);
    all.push(vec![0, 2, 0, 10, 0, 0]);
    all.extend(handshake_messages().iter().map(|message| [&[0, 0][..], &made_up(message)].concat()));
    all
}

fn batches() -> Vec<Vec<u8>> {
    let plain = |frames: &[u8]| {
        let len = u32::try_from(frames.len()).unwrap_or(u32::MAX).to_le_bytes();
        [&len[..], frames].concat()
    };
    vec![
        vec![1, 7],
        vec![1, 7, 0, 4, 1],
        vec![1, 7, 0, 0, 1, 0, 30, 0x80],
        [&[0, 3][..], &plain(b"one"), &plain(b""), &plain(&[7; 200])].concat(),
        [&[0, 9][..], &plain(b"one"), &[0xFF; 4]].concat(),
        [&[0, 9][..], &[0, 0, 4, 0], b"not all of it"].concat(),
    ]
}

fn sessions() -> Vec<Vec<u8>> {
    // Each kind of message about each target, one a batch; then what fits together.
    let message = |kind: u8, id: u8, rest: &[u8]| [&[0xFF, id, 0x10, kind], rest, &[0; 8]].concat();
    let mut all: Vec<Vec<u8>> =
        (0..26).map(|kind| [&[1][..], &message(kind, 1, &[0x40, 1, 2, 3])].concat()).collect();
    let several = |kinds: &[(u8, u8)]| {
        let messages = kinds.iter().flat_map(|(kind, id)| message(*kind, *id, &[1]));
        std::iter::once(1).chain(messages).collect::<Vec<u8>>()
    };
    all.push(several(&[(12, 1), (12, 2), (15, 3), (13, 1), (20, 0)]));
    all.push(several(&[(25, 1), (25, 1), (24, 1), (25, 2)]));
    all.push(several(&[(10, 3), (9, 1), (11, 1), (10, 0)]));
    all.push(vec![1, 0x50, 0x10, 0, 1, 0, 0, 6, 0x81, 0xA4, b'E', b'c', b'h', b'o', 0x91, 1, 0]);
    all.push(vec![1, 0x40, 1, 0, 0, 3, 1, 2, 3, 0, 0x40, 1, 1, 0, 3, 1, 2, 3, 0]);
    let raw = framed(Head::Control, &encoded(&Control::Ping { nonce: 1 }));
    all.push([&[1, 0, 0, u8::try_from(raw.len()).unwrap_or(0)], &raw[..], &[0]].concat());
    all
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn variables() -> Vec<Vec<u8>> {
    let pair = |variable: u8, value: &str| {
        let len = u16::try_from(value.len()).unwrap_or(0).to_be_bytes();
        [&[variable], &len[..], value.as_bytes()].concat()
    };
    vec![
        [pair(0, "app"), pair(1, "0.0.0.0"), pair(3, "4369"), pair(4, "a@h:1, h:2,[::1]:3")].concat(),
        [pair(0, "app"), pair(6, "b:second secret,a:first secret"), pair(7, "any")].concat(),
        [pair(0, "app"), pair(8, "100"), pair(9, "1"), pair(10, "10"), pair(11, "10")].concat(),
        [pair(0, "1app"), pair(5, "a secret that is long enough to be seen in an error")].concat(),
        pair(2, "0.0.0.0"),
    ]
}

/// Inputs by target.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let heads = [
        Head::Control,
        Head::Call {
            id: 1,
            behavior: BehaviorId::Number(2),
            target: 300,
            budget_ms: 5000,
            numbered: false,
            traced: false,
        },
        Head::Cast { behavior: BehaviorId::Hash(2), target: 3, traced: false },
        Head::Reply { id: 1 },
        Head::Failure { id: 1 },
    ];
    let mut frames: Vec<Vec<u8>> = heads.iter().map(|head| framed(*head, b"body")).collect();
    let mut traced = Vec::new();
    let context = TraceContext::new(1 << 100, 7, 1).and_then(|context| context.with_state("a=1"));
    trace::put(&context.expect("a context"), &mut traced);
    traced.extend_from_slice(b"body");
    let (behavior, target) = (BehaviorId::Number(2), 300);
    frames.push(framed(
        Head::Call { id: 1, behavior, target, budget_ms: 5000, numbered: true, traced: true },
        &traced,
    ));
    frames.push(framed(Head::Cast { behavior, target, traced: true }, &traced));
    // To a name, as long as it says, and longer than there is.
    let target = BY_NAME | 300;
    for body in [&b"\x05namedbody"[..], b"\x7fnamed", b"\x05"] {
        frames.push(framed(
            Head::Call { id: 1, behavior, target, budget_ms: 5000, numbered: false, traced: false },
            body,
        ));
        frames.push(framed(Head::Cast { behavior, target, traced: false }, body));
    }
    let cancel = Head::Cancel { id: 1, target: 300 };
    frames.extend([framed(cancel, b""), framed(cancel, b"more")]);
    let (target, position) = (300, 8 << 20);
    frames.push(framed(Head::Mark { target, position }, b""));
    frames.push(framed(Head::Credit { target, position }, b""));
    let mut chunks = Vec::new();
    frame::put_first(9, 300, b"piece", &mut chunks);
    chunks.extend_from_slice(frame::next_head(9, 5).as_bytes());
    chunks.extend_from_slice(b"piece");
    frame::put_dropped(9, &mut chunks);
    frames.push(chunks);
    frames.push(frames.concat());
    let failures = [
        CallFailure::NoProc,
        CallFailure::Exited(ExitReason::error("why"), Delivery::Unknown),
        CallFailure::TooLarge(1, 2),
        CallFailure::Other(1, "x".to_owned()),
    ];
    let deep: Vec<u8> =
        std::iter::repeat_n(&[0x81, 0xA4, b'N', b'o', b'd', b'e', 0x91][..], 40).flatten().copied().collect();
    vec![
        ("frames", frames),
        ("control", controls()),
        ("failure", failures.iter().map(encoded).collect()),
        (
            "payload",
            vec![deep, encoded(&[("a", Some(1))]), vec![0x91; 200], vec![0xDD, 0xFF, 0xFF, 0xFF, 0xFF]],
        ),
        ("handshake_message", handshake_messages()),
        ("batches", batches()),
        ("acceptor", exchanges()),
        (
            "initiator",
            exchanges().into_iter().map(|bytes| [&bytes[..1], &[0], &bytes[1..]].concat()).collect(),
        ),
        (
            "node_id",
            texts(&["a@h:1", "app-1_x@host.example:65535", "a@[::1]:5", "a@1.2.3.4:80", "a@::1:00080", "@:"]),
        ),
        ("seed", texts(&["h:1", "a@h:1", "[::1]:5", "1.2.3.4:80", "::1:5", "h:+1"])),
        ("secrets", texts(&["a:one,b:two", "# ours\n\na:first\nb:second\r\n", "a: x", ":", "a:x,a:y"])),
        ("environment", variables()),
        (
            "exit_reason",
            texts(&[
                "normal",
                "shutdown",
                "killed",
                "panic: x",
                "error: ",
                "noproc",
                "noconnection",
                "error:",
            ]),
        ),
        ("session", sessions()),
    ]
}

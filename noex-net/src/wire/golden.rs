//! The bytes of everything that can be on the wire: what changes here changes the protocol.
//!
//! They stand in `golden.txt`. A message that has none fails the tests: its variants are found out from its `Deserialize`, kinds
//! of frames by reading one of each.

use std::{collections::BTreeSet, fmt::Debug};

use noex_actors::{
    __private::{CallFailure, decode, encode_into},
    Delivery, ExitReason, FencingToken, Generation, Incarnation, MailboxPolicy, NodeId, Overload, Owner, Pid,
    Registration,
    route::{BY_NAME, BehaviorId},
    schema::Shape,
    trace::TraceContext,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    control::{
        Behavior, Control, Heartbeat, Hint, Holder, InstanceEntry, Request, Response, SpawnFailure,
        SpawnOrder,
    },
    frame::{self, Frame, Head},
    handshake::{Challenge, Hello, Life, MAGIC, Message, Nonce, Proof, ProofBytes, Refused, VERSION, Word},
    limits::{LEN, TAG},
    tag::{TagAlgorithm, Tagger},
    to_name, trace,
};
use crate::machine::{
    groups::Membership,
    handshake::RefusedReason,
    membership::View,
    names::{Held, Update},
};

const GOLDEN: &str = include_str!("golden.txt");

#[derive(Default)]
struct Table(Vec<(String, Vec<u8>)>);

impl Table {
    fn add(&mut self, name: String, bytes: Vec<u8>) {
        self.0.push((name, bytes));
    }

    /// Values of an enum, of which each variant must be there.
    fn every<T: Serialize + DeserializeOwned + PartialEq + Debug>(
        &mut self,
        what: &str,
        wrap: impl Fn(&T) -> Vec<u8>,
        values: &[T],
    ) {
        let shape = Shape::of::<T>();
        let all: BTreeSet<_> = shape.variants().map(str::to_owned).collect();
        assert!(!all.is_empty(), "{what} has variants");
        let mut seen = BTreeSet::new();
        for value in values {
            let name = match serde_json::to_value(value).unwrap() {
                serde_json::Value::Object(object) => object.keys().next().unwrap().clone(),
                text => text.as_str().unwrap().to_owned(),
            };
            let bytes = wrap(value);
            self.add(format!("{what} {name}"), bytes);
            seen.insert(name);
        }
        assert_eq!(seen, all, "{what}: every variant has golden bytes");
    }
}

fn encoded<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes).unwrap();
    assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    bytes
}

fn node() -> NodeId {
    NodeId::parse("b@127.0.0.1:2").unwrap()
}

fn pid() -> Pid {
    Pid::new(node(), Incarnation(5), 300)
}

fn token() -> FencingToken {
    FencingToken::new("s", "c", Generation(7))
}

fn handshake(table: &mut Table) {
    let hello = Hello {
        magic: Word::new(MAGIC),
        versions: vec![VERSION],
        id: node(),
        incarnation: Life(Incarnation(5)),
        nonce: Nonce([9; 32]),
        key_ids: vec![Word::new("k2"), Word::new("k1")],
        capabilities: 0,
        tags: TagAlgorithm::ALL.iter().map(|tag| Word::new(&tag.to_string())).collect(),
    };
    let open = Challenge {
        version: VERSION,
        id: node(),
        incarnation: Life(Incarnation(5)),
        nonce: Nonce([8; 32]),
        key_id: None,
        capabilities: 0,
        tag: Word::new("none"),
        proof: ProofBytes(None),
    };
    let challenge = Challenge {
        key_id: Some(Word::new("k1")),
        tag: Word::new("blake3-128"),
        proof: ProofBytes(Some([7; 32])),
        ..open.clone()
    };
    let mut messages = vec![
        Message::Hello(hello),
        Message::Challenge(open),
        Message::Challenge(challenge),
        Message::Proof(Proof { proof: ProofBytes(None) }),
        Message::Proof(Proof { proof: ProofBytes(Some([6; 32])) }),
    ];
    let refused =
        |reason: &RefusedReason| Message::Refused(Refused { reason: Word::new(&reason.to_string()) });
    messages.extend(RefusedReason::ALL.iter().map(refused));
    let wrap = |message: &Message| {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(message));
        bytes
    };
    table.every("handshake", wrap, &messages);
}

fn controls(table: &mut Table) {
    let behavior = |number, name: &str, schema: &[u8]| Behavior {
        number,
        name: name.to_owned(),
        schema: schema.to_vec(),
    };
    let behaviors = vec![behavior(1, "box", b"schema"), behavior(300, "late", b"")];
    let held =
        Update { name: "n".to_owned(), version: 2, held: Some(Held { pid: pid(), token: Some(token()) }) };
    let free = Update { name: "n".to_owned(), version: 3, held: None };
    let owned_token = Some(token().owned_by(Owner(pid())));
    let owned = Update { held: Some(Held { pid: pid(), token: owned_token.clone() }), ..free.clone() };
    let bare = Update { held: Some(Held { pid: pid(), token: None }), ..free.clone() };
    let heartbeat = Heartbeat {
        processes: 1,
        mailbox_len: 2,
        cpu: 0.5,
        uptime_ms: 1000,
        draining: true,
        behaviors: None,
        view: View { count: 3, digest: u64::MAX },
        window: 0,
        names: 0,
    };
    let behaviors_told = Some(behaviors.clone());
    let first = Heartbeat { behaviors: behaviors_told, window: 16 << 20, names: 300, ..heartbeat.clone() };
    let all = [
        Control::Welcome,
        Control::Heartbeat(first),
        Control::Heartbeat(heartbeat),
        Control::Ping { nonce: u64::MAX },
        Control::Pong { nonce: 1 },
        Control::Close { reason: "duplicate".to_owned() },
        Control::Draining,
        Control::Goodbye,
        Control::Hints(vec![Hint { id: node(), incarnation: Incarnation(5) }]),
        Control::Ask { known: vec![1; 8] },
        Control::Behaviors(behaviors),
        Control::Names { after: 0, upto: 300, done: false, updates: vec![held, bare] },
        Control::Names { after: 300, upto: 301, done: true, updates: vec![free] },
        Control::Names { after: 301, upto: 302, done: true, updates: vec![owned] },
        Control::Unregister { name: "n".to_owned(), number: 300 },
        Control::Monitor { id: 1, number: 300 },
        Control::Demonitor { id: 1 },
        Control::Down { id: 1, reason: ExitReason::Normal },
        Control::Link { from: 1, to: 300 },
        Control::Unlink { from: 1, to: 300 },
        Control::Broken { from: 1, to: 300, reason: ExitReason::NoConnection },
        Control::Exit { from: 0, to: 300, reason: ExitReason::Killed },
        Control::Stop { number: 300, reason: ExitReason::Shutdown },
        Control::Kill { number: 300 },
        Control::Request { id: 1, body: Request::IsAlive { number: 300 } },
        Control::Response { id: 1, body: Response::Alive(true) },
        Control::Confirm { id: 1 },
        Control::Groups(vec![Membership { group: "g".to_owned(), number: 300, count: 2 }]),
        Control::Broadcast { group: "g".to_owned(), behavior: 0xA1B2_C3D4, body: b"cast".to_vec() },
    ];
    table.every("control", encoded, &all);
    let order = |registration, mailbox_policy, token| {
        Request::Spawn(Box::new(SpawnOrder {
            behavior: "box".to_owned(),
            args: b"args".to_vec(),
            name: Some("n".to_owned()),
            registration,
            init_timeout_ms: 5000,
            mailbox_capacity: 10,
            token,
            mailbox_policy,
            trap_exit: true,
            lease: None,
        }))
    };
    let requests = [
        order(Registration::Local, MailboxPolicy::Reject, Some(token())),
        order(Registration::Global, MailboxPolicy::Block, Some(token())),
        order(Registration::None, MailboxPolicy::DropNewest, Some(token())),
        order(Registration::None, MailboxPolicy::DropOldest, Some(token())),
        order(Registration::None, MailboxPolicy::Reject, owned_token),
        Request::Instances { supervisor: "s".to_owned(), term: 0 },
        Request::Instances { supervisor: "s".to_owned(), term: 300 },
        Request::IsAlive { number: 300 },
        Request::WhereIs { name: "n".to_owned() },
        Request::OwnerOf { name: "n".to_owned() },
    ];
    table.every("request", encoded, &requests);
    let behavior = "box".to_owned();
    let child = InstanceEntry { child: "c".to_owned(), generation: 7, number: 300, behavior, owner: None };
    let owned = InstanceEntry { owner: Some(Owner(pid())), ..child.clone() };
    let responses = [
        Response::Spawned(Ok(300)),
        Response::Spawned(Err(SpawnFailure::TooMany)),
        Response::Instances(vec![child.clone()]),
        Response::Instances(vec![owned]),
        Response::Reign { term: 300, instances: vec![child] },
        Response::Alive(false),
        Response::Holder(None),
        Response::Holder(Some(Holder { number: 300, behavior: "box".to_owned() })),
        Response::Owner(None),
        Response::Owner(Some(Pid::new(node(), Incarnation(5), 300))),
    ];
    table.every("response", encoded, &responses);
    let taken = SpawnFailure::NameTaken {
        name: "n".to_owned(),
        node: node(),
        incarnation: Incarnation(5),
        number: 300,
    };
    let failures = [
        SpawnFailure::NotRunning,
        SpawnFailure::Init(ExitReason::error("why")),
        SpawnFailure::InitTimeout { millis: 5000 },
        taken,
        SpawnFailure::NameInvalid { name: "n".to_owned() },
        SpawnFailure::BehaviorNotFound,
        SpawnFailure::TooMany,
        SpawnFailure::Incompatible { reason: "why".to_owned() },
        SpawnFailure::Forbidden,
        SpawnFailure::Full { max: 5 },
        SpawnFailure::TooManyNames { max: 5 },
    ];
    table.every("spawn failure", encoded, &failures);
}

fn failures(table: &mut Table) {
    let mut all = vec![
        CallFailure::NoProc,
        CallFailure::NoReply,
        CallFailure::WrongBehavior("box".to_owned()),
        CallFailure::Decode("why".to_owned()),
        CallFailure::Encode("why".to_owned()),
        CallFailure::TooLarge(300, 200),
        CallFailure::ConnectionLost,
        CallFailure::NotSent,
        CallFailure::Other(1, "why".to_owned()),
    ];
    all.extend([Delivery::Never, Delivery::Unknown, Delivery::Done].map(CallFailure::Timeout));
    let full = [Overload::Mailbox, Overload::Outbox, Overload::Credits, Overload::Quota];
    all.extend(full.map(CallFailure::Overloaded));
    let reasons = [
        ExitReason::Normal,
        ExitReason::Shutdown,
        ExitReason::Killed,
        ExitReason::NoProc,
        ExitReason::NoConnection,
        ExitReason::Panic("why".into()),
        ExitReason::error("why"),
    ];
    all.extend(reasons.map(|reason| CallFailure::Exited(reason, Delivery::Done)));
    table.every("failure", encoded, &all);
}

fn framed(head: Head, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    head.begin(&mut out);
    out.extend_from_slice(body);
    frame::finish(&mut out, 0);
    out
}

fn frames(table: &mut Table) {
    let (number, hash) = (BehaviorId::Number(7), BehaviorId::Hash(0xA1B2_C3D4));
    let call = |behavior, id| Head::Call { id, behavior, target: 300, budget_ms: 5000, traced: false };
    let cast = |behavior| Head::Cast { behavior, target: 300, traced: false };
    let traced = |body: &[u8]| {
        let context = TraceContext::new(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10, 0x1112_1314_1516_1718, 1);
        let mut bytes = Vec::new();
        trace::put(&context.unwrap().with_state("a=1").unwrap(), &mut bytes);
        bytes.extend_from_slice(body);
        bytes
    };
    let target = BY_NAME | 300;
    let call_by_name = Head::Call { id: 300, behavior: number, target, budget_ms: 5000, traced: false };
    let cast_by_name = Head::Cast { behavior: number, target, traced: false };
    let named = |body: &[u8]| {
        let mut bytes = Vec::new();
        to_name::put("name", &mut bytes);
        bytes.extend_from_slice(body);
        bytes
    };
    let traced_call = Head::Call { id: 300, behavior: number, target: 300, budget_ms: 5000, traced: true };
    let traced_cast = Head::Cast { behavior: number, target: 300, traced: true };
    let mut all = vec![
        ("control", framed(Head::Control, b"body")),
        ("call", framed(call(number, 300), b"body")),
        ("call by hash", framed(call(hash, 1), b"body")),
        ("cast", framed(cast(number), b"body")),
        ("cast by hash", framed(cast(hash), b"body")),
        ("call by name", framed(call_by_name, &named(b"body"))),
        ("cast by name", framed(cast_by_name, &named(b"body"))),
        ("traced call", framed(traced_call, &traced(b"body"))),
        ("traced cast", framed(traced_cast, &traced(b"body"))),
        ("reply", framed(Head::Reply { id: 300 }, b"body")),
        ("failure", framed(Head::Failure { id: 300 }, b"body")),
        ("cancel", framed(Head::Cancel { id: 1, target: 300 }, b"")),
        ("mark", framed(Head::Mark { target: 300, position: 8 << 20 }, b"")),
        ("credit", framed(Head::Credit { target: 300, position: 8 << 20 }, b"")),
    ];
    let mut first = Vec::new();
    frame::put_first(9, 70_000, b"piece", &mut first);
    let mut dropped = Vec::new();
    frame::put_dropped(9, &mut dropped);
    let next = [frame::next_head(9, 5).as_bytes(), b"piece"].concat();
    all.extend([("first chunk", first), ("next chunk", next), ("dropped", dropped)]);
    let kinds: BTreeSet<u8> = all.iter().map(|(_, bytes)| bytes[frame::HEADER]).collect();
    let read =
        |kind: &u8| (0..80).any(|len| Frame::parse(&[&[*kind][..], &vec![b'!'; len]].concat()).is_ok());
    assert_eq!(kinds, (0..=u8::MAX).filter(read).collect(), "every kind that is read has golden bytes");
    for (name, bytes) in all {
        assert!(Frame::take(&mut bytes.as_slice()).is_ok_and(|frame| frame.is_some()), "{name}");
        table.add(format!("frame {name}"), bytes);
    }
}

/// Two batches of each kind: the second has another sequence number.
fn batches(table: &mut Table) {
    let frames = framed(Head::Reply { id: 1 }, b"body");
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    table.add("batch none".to_owned(), [&len(&frames)[..], &frames].concat());
    for algorithm in TagAlgorithm::ALL {
        let mut tagger = Tagger::new(*algorithm, &[7; 32]);
        for nth in ["first", "second"] {
            let mut batch = [&[0; TAG][..], &frames].concat();
            tagger.seal(&mut batch);
            table.add(format!("batch {algorithm} {nth}"), [&len(&batch)[..], &batch].concat());
        }
    }
    assert_eq!(table.0.last().unwrap().1.len(), LEN + TAG + frames.len());
}

#[test]
fn every_message_has_its_bytes_and_they_stay_as_they_are() {
    let mut table = Table::default();
    handshake(&mut table);
    batches(&mut table);
    frames(&mut table);
    controls(&mut table);
    failures(&mut table);
    let line = |(name, bytes): &(String, Vec<u8>)| format!("{name}: {}", bytes.escape_ascii());
    let lines: Vec<_> = table.0.iter().map(line).collect();
    let golden: Vec<_> = GOLDEN.lines().collect();
    let differs = lines.iter().map(String::as_str).zip(&golden).find(|(line, golden)| line != *golden);
    assert_eq!((differs, lines.len()), (None, golden.len()), "all of them:\n{}\n", lines.join("\n"));
}

//! The bytes of everything that can be on the wire: what changes here changes the protocol.
//!
//! They stand in `golden.txt`. A message that has none fails the tests: its variants and optional fields are found out from its
//! `Deserialize`, kinds of frames by reading one of each. `write_the_golden_bytes` writes the file anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use noex_actors::{
    __private::{CallFailure, LeaseTerms, decode, encode_into},
    AnyRef, Delivery, ExitReason, FencingToken, Generation, Incarnation, MailboxPolicy, NodeId, Overload,
    Owner, Pid, Ref, Registration, behavior,
    route::{BY_NAME, BehaviorId},
    schema::{Schema, Shape},
    trace::TraceContext,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

use super::{
    compression::decompress,
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

#[path = "../../tests/support/pinned.rs"]
mod pinned;

use pinned::Table;

const GOLDEN: &str = include_str!("golden.txt");

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

fn owned_token() -> Option<FencingToken> {
    Some(token().owned_by(Owner(pid())))
}

fn handshake(table: &mut Table) {
    let hello = Hello {
        magic: Word::new(MAGIC),
        versions: vec![VERSION],
        id: node(),
        incarnation: Life(Incarnation(5)),
        nonce: Nonce([9; 32]),
        key_ids: vec![Word::new("k2"), Word::new("k1")],
        capabilities: 3,
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
        capabilities: 3,
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

/// A behavior whose messages hold something of every kind.
struct Pinned;

#[derive(Serialize, Deserialize)]
enum Kind {
    Plain,
    With(u8),
    Named { text: String },
}

/// Its `Deserialize` shows nothing.
#[derive(Serialize)]
struct Hidden;

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[derive(Serialize, Deserialize)]
struct Fields {
    first: i64,
    #[serde(default)]
    later: Option<bool>,
}

#[behavior(name = "box")]
impl Pinned {
    #[init]
    fn new(args: (u32, char)) -> Result<Self, ExitReason> {
        let (_number, _character) = args;
        Ok(Self)
    }
    #[call]
    fn ask(&self, kind: Kind, fields: Fields) -> f64 {
        let _asked = (kind, fields);
        0.5
    }
    #[call]
    fn nothing(&self) {}
    #[cast]
    fn put(&mut self, bytes: ByteBuf, map: BTreeMap<String, Vec<f32>>) {
        let _put = (bytes, map);
    }
    #[cast]
    fn hide(&mut self, hidden: Hidden) {
        let Hidden = hidden;
    }
    #[cast]
    fn refer(&mut self, one: Ref<Pinned>, any: AnyRef) {
        let _put = (one, any);
    }
}

/// What a behavior is said to look like, as derived, with every shape.
fn schema(table: &mut Table) -> Vec<u8> {
    let schema = Schema::of::<Pinned>();
    let bytes = schema.to_bytes();
    assert_eq!(Schema::from_bytes(&bytes), Some(schema));
    for variant in Shape::of::<Shape>().variants() {
        let name = variant.as_bytes();
        assert!(
            bytes.windows(name.len()).any(|window| window == name),
            "{variant} is in {}",
            bytes.escape_ascii()
        );
    }
    table.add("schema", bytes.clone());
    bytes
}

fn control_messages(schema: &[u8]) -> Vec<Control> {
    let behavior = |number, name: &str, schema: &[u8]| Behavior {
        number,
        name: name.to_owned(),
        schema: schema.to_vec(),
    };
    let behaviors = vec![behavior(1, "box", schema), behavior(300, "late", b"")];
    let held =
        Update { name: "n".to_owned(), version: 2, held: Some(Held { pid: pid(), token: Some(token()) }) };
    let free = Update { name: "n".to_owned(), version: 3, held: None };
    let owned = Update { held: Some(Held { pid: pid(), token: owned_token() }), ..free.clone() };
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
    vec![
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
        Control::Unlink { from: 1, to: 300, number: 0 },
        Control::Unlink { from: 1, to: 300, number: 301 },
        Control::Unlinked { from: 1, to: 300, number: 301 },
        Control::Broken { from: 1, to: 300, reason: ExitReason::NoConnection },
        Control::Exit { from: 0, to: 300, reason: ExitReason::Killed },
        Control::Stop { number: 300, reason: ExitReason::Shutdown },
        Control::Kill { number: 300 },
        Control::Request { id: 1, body: Request::IsAlive { number: 300 } },
        Control::Response { id: 1, body: Response::Alive(true) },
        Control::Confirm { id: 1 },
        Control::Groups(vec![Membership { group: "g".to_owned(), number: 300, count: 2 }]),
        Control::Broadcast { group: "g".to_owned(), behavior: 0xA1B2_C3D4, body: b"cast".to_vec() },
    ]
}

fn controls(table: &mut Table) {
    let schema = schema(table);
    table.every("control", encoded, &control_messages(&schema));
    let voters = vec![node()];
    let lease = LeaseTerms { grace_ms: 5000, supervisor: Some("s".to_owned()), majority: true, voters };
    let alone = LeaseTerms { supervisor: None, ..lease.clone() };
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
    let leased = |lease| {
        let order = order(Registration::None, MailboxPolicy::Reject, None);
        let Request::Spawn(order) = order else { unreachable!() };
        Request::Spawn(Box::new(SpawnOrder { name: None, trap_exit: false, lease, ..*order }))
    };
    let requests = [
        order(Registration::Local, MailboxPolicy::Reject, Some(token())),
        order(Registration::Global, MailboxPolicy::Block, Some(token())),
        order(Registration::None, MailboxPolicy::DropNewest, Some(token())),
        order(Registration::None, MailboxPolicy::DropOldest, Some(token())),
        order(Registration::None, MailboxPolicy::Reject, owned_token()),
        leased(Some(lease)),
        leased(Some(alone)),
        Request::Instances { supervisor: "s".to_owned(), term: 0 },
        Request::Instances { supervisor: "s".to_owned(), term: 300 },
        Request::IsAlive { number: 300 },
        Request::WhereIs { name: "n".to_owned() },
        Request::OwnerOf { name: "n".to_owned() },
    ];
    table.every("request", encoded, &requests);
    let behavior = "box".to_owned();
    let child = InstanceEntry { child: "c".to_owned(), generation: 7, number: 300, behavior, owner: None };
    let owned = InstanceEntry { owner: Some(Box::new(Owner(pid()))), ..child.clone() };
    let responses = [
        Response::Spawned(Ok(300)),
        Response::Spawned(Err(SpawnFailure::TooMany)),
        Response::Instances(vec![child.clone()]),
        Response::Instances(vec![owned.clone()]),
        Response::Reign { term: 300, instances: vec![child, owned] },
        Response::Alive(false),
        Response::Holder(None),
        Response::Holder(Some(Holder { number: 300, behavior: "box".to_owned() })),
        Response::Owner { owner: None, beside: vec![] },
        Response::Owner { owner: Some(Pid::new(node(), Incarnation(5), 300)), beside: vec![node()] },
    ];
    table.every("response", encoded, &responses);
    let taken = SpawnFailure::NameTaken {
        name: "n".to_owned(),
        node: node(),
        incarnation: Incarnation(5),
        number: 300,
        ran: false,
    };
    let mut late = taken.clone();
    if let SpawnFailure::NameTaken { ran, .. } = &mut late {
        *ran = true;
    }
    let failures = [
        SpawnFailure::NotRunning,
        SpawnFailure::Init(ExitReason::error("why")),
        SpawnFailure::InitTimeout { millis: 5000 },
        taken,
        late,
        SpawnFailure::NameInvalid { name: "n".to_owned() },
        SpawnFailure::BehaviorNotFound,
        SpawnFailure::TooMany,
        SpawnFailure::Incompatible { reason: "why".to_owned() },
        SpawnFailure::Forbidden,
        SpawnFailure::Full { max: 5 },
        SpawnFailure::TooManyNames { max: 5, ran: false },
        SpawnFailure::TooManyNames { max: 5, ran: true },
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

fn traced_frame(head: Head) -> Vec<u8> {
    let context = TraceContext::new(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10, 0x1112_1314_1516_1718, 1);
    let mut body = Vec::new();
    trace::put(&context.unwrap().with_state("a=1").unwrap(), &mut body);
    body.extend_from_slice(b"body");
    framed(head, &body)
}

fn frames(table: &mut Table) {
    let (number, hash) = (BehaviorId::Number(7), BehaviorId::Hash(0xA1B2_C3D4));
    let call = |behavior, id| Head::Call {
        id,
        behavior,
        target: 300,
        budget_ms: 5000,
        numbered: false,
        traced: false,
    };
    let cast = |behavior| Head::Cast { behavior, target: 300, traced: false };
    let target = BY_NAME | 300;
    let call_by_name =
        Head::Call { id: 300, behavior: number, target, budget_ms: 5000, numbered: false, traced: false };
    let cast_by_name = Head::Cast { behavior: number, target, traced: false };
    let named = |body: &[u8]| {
        let mut bytes = Vec::new();
        to_name::put("name", &mut bytes);
        bytes.extend_from_slice(body);
        bytes
    };
    let traced_call =
        Head::Call { id: 300, behavior: number, target: 300, budget_ms: 5000, numbered: false, traced: true };
    let traced_cast = Head::Cast { behavior: number, target: 300, traced: true };
    let numbered_call =
        Head::Call { id: 300, behavior: number, target: 300, budget_ms: 5000, numbered: true, traced: false };
    let both =
        Head::Call { id: 300, behavior: number, target: 300, budget_ms: 5000, numbered: true, traced: true };
    let mut all = vec![
        ("control", framed(Head::Control, b"body")),
        ("call", framed(call(number, 300), b"body")),
        ("call by hash", framed(call(hash, 1), b"body")),
        ("call, reply by number", framed(numbered_call, b"body")),
        ("cast", framed(cast(number), b"body")),
        ("cast by hash", framed(cast(hash), b"body")),
        ("call by name", framed(call_by_name, &named(b"body"))),
        ("cast by name", framed(cast_by_name, &named(b"body"))),
        ("traced call", traced_frame(traced_call)),
        ("traced call, reply by number", traced_frame(both)),
        ("traced cast", traced_frame(traced_cast)),
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

/// An LZ4 block of [`repetitive`] as one compressor makes it; another may make another one.
const BLOCK: &[u8] = b"\x5F\xEA\x03\x03\x01\x07\x01\x00\xFF\xFF\xFF\xD2\x50\x07\x07\x07\x07\x07";

/// A frame that is shorter when it is compressed.
fn repetitive() -> Vec<u8> {
    framed(Head::Reply { id: 1 }, &[7; 1000])
}

/// Two batches of each kind: the second has another sequence number. Then those that say how they are compressed, and one with what belongs
/// to a trace.
fn batches(table: &mut Table) {
    let frames = framed(Head::Reply { id: 1 }, b"body");
    let batch = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], body].concat();
    let sealed = |tagger: &mut Tagger, body: &[u8]| {
        let mut sealed = [&[0; TAG][..], body].concat();
        tagger.seal(&mut sealed);
        batch(&sealed)
    };
    table.add("batch none", batch(&frames));
    for algorithm in TagAlgorithm::ALL {
        let mut tagger = Tagger::new(*algorithm, &[7; 32]);
        for nth in ["first", "second"] {
            table.add(format!("batch {algorithm} {nth}"), sealed(&mut tagger, &frames));
        }
    }
    assert_eq!(table.0.last().unwrap().1.len(), LEN + TAG + frames.len());
    let repetitive = repetitive();
    let marked = [&[0], &frames[..]].concat();
    let compressed = [&[1][..], &u32::try_from(repetitive.len()).unwrap().to_le_bytes(), BLOCK].concat();
    for (body, frames) in [(&marked, &frames), (&compressed, &repetitive)] {
        assert!(decompress(body, &mut Vec::new()).is_some_and(|found| found == frames));
    }
    let traced = traced_frame(Head::Cast { behavior: BehaviorId::Number(7), target: 300, traced: true });
    for (what, body) in [("as it is", &marked), ("compressed", &compressed), ("traced", &traced)] {
        table.add(format!("batch none {what}"), batch(body));
        for algorithm in TagAlgorithm::ALL {
            table.add(
                format!("batch {algorithm} {what}"),
                sealed(&mut Tagger::new(*algorithm, &[7; 32]), body),
            );
        }
    }
}

fn table() -> Table {
    let mut table = Table::default();
    handshake(&mut table);
    batches(&mut table);
    frames(&mut table);
    controls(&mut table);
    failures(&mut table);
    table
}

#[test]
fn every_message_has_its_bytes_and_they_stay_as_they_are() {
    table().check(GOLDEN);
}

#[test]
#[ignore = "writes: cargo test -p noex-net --lib -- --ignored write_the_golden_bytes"]
fn write_the_golden_bytes() {
    table().write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/golden.txt"));
}

/// A newer version may have added one.
#[test]
fn a_field_more_at_the_end_of_a_control_message_is_passed_over() {
    let shape = Shape::of::<Control>();
    let Shape::Enum(variants) = &shape else { panic!("{shape:?}") };
    let mut longer = 0;
    for message in control_messages(b"schema") {
        let mut bytes = encoded(&message);
        // A map of one entry, a short text, and then the fields.
        let (name, fields) = match *bytes {
            [0x81, head, ..] => (&bytes[2..2 + usize::from(head - 0xA0)], 2 + usize::from(head - 0xA0)),
            _ => continue,
        };
        let found = variants.iter().find(|variant| variant.name.as_bytes() == name).unwrap();
        let Shape::Struct(known) = &found.shape else { continue };
        assert_eq!(usize::from(bytes[fields]), 0x90 + known.len(), "{message:?}");
        for more in [&b"\xA5later"[..], b"\x81\xA3why\x92\x01\xC0", b"\xC4\x02ab"] {
            bytes[fields] += 1;
            bytes.extend_from_slice(more);
            assert_eq!(decode::<Control>(&bytes).as_ref(), Ok(&message));
        }
        longer += 1;
        // One that has no default must be there.
        let mut shorter = encoded(&message);
        shorter.truncate(fields);
        shorter.push(0x90);
        assert!(decode::<Control>(&shorter).is_err(), "{message:?}");
    }
    assert!(longer > 15, "{longer}");
}

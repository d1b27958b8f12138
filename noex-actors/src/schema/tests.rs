use std::collections::BTreeMap;

use super::*;
use crate::{AnyRef, Pid, Ref, testkit::Recorder};

fn int(signed: bool, bits: u8) -> Shape {
    Shape::Int { signed, bits }
}

fn field(name: &str, shape: Shape, required: bool) -> Field {
    Field { name: name.to_owned(), shape, required }
}

fn variant(name: &str, shape: Shape) -> Variant {
    Variant { name: name.to_owned(), shape }
}

#[derive(Serialize, Deserialize)]
struct Item {
    n: u16,
    text: Option<String>,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    more: Vec<(bool, f32)>,
}

#[derive(Default, Serialize, Deserialize)]
enum Kind {
    #[default]
    Plain,
    Wrapped(Box<char>),
    Pair(i8, i64),
    #[serde(rename = "named")]
    Named {
        bytes: serde_bytes::ByteBuf,
    },
}

#[test]
fn a_schema_shows_every_way_through_a_type() {
    let kind = Shape::Enum(vec![
        variant("Plain", Shape::Unit),
        variant("Wrapped", Shape::Char),
        variant("Pair", Shape::Tuple(vec![int(true, 8), int(true, 64)])),
        variant("named", Shape::Struct(vec![field("bytes", Shape::Bytes, true)])),
    ]);
    let more = Shape::List(Box::new(Shape::Tuple(vec![Shape::Bool, Shape::Float(32)])));
    let item = Shape::Struct(vec![
        field("n", int(false, 16), true),
        field("text", Shape::Maybe(Box::new(Shape::Text)), true),
        field("kind", kind, false),
        field("more", more, false),
    ]);
    assert_eq!(Shape::of::<Item>(), item);
    let map = Shape::Map(Box::new((Shape::Text, Shape::List(Box::new(item)))));
    assert_eq!(Shape::of::<BTreeMap<String, Vec<Item>>>(), map);
    assert_eq!(map.variants().count(), 0);
    assert_eq!(Shape::of::<Kind>().variants().collect::<Vec<_>>(), ["Plain", "Wrapped", "Pair", "named"]);
}

#[test]
fn references_and_checked_texts_show_themselves() {
    assert_eq!(Shape::of::<Ref<Recorder>>(), Shape::Ref);
    assert_eq!(Shape::of::<Option<AnyRef>>(), Shape::Maybe(Box::new(Shape::AnyRef)));
    let Shape::Struct(fields) = Shape::of::<Pid>() else { panic!("an address has fields") };
    assert_eq!(
        fields.iter().map(|field| &*field.name).collect::<Vec<_>>(),
        ["node", "incarnation", "number"]
    );
    assert_eq!(fields[0].shape, Shape::Text);
    assert_eq!(Shape::of::<std::num::NonZeroU32>(), int(false, 32));
}

#[derive(Serialize, Deserialize)]
enum Tree {
    Node(Box<Tree>, Vec<Tree>),
    Leaf(u8),
}

#[derive(Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
    n: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

/// No value of it can be made.
#[derive(Serialize)]
struct Refuses;
impl<'de> Deserialize<'de> for Refuses {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[derive(Serialize)]
struct Panics;
impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("not to be looked at")
    }
}

#[derive(Serialize, Deserialize)]
enum Endless {
    Only(Box<Endless>),
}

#[derive(Serialize, Deserialize)]
enum Partly {
    Hidden(Refuses),
    Bad { it: Panics },
    Shown(u8),
}

#[test]
fn what_does_not_show_itself_is_unknown_and_ends() {
    let inner = || Shape::List(Box::new(Shape::Unknown));
    let node = Shape::Tuple(vec![Shape::Unknown, inner()]);
    assert_eq!(Shape::of::<Tree>(), Shape::Enum(vec![variant("Node", node), variant("Leaf", int(false, 8))]));
    let next = Shape::Maybe(Box::new(Shape::Unknown));
    let chain = Shape::Struct(vec![field("next", next, true), field("n", int(false, 8), true)]);
    assert_eq!(Shape::of::<Chain>(), chain);
    assert_eq!(Shape::of::<Untagged>(), Shape::Unknown);
    assert_eq!(Shape::of::<Refuses>(), Shape::Unknown);
    assert_eq!(Shape::of::<Panics>(), Shape::Unknown);
    assert_eq!(Shape::of::<Endless>(), Shape::Unknown);
    let partly = [("Hidden", Shape::Unknown), ("Bad", Shape::Unknown), ("Shown", int(false, 8))];
    assert_eq!(
        Shape::of::<Partly>(),
        Shape::Enum(partly.map(|(name, shape)| variant(name, shape)).into_iter().collect())
    );
}

#[test]
fn a_schema_is_told_and_read_and_bounded() {
    let schema = Schema::of::<Recorder>();
    assert_eq!(schema.call.variants().next(), Some("Echo"));
    assert_eq!(Schema::from_bytes(&schema.to_bytes()), Some(schema.clone()));
    let many = (0..5000).map(|n| variant(&format!("Variant{n}"), Shape::Unit)).collect();
    assert!(Schema { call: Shape::Enum(many), ..schema.clone() }.to_bytes().is_empty());
    let deep = (0..40).fold(Shape::Unit, |inner, _| Shape::Struct(vec![field("f", inner, true)]));
    assert_eq!(Schema::from_bytes(&Schema { call: deep, ..schema }.to_bytes()), None, "too deep");
    assert_eq!(Schema::from_bytes(&[]), None);
    type Deep = Option<Vec<Option<Vec<Option<Vec<Option<Vec<Option<Vec<Option<Vec<Option<Vec<Option<Vec<Option<Vec<
        Option<Vec<Option<Vec<Option<Vec<Option<Vec<Option<Vec<Option<u8>>>>>>>>>>>>>>>>>>>>>>>>>>>>>;
    let mut bytes = Vec::new();
    encode_into(&Shape::of::<Deep>(), &mut bytes).unwrap();
    assert!(decode::<Shape>(&bytes).is_ok(), "what is found out is never too deep to be told");
}

/// Whether what looks like the first is read as the second.
fn fits(from: &Shape, to: &Shape) -> Result<(), String> {
    fits::check("call", from, to)
}

fn with(fields: &[(&str, Shape, bool)]) -> Shape {
    let fields = fields.iter().map(|(name, shape, required)| field(name, shape.clone(), *required)).collect();
    Shape::Enum(vec![variant("Add", Shape::Struct(fields)), variant("Get", Shape::Unit)])
}

#[test]
fn what_is_added_fits_both_ways() {
    let old = with(&[("n", int(true, 64), true)]);
    let new = with(&[("n", int(true, 64), true), ("why", Shape::Text, false)]);
    assert_eq!((fits(&old, &new), fits(&new, &old)), (Ok(()), Ok(())));
    let Shape::Enum(mut variants) = new.clone() else { unreachable!("it is one") };
    variants.push(variant("More", Shape::Text));
    let newer = Shape::Enum(variants);
    assert_eq!((fits(&old, &newer), fits(&newer, &old)), (Ok(()), Ok(())));
    assert_eq!(fits(&int(false, 8), &int(true, 16)), Ok(()), "wider");
    assert_eq!(fits(&Shape::Text, &Shape::Maybe(Box::new(Shape::Text))), Ok(()), "optional now");
    assert_eq!(fits(&Shape::Unknown, &Shape::Text), Ok(()));
}

#[test]
fn what_does_not_fit_is_said_with_its_place() {
    let n = int(true, 64);
    let old = with(&[("n", n.clone(), true)]);
    for (from, to, says) in [
        (&old, with(&[("n", int(true, 32), true)]), "call `Add` field `n`: i64 is sent, i32 is expected"),
        (&old, with(&[("n", Shape::Text, true)]), "call `Add` field `n`: i64 is sent, text is expected"),
        (
            &old,
            with(&[("n", n.clone(), true), ("m", n.clone(), true)]),
            "call `Add`: field `m` is expected and not sent; it needs a default",
        ),
        (
            &old,
            with(&[("m", n.clone(), true)]),
            "call `Add`: field 0 is `n` where it is sent, `m` where it is expected",
        ),
        (&old, Shape::Enum(vec![variant("Other", Shape::Unit)]), "call: no variant is known to both"),
        (&int(true, 8), int(false, 64), "call: i8 is sent, u64 is expected"),
        (&Shape::Maybe(Box::new(Shape::Text)), Shape::Text, "call: an option is sent, text is expected"),
    ] {
        assert_eq!(fits(from, &to), Err(says.to_owned()));
    }
}

#[test]
fn replies_are_judged_by_who_reads_them() {
    let schema = Schema::of::<Recorder>();
    let with = |bits| Schema { reply: int(false, bits), ..schema.clone() };
    assert!(with(64).talks_to(&with(32)).is_ok(), "a narrower reply is read");
    assert_eq!(with(32).talks_to(&with(64)), Err("reply: u64 is sent, u32 is expected".to_owned()));
    let args = Schema { args: Shape::Text, ..schema.clone() };
    assert!(schema.talks_to(&args).is_ok(), "who only talks starts nothing");
    assert_eq!(schema.starts(&args), Err("init: nothing is sent, text is expected".to_owned()));
}

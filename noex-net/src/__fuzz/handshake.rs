//! Both ends of a handshake against a peer that holds no key: it hears, changes, repeats and makes up frames as it likes.
//!
//! Invariants: 1. nothing is established but by the frames of the other end, unchanged and in order; 2. a machine ends once, and
//! says nothing afterwards; 3. no frame is longer than 4 KiB, and all of them are messages.

use std::collections::VecDeque;

use noex_actors::{Incarnation, NodeId};

use super::input::Input;
use crate::{
    machine::{
        handshake::{Acceptor, Expected, Initiator, Local, Output},
        keys::{Key, Keys},
    },
    wire::{
        handshake::{MAX_FRAME, Message},
        tag::TagAlgorithm,
    },
};

pub(super) fn local(name: &str, keys: &[&str]) -> Local {
    let ring = keys.iter().map(|id| ((*id).to_owned(), Key::new(format!("the secret of {id}"))));
    Local {
        id: NodeId::parse(&format!("{name}@127.0.0.1:1")).expect("a valid id"),
        incarnation: Incarnation(7),
        capabilities: 0b101,
        keys: Keys::new(ring).expect("a valid ring"),
        tags: TagAlgorithm::ALL.to_vec(),
        tls: None,
    }
}

/// The keys of the two ends: mostly one in common, sometimes none, or none at all.
fn ends(choice: u8) -> (Local, Local) {
    let keys: (&[&str], &[&str]) = match choice % 5 {
        0 => (&["a"], &["a"]),
        1 => (&["b", "a"], &["a"]),
        2 => (&["a"], &["c"]),
        3 => (&["a"], &[]),
        _ => (&[], &[]),
    };
    let peer = if choice >= 0x80 { "acceptor" } else { "initiator" };
    (local("acceptor", keys.0), local(peer, keys.1))
}

/// A frame as the peer passes it on: as it is, changed in one byte, cut, or another one.
fn touched(genuine: Option<&[u8]>, input: &mut Input<'_>) -> Vec<u8> {
    let how = input.byte();
    let mut frame = genuine.unwrap_or_default().to_vec();
    match how % 4 {
        0 => {}
        1 if !frame.is_empty() => {
            let at = input.u16() % frame.len();
            frame[at] ^= input.byte();
        }
        2 => frame.truncate(input.u16()),
        _ => frame = input.bytes().to_vec(),
    }
    frame
}

/// What a machine says to one frame, in order; whether it ended.
#[derive(Default)]
struct Heard {
    sent: Vec<Vec<u8>>,
    ended: bool,
    established: bool,
}

impl Heard {
    fn take(&mut self, out: &mut VecDeque<Output>) {
        for output in out.drain(..) {
            assert!(!self.ended, "it ended, and goes on: {output:?}");
            let said = match &output {
                Output::Send(frame) => Some(frame),
                Output::Refuse { send, .. } => send.as_ref(),
                Output::Done(_) | Output::RefusedByPeer(_) | Output::SelfConnection => None,
            };
            if let Some(frame) = said {
                assert!(frame.len() <= MAX_FRAME && Message::decode(frame).is_ok());
            }
            match output {
                Output::Send(frame) => self.sent.push(frame),
                Output::Done(_) => (self.ended, self.established) = (true, true),
                Output::Refuse { .. } | Output::RefusedByPeer(_) | Output::SelfConnection => {
                    self.ended = true;
                }
            }
        }
    }
}

/// An acceptor, dialled by an initiator through the peer.
pub fn acceptor(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (here, there) = ends(input.byte());
    let keyed = !here.keys.is_empty();
    let mut out = VecDeque::new();
    let mut initiator = Initiator::new(there, Expected::Anyone, [2; 32], &mut out);
    let mut other = Heard::default();
    other.take(&mut out);
    let mut acceptor = Acceptor::new(here, [1; 32]);
    let (mut heard, mut unchanged, mut told) = (Heard::default(), true, 0);
    let mut delivered = 0;
    while !input.is_empty() && delivered < 8 {
        let genuine = other.sent.get(delivered);
        let frame = touched(genuine.map(Vec::as_slice), &mut input);
        // What comes after the end is not listened to.
        unchanged &= heard.ended || genuine == Some(&frame);
        acceptor.handle(&frame, &mut out);
        heard.take(&mut out);
        delivered += 1;
        // The initiator hears what the acceptor says.
        if let Some(frame) = heard.sent.get(told) {
            initiator.handle(frame, &mut out);
            other.take(&mut out);
            told += 1;
        }
        assert!(!heard.established || !keyed || unchanged, "established with a stranger");
    }
    assert!(!other.established || !keyed || heard.sent.len() == 1);
}

/// An initiator that dialled the peer, which may ask an acceptor.
pub fn initiator(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (there, here) = ends(input.byte());
    let keyed = !here.keys.is_empty();
    let expected = match input.byte() % 3 {
        0 => Expected::Anyone,
        1 => Expected::Name("acceptor".to_owned()),
        _ => Expected::Node(there.id.clone()),
    };
    let mut out = VecDeque::new();
    let mut initiator = Initiator::new(here, expected, [2; 32], &mut out);
    let mut heard = Heard::default();
    heard.take(&mut out);
    let mut acceptor = Acceptor::new(there, [1; 32]);
    let mut other = Heard::default();
    // Its hello may be changed on the way, too.
    let hello = heard.sent[0].clone();
    let changed = touched(Some(&hello), &mut input);
    let mut unchanged = changed == hello;
    acceptor.handle(&changed, &mut out);
    other.take(&mut out);
    let mut delivered = 0;
    while !input.is_empty() && delivered < 8 {
        let genuine = other.sent.get(delivered);
        let frame = touched(genuine.map(Vec::as_slice), &mut input);
        // What comes after the end is not listened to.
        unchanged &= heard.ended || genuine == Some(&frame);
        initiator.handle(&frame, &mut out);
        heard.take(&mut out);
        delivered += 1;
        assert!(heard.ended, "the first frame decides");
        assert!(!heard.established || !keyed || unchanged, "established with a stranger");
        assert!(heard.established || heard.sent.len() == 1, "who did not prove itself hears the hello only");
    }
}

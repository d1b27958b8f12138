use std::collections::VecDeque;

use noex_actors::{Incarnation, NodeId};
use proptest::prelude::*;

use super::*;
use crate::{
    machine::keys::{Key, Keys},
    secret::Secrets,
    wire::handshake::{Hello, MAX_FRAME, Nonce, Proof, ProofBytes},
};

const SECRET: &str = "a secret of at least 16 bytes";
const ADDRESS: &str = "b@127.0.0.1:2";

fn local(id: &str, secret: &str) -> Local {
    let keys = Secrets::from(secret).keys().clone();
    Local {
        id: NodeId::parse(id).unwrap(),
        incarnation: Incarnation(7),
        capabilities: 0b11,
        keys,
        tags: TagAlgorithm::ALL.to_vec(),
        tls: None,
    }
}

fn ring(id: &str, keys: &[(&str, &str)]) -> Local {
    let keys = Keys::new(keys.iter().map(|(id, key)| ((*id).to_owned(), Key::new(*key))));
    Local { keys: keys.unwrap(), ..local(id, "") }
}

/// Changes the frames on their way: the message (0 hello, 1 challenge, 2 proof) and its bytes.
type Wire<'a> = &'a mut dyn FnMut(usize, Vec<u8>) -> Vec<u8>;

struct Ends {
    initiator: Vec<Output>,
    acceptor: Vec<Output>,
    frames: Vec<Vec<u8>>,
}

/// Runs both ends against each other until neither has anything to send.
fn run_with(a: Local, b: Local, expected: Expected, nonces: [u8; 2], wire: Wire<'_>) -> Ends {
    let mut ends = Ends { initiator: Vec::new(), acceptor: Vec::new(), frames: Vec::new() };
    let mut out = VecDeque::new();
    let mut initiator = Initiator::new(a, expected, [nonces[0]; 32], &mut out);
    let mut acceptor = Acceptor::new(b, [nonces[1]; 32]);
    let mut to_acceptor = true;
    loop {
        let mut sent = None;
        for output in out.drain(..) {
            match output {
                Output::Send(frame) => sent = Some(frame),
                end => {
                    if let Output::Refuse { send: Some(frame), .. } = &end {
                        sent = Some(frame.clone());
                    }
                    if to_acceptor { ends.initiator.push(end) } else { ends.acceptor.push(end) }
                }
            }
        }
        let Some(frame) = sent else { return ends };
        assert!(frame.len() <= MAX_FRAME);
        let frame = wire(ends.frames.len(), frame);
        ends.frames.push(frame.clone());
        if to_acceptor {
            acceptor.handle(&frame, &mut out);
        } else {
            initiator.handle(&frame, &mut out);
        }
        to_acceptor = !to_acceptor;
    }
}

fn run(a: Local, b: Local, expected: Expected) -> Ends {
    run_with(a, b, expected, [1, 2], &mut |_, frame| frame)
}

fn refused(outputs: &[Output]) -> Option<RefusedReason> {
    match outputs {
        [Output::Refuse { reason, .. } | Output::RefusedByPeer(reason)] => Some(*reason),
        _ => None,
    }
}

fn established(outputs: &[Output]) -> Option<&Established> {
    match outputs {
        [Output::Done(established)] => Some(established),
        _ => None,
    }
}

fn key_id(established: &Established) -> Option<&str> {
    established.key.as_ref().map(KeyMark::id)
}

#[test]
fn two_nodes_with_the_same_secret_get_the_same_keys_crosswise() {
    let a = Local { capabilities: 0b110, ..local("a@127.0.0.1:1", SECRET) };
    let ends = run(a, local(ADDRESS, SECRET), Expected::Anyone);
    let (at_a, at_b) = (established(&ends.initiator).unwrap(), established(&ends.acceptor).unwrap());
    assert_eq!((at_a.peer.as_str(), at_b.peer.as_str()), (ADDRESS, "a@127.0.0.1:1"));
    assert_eq!((at_a.incarnation, at_a.capabilities, at_b.capabilities), (Incarnation(7), 0b10, 0b10));
    assert!(at_a.send_key.is_some() && at_a.send_key != at_a.receive_key);
    assert_eq!((&at_a.send_key, &at_a.receive_key), (&at_b.receive_key, &at_b.send_key));
    assert_eq!(key_id(at_a), Some("default"));
    assert_eq!(ends.frames.len(), 3);
}

#[test]
fn two_nodes_without_a_secret_meet_without_keys() {
    let ends = run(local("a@127.0.0.1:1", ""), local(ADDRESS, ""), Expected::Anyone);
    for end in [&ends.initiator, &ends.acceptor] {
        let established = established(end).unwrap();
        assert_eq!(
            (&established.send_key, &established.receive_key, &established.key),
            (&None, &None, &None)
        );
    }
}

#[test]
fn every_session_has_other_keys() {
    let keys = |nonces| {
        let (a, b) = (local("a@127.0.0.1:1", SECRET), local(ADDRESS, SECRET));
        let ends = run_with(a, b, Expected::Anyone, nonces, &mut |_, frame| frame);
        established(&ends.initiator).unwrap().send_key.clone()
    };
    assert!(keys([1, 2]) != keys([1, 3]) && keys([1, 2]) != keys([4, 2]));
}

#[test]
fn who_does_not_hold_the_secret_is_refused_as_the_reason_says() {
    use RefusedReason::{NoCommonKey, NoSecret, WrongSecret};
    let a = |secret| local("a@127.0.0.1:1", secret);
    for (a, b, reason) in [
        (a("another secret, long enough"), local(ADDRESS, SECRET), WrongSecret),
        (a(""), local(ADDRESS, SECRET), NoSecret),
        (a(SECRET), local(ADDRESS, ""), NoSecret),
        (ring("a@h:1", &[("x", SECRET)]), local(ADDRESS, SECRET), NoCommonKey),
    ] {
        let ends = run(a, b, Expected::Anyone);
        assert_eq!((refused(&ends.initiator), refused(&ends.acceptor)), (Some(reason), Some(reason)));
    }
}

#[test]
fn an_initiator_that_guesses_a_proof_is_refused() {
    let (a, b) = (local("a@127.0.0.1:1", SECRET), local(ADDRESS, SECRET));
    let ends = run_with(a, b, Expected::Anyone, [1, 2], &mut |at, frame| match at {
        2 => Message::Proof(Proof { proof: ProofBytes(Some([0; 32])) }).encode(),
        _ => frame,
    });
    assert_eq!(refused(&ends.acceptor), Some(RefusedReason::WrongSecret));
    let (a, b) = (local("a@127.0.0.1:1", SECRET), local(ADDRESS, SECRET));
    let ends = run_with(a, b, Expected::Anyone, [1, 2], &mut |at, frame| match at {
        2 => Message::Proof(Proof { proof: ProofBytes(None) }).encode(),
        _ => frame,
    });
    assert_eq!(refused(&ends.acceptor), Some(RefusedReason::BadFrame));
}

#[test]
fn the_acceptor_signs_with_its_own_key_if_the_initiator_has_it() {
    let old_and_new = [("old", "old secret old secret"), ("new", "new secret new secret")];
    let new_and_old = [old_and_new[1], old_and_new[0]];
    for (initiator, acceptor, expected) in [
        (&old_and_new[..], &new_and_old[..], "new"),
        (&old_and_new[..1], &new_and_old[..], "old"),
        (&new_and_old[..], &old_and_new[..1], "old"),
    ] {
        let ends = run(ring("a@h:1", initiator), ring("b@h:2", acceptor), Expected::Anyone);
        assert_eq!(key_id(established(&ends.acceptor).unwrap()), Some(expected));
        assert_eq!(key_id(established(&ends.initiator).unwrap()), Some(expected));
    }
}

#[test]
fn of_the_tags_that_both_have_the_acceptor_prefers_one() {
    use TagAlgorithm::{Blake3, HmacSha256};
    let with = |id, tags: &[TagAlgorithm]| Local { tags: tags.to_vec(), ..local(id, SECRET) };
    for (initiator, acceptor, expected) in [
        (&[Blake3, HmacSha256][..], &[Blake3, HmacSha256][..], Ok(Blake3)),
        (&[Blake3, HmacSha256], &[HmacSha256, Blake3], Ok(HmacSha256)),
        (&[HmacSha256], &[Blake3, HmacSha256], Ok(HmacSha256)),
        (&[Blake3, HmacSha256], &[HmacSha256], Ok(HmacSha256)),
        (&[HmacSha256], &[Blake3], Err(RefusedReason::Version)),
        (&[Blake3], &[HmacSha256], Err(RefusedReason::Version)),
    ] {
        let ends = run(with("a@h:1", initiator), with("b@h:2", acceptor), Expected::Anyone);
        for end in [&ends.initiator, &ends.acceptor] {
            let seen = match refused(end) {
                Some(reason) => Err(reason),
                None => Ok(established(end).unwrap().send_key.as_ref().unwrap().algorithm),
            };
            assert_eq!(seen, expected, "{initiator:?} dials {acceptor:?}");
        }
    }
}

#[test]
fn nobody_on_the_way_can_make_two_nodes_use_another_tag() {
    let meet = |change: fn(Message) -> Message| {
        let (a, b) = (local("a@h:1", SECRET), local("b@h:2", SECRET));
        run_with(a, b, Expected::Anyone, [1, 2], &mut |_, frame| {
            Message::decode(&frame).map_or(frame, |message| change(message).encode())
        })
    };
    let stripped = meet(|message| match message {
        Message::Hello(hello) => Message::Hello(Hello { tags: vec![Word::new("hmac-sha256-128")], ..hello }),
        other => other,
    });
    assert_eq!(refused(&stripped.initiator), Some(RefusedReason::WrongSecret));
    let chosen = |tag: &'static str| {
        let (a, b) = (local("a@h:1", SECRET), local("b@h:2", SECRET));
        let ends = run_with(a, b, Expected::Anyone, [1, 2], &mut |_, frame| match Message::decode(&frame) {
            Ok(Message::Challenge(mut challenge)) => {
                challenge.tag = Word::new(tag);
                Message::Challenge(challenge).encode()
            }
            Ok(_) | Err(_) => frame,
        });
        refused(&ends.initiator)
    };
    assert_eq!(chosen("hmac-sha256-128"), Some(RefusedReason::WrongSecret));
    assert_eq!(
        (chosen("none"), chosen("crc32")),
        (Some(RefusedReason::BadFrame), Some(RefusedReason::BadFrame))
    );
}

/// Every ring over three keys: none, one, two or three of them, in every order.
fn every_ring() -> Vec<Vec<&'static str>> {
    let (mut rings, mut longer) = (vec![vec![]], vec![vec![]]);
    for _ in 0..3 {
        longer = longer
            .iter()
            .flat_map(|ring: &Vec<&str>| {
                let left = ["x", "y", "z"].into_iter().filter(|id| !ring.contains(id));
                left.map(|id| [ring.clone(), vec![id]].concat()).collect::<Vec<_>>()
            })
            .collect();
        rings.extend(longer.clone());
    }
    rings
}

#[test]
fn any_two_rings_meet_on_the_key_of_the_rule_or_are_refused_at_both_ends() {
    let rings = every_ring();
    assert_eq!(rings.len(), 1 + 3 + 6 + 6);
    let with_bytes = |ids: &[&'static str]| ids.iter().map(|id| (*id, *id)).collect::<Vec<_>>();
    for (offered, own) in rings.iter().flat_map(|a| rings.iter().map(move |b| (a, b))) {
        let ends =
            run(ring("a@h:1", &with_bytes(offered)), ring("b@h:2", &with_bytes(own)), Expected::Anyone);
        let common = offered.iter().find(|id| own.contains(id));
        let expected = match own.first() {
            None if offered.is_empty() => Ok(None),
            None => Err(RefusedReason::NoSecret),
            Some(_) if offered.is_empty() => Err(RefusedReason::NoSecret),
            Some(signing) if offered.contains(signing) => Ok(Some(*signing)),
            Some(_) => common.map(|id| Some(*id)).ok_or(RefusedReason::NoCommonKey),
        };
        for end in [&ends.initiator, &ends.acceptor] {
            let seen = match refused(end) {
                Some(reason) => Err(reason),
                None => Ok(key_id(established(end).unwrap())),
            };
            assert_eq!(seen, expected, "{offered:?} dials {own:?}");
        }
        if let (Some(a), Some(b)) = (established(&ends.initiator), established(&ends.acceptor)) {
            assert!(a.send_key == b.receive_key && a.receive_key == b.send_key);
            assert_eq!(a.send_key.is_some(), expected != Ok(None), "with a key there are tags");
        }
    }
}

#[test]
fn an_id_with_other_bytes_is_a_wrong_secret_whatever_else_is_common() {
    let (mine, theirs) = ([("x", "mine"), ("y", "ours")], [("x", "theirs"), ("y", "ours")]);
    let ends = run(ring("a@h:1", &mine), ring("b@h:2", &theirs), Expected::Anyone);
    let reason = Some(RefusedReason::WrongSecret);
    assert_eq!((refused(&ends.initiator), refused(&ends.acceptor)), (reason, reason));
    // Only the key that is chosen counts.
    let theirs = [theirs[1], theirs[0]];
    let ends = run(ring("a@h:1", &mine), ring("b@h:2", &theirs), Expected::Anyone);
    assert_eq!(key_id(established(&ends.initiator).unwrap()), Some("y"));
}

#[test]
fn nobody_on_the_way_can_make_two_nodes_use_another_of_their_keys() {
    let keys = [("new", "a new secret"), ("old", "the old secret")];
    let meet = |change: fn(Message) -> Message| {
        let (a, b) = (ring("a@h:1", &keys), ring("b@h:2", &keys));
        run_with(a, b, Expected::Anyone, [1, 2], &mut |_, frame| {
            Message::decode(&frame).map_or(frame, |message| change(message).encode())
        })
    };
    assert_eq!(key_id(established(&meet(|message| message).acceptor).unwrap()), Some("new"));
    let stripped = meet(|message| match message {
        Message::Hello(hello) => Message::Hello(Hello { key_ids: vec![Word::new("old")], ..hello }),
        other => other,
    });
    let renamed = meet(|message| match message {
        Message::Challenge(mut challenge) => {
            challenge.key_id = Some(Word::new("old"));
            Message::Challenge(challenge)
        }
        other => other,
    });
    for ends in [stripped, renamed] {
        assert_eq!(refused(&ends.initiator), Some(RefusedReason::WrongSecret));
        assert!(established(&ends.acceptor).is_none());
    }
}

#[test]
fn a_challenge_under_a_key_that_was_not_offered_is_refused() {
    for (key_id, reason) in [
        (Some("other"), RefusedReason::NoCommonKey),
        (None, RefusedReason::NoSecret), // a node with a key never goes without
    ] {
        let (a, b) = (ring("a@h:1", &[("x", SECRET)]), ring("b@h:2", &[("x", SECRET)]));
        let ends = run_with(a, b, Expected::Anyone, [1, 2], &mut |_, frame| match Message::decode(&frame) {
            Ok(Message::Challenge(mut challenge)) => {
                challenge.key_id = key_id.map(Word::new);
                Message::Challenge(challenge).encode()
            }
            _ => frame,
        });
        assert_eq!((refused(&ends.initiator), refused(&ends.acceptor)), (Some(reason), Some(reason)));
    }
}

#[test]
fn a_node_must_be_the_one_that_was_dialled() {
    let node = |id| Expected::Node(NodeId::parse(id).unwrap());
    for (expected, admitted) in [
        (Expected::Anyone, true),
        (Expected::Name("b".into()), true),
        (Expected::Name("c".into()), false),
        (node(ADDRESS), true),
        (node("b@127.0.0.1:3"), false),
    ] {
        let ends = run(local("a@127.0.0.1:1", SECRET), local(ADDRESS, SECRET), expected);
        let reason = (!admitted).then_some(RefusedReason::WrongIdentity);
        assert_eq!((refused(&ends.initiator), refused(&ends.acceptor)), (reason, reason));
        assert_eq!(established(&ends.acceptor).is_some(), admitted);
    }
}

fn tls(id: &str, binding: u8, names: &[&str]) -> Local {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Local { tls: Some(TlsFacts { binding: [binding; 32], names }), ..local(id, SECRET) }
}

#[test]
fn proofs_hold_within_one_tls_session_only() {
    let (a, b) = ("a@127.0.0.1:1", ADDRESS);
    let meet = |a, b| {
        let ends = run(a, b, Expected::Anyone);
        let refused = (refused(&ends.initiator), refused(&ends.acceptor));
        assert_eq!(established(&ends.acceptor).is_some(), refused == (None, None));
        assert_eq!(established(&ends.initiator).is_some(), refused == (None, None));
        refused.0.or(refused.1)
    };
    assert_eq!(meet(tls(a, 1, &["b"]), tls(b, 1, &["a"])), None);
    let wrong = Some(RefusedReason::WrongSecret);
    assert_eq!(meet(tls(a, 1, &["b"]), tls(b, 2, &["a"])), wrong);
    assert_eq!(meet(tls(a, 1, &["b"]), local(b, SECRET)), wrong);
    assert_eq!(meet(local(a, SECRET), tls(b, 1, &["a"])), wrong);
}

#[test]
fn a_name_must_be_in_the_certificate_letter_for_letter() {
    let (a, b) = ("a@127.0.0.1:1", ADDRESS);
    for (names, admitted) in [
        (&["b"][..], true),
        (&["x", "b"], true),
        (&[], false),
        (&["B"], false),
        (&["*"], false),
        (&["b.example"], false),
        (&["b@127.0.0.1:2"], false),
    ] {
        let reason = (!admitted).then_some(RefusedReason::Tls);
        let ends = run(tls(a, 1, names), tls(b, 1, &["a"]), Expected::Anyone);
        assert_eq!((refused(&ends.initiator), refused(&ends.acceptor)), (reason, reason), "{names:?}");
        let names: Vec<_> = names.iter().map(|name| name.replace('b', "a").replace('B', "A")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let ends = run(tls(a, 1, &["b"]), tls(b, 1, &names), Expected::Anyone);
        assert_eq!((refused(&ends.initiator), refused(&ends.acceptor)), (reason, reason), "{names:?}");
        // The acceptor says nothing of itself to a stranger.
        assert_eq!(ends.frames.len(), if admitted { 3 } else { 2 });
    }
}

#[test]
fn a_node_that_dials_itself_learns_it_at_both_ends() {
    for secret in ["", SECRET] {
        let ends = run(local(ADDRESS, secret), local(ADDRESS, secret), Expected::Anyone);
        assert_eq!(
            (ends.initiator, ends.acceptor),
            (vec![Output::SelfConnection], vec![Output::SelfConnection])
        );
    }
}

#[test]
fn another_life_under_the_own_id_is_not_a_peer() {
    let older = Local { incarnation: Incarnation(6), ..local(ADDRESS, SECRET) };
    let ends = run(older, local(ADDRESS, SECRET), Expected::Anyone);
    let reason = Some(RefusedReason::WrongIdentity);
    assert_eq!((refused(&ends.initiator), refused(&ends.acceptor)), (reason, reason));
}

#[test]
fn unknown_versions_and_magic_are_refused() {
    let change = |change: fn(&mut Hello)| {
        let (a, b) = (local("a@127.0.0.1:1", SECRET), local(ADDRESS, SECRET));
        let ends = run_with(a, b, Expected::Anyone, [1, 2], &mut |at, frame| {
            let Ok(Message::Hello(mut hello)) = Message::decode(&frame) else { return frame };
            assert_eq!(at, 0);
            change(&mut hello);
            Message::Hello(hello).encode()
        });
        refused(&ends.acceptor)
    };
    assert_eq!(change(|hello| hello.versions = vec![2, 3]), Some(RefusedReason::Version));
    assert_eq!(change(|hello| hello.tags = vec![Word::new("none")]), Some(RefusedReason::Version));
    assert_eq!(change(|hello| hello.magic = Word::new("xeon")), Some(RefusedReason::BadFrame));
}

#[test]
fn a_recorded_session_does_not_open_a_new_one() {
    let (a, b) = (|| local("a@127.0.0.1:1", SECRET), || local(ADDRESS, SECRET));
    let recorded = run(a(), b(), Expected::Anyone);
    assert!(established(&recorded.acceptor).is_some());

    let mut out = VecDeque::new();
    let mut acceptor = Acceptor::new(b(), [3; 32]);
    acceptor.handle(&recorded.frames[0], &mut out);
    assert!(matches!(out.pop_front(), Some(Output::Send(_))));
    acceptor.handle(&recorded.frames[2], &mut out);
    assert_eq!(refused(out.make_contiguous()), Some(RefusedReason::WrongSecret));

    let mut out = VecDeque::new();
    let mut initiator = Initiator::new(a(), Expected::Anyone, [4; 32], &mut out);
    out.clear();
    initiator.handle(&recorded.frames[1], &mut out);
    assert_eq!(refused(out.make_contiguous()), Some(RefusedReason::WrongSecret));
}

#[test]
fn no_flipped_bit_in_any_message_establishes() {
    let (a, b) = (|| local("a@127.0.0.1:1", SECRET), || local(ADDRESS, SECRET));
    let lengths: Vec<usize> = run(a(), b(), Expected::Anyone).frames.iter().map(Vec::len).collect();
    for (message, length) in lengths.into_iter().enumerate() {
        for bit in 0..length * 8 {
            let ends = run_with(a(), b(), Expected::Anyone, [1, 2], &mut |at, mut frame| {
                if at == message {
                    frame[bit / 8] ^= 1 << (bit % 8);
                }
                frame
            });
            assert!(established(&ends.acceptor).is_none(), "message {message} bit {bit}");
            // The initiator is done when it has sent its proof; then only that message can still be hurt.
            assert!(message == 2 || established(&ends.initiator).is_none(), "message {message} bit {bit}");
        }
    }
}

#[test]
fn a_proof_sent_back_to_its_maker_proves_nothing() {
    let mut out = VecDeque::new();
    let mut acceptor = Acceptor::new(local(ADDRESS, SECRET), [2; 32]);
    // A stranger without the key says hello, and hands the acceptor its own proof.
    let mut hello = VecDeque::new();
    let _stranger =
        Initiator::new(local("a@h:1", "not the secret, but long"), Expected::Anyone, [1; 32], &mut hello);
    let Some(Output::Send(frame)) = hello.pop_front() else { panic!("a hello") };
    acceptor.handle(&frame, &mut out);
    let Some(Output::Send(challenge)) = out.pop_front() else { panic!("a challenge") };
    let Ok(Message::Challenge(challenge)) = Message::decode(&challenge) else { panic!("a challenge") };
    acceptor.handle(&Message::Proof(Proof { proof: challenge.proof }).encode(), &mut out);
    assert_eq!(refused(out.make_contiguous()), Some(RefusedReason::WrongSecret));

    // And a stranger that is dialled answers with the initiator's own words.
    let mut out = VecDeque::new();
    let mut initiator = Initiator::new(local("a@h:1", SECRET), Expected::Anyone, [1; 32], &mut out);
    let Some(Output::Send(hello)) = out.pop_front() else { panic!("a hello") };
    initiator.handle(&hello, &mut out);
    assert_eq!(refused(out.make_contiguous()), Some(RefusedReason::BadFrame));
}

#[test]
fn a_machine_that_ended_says_nothing_more() {
    let mut out = VecDeque::new();
    let mut acceptor = Acceptor::new(local(ADDRESS, SECRET), [2; 32]);
    acceptor.handle(&[0; MAX_FRAME + 1], &mut out);
    assert_eq!(
        out.drain(..).collect::<Vec<_>>(),
        [Output::Refuse { reason: RefusedReason::TooLong, send: None }]
    );
    let ends = run(local("a@h:1", SECRET), local(ADDRESS, SECRET), Expected::Anyone);
    acceptor.handle(&ends.frames[0], &mut out);
    assert!(out.is_empty());
}

#[test]
fn every_reason_reads_as_it_is_written() {
    for reason in RefusedReason::ALL {
        assert_eq!(reason.to_string().parse(), Ok(*reason));
        let mut out = VecDeque::new();
        Acceptor::new(local(ADDRESS, SECRET), [2; 32]).handle(&refused_frame(*reason), &mut out);
        assert_eq!(out.pop_front(), Some(Output::RefusedByPeer(*reason)));
    }
}

proptest! {
    #[test]
    fn no_bytes_establish_or_panic(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..4),
    ) {
        let mut out = VecDeque::new();
        let mut acceptor = Acceptor::new(local(ADDRESS, SECRET), [2; 32]);
        let mut initiator = Initiator::new(local("a@h:1", SECRET), Expected::Anyone, [1; 32], &mut VecDeque::new());
        for frame in frames {
            acceptor.handle(&frame, &mut out);
            initiator.handle(&frame, &mut out);
        }
        let refused_all = out.iter().all(|output| matches!(output, Output::Refuse { .. }));
        prop_assert!(refused_all);
        prop_assert_eq!(out.len(), 2);
    }

    #[test]
    fn a_hurt_hello_never_establishes(cut in 0usize..100, at in 0usize..100, byte in any::<u8>(), nonce in any::<u8>()) {
        let (a, b) = (local("a@127.0.0.1:1", SECRET), local(ADDRESS, SECRET));
        let mut hurt = false;
        let ends = run_with(a, b, Expected::Anyone, [nonce, 2], &mut |message, mut frame| {
            if message == 0 {
                let whole = frame.clone();
                frame.truncate(frame.len().saturating_sub(cut));
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
                hurt = frame != whole;
            }
            frame
        });
        prop_assert_eq!(established(&ends.acceptor).is_none(), hurt);
    }
}

#[test]
fn a_nonce_is_in_the_hello() {
    let mut out = VecDeque::new();
    let _ = Initiator::new(local("a@h:1", SECRET), Expected::Anyone, [77; 32], &mut out);
    let Some(Output::Send(frame)) = out.pop_front() else { panic!("a hello") };
    assert!(matches!(Message::decode(&frame), Ok(Message::Hello(hello)) if hello.nonce == Nonce([77; 32])));
}

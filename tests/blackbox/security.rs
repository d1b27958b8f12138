//! Whoever does not belong is refused and counted, and the node lives on as if nothing had been.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    time::Duration,
};

use crate::{
    lab::{Lab, Node, SOON},
    proxy::Proxy,
    wait,
};

/// How much more memory all of it may cost.
const MORE_MEMORY: u64 = 32 << 20;

fn refused(node: &Node, reason: &str) -> u64 {
    node.metric(&format!("noex_refused_total{{reason=\"{reason}\"}}"))
}

#[track_caller]
fn until_refused(node: &Node, reason: &str, count: u64) {
    wait::until(SOON, &format!("{count} refused as {reason}"), || match refused(node, reason) {
        n if n >= count => Ok(()),
        _ => Err(node
            .get("/metrics")
            .unwrap()
            .body
            .lines()
            .filter(|l| l.contains("refused"))
            .collect::<Vec<_>>()
            .join("\n")),
    });
}

/// Sends bytes to the cluster's port and reads until it hangs up.
fn throw(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, node.cluster)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn a_wrong_secret_and_no_secret_are_refused_at_both_ends_and_counted() {
    let lab = Lab::new();
    let a = lab.node("a").start();
    let wrong = lab.node("b").var("CLUSTER_SECRET", "another secret, as long").seed(&a.id).start();
    until_refused(&a, "wrong_secret", 1);
    let none = lab.node("c").without("CLUSTER_SECRET").seed(&a.id).start();
    until_refused(&a, "no_secret", 1);
    for stranger in [&wrong, &none] {
        assert_eq!(stranger.metric("noex_connected_nodes"), 0);
        assert_eq!(stranger.get("/ready").unwrap().status, 503);
        assert_eq!(stranger.get("/health").unwrap().status, 200);
    }
    let friend = lab.node("d").seed(&a.id).start();
    friend.sees(1);
    assert_eq!((a.metric("noex_node_up_total"), a.metric_sum("noex_node_down_total")), (1, 0));
}

#[test]
fn garbage_is_refused_and_counted_and_costs_no_memory() {
    let lab = Lab::new();
    let a = lab.node("a").start();
    let b = lab.node("b").seed(&a.id).start();
    b.sees(1);
    let before = a.metric("process_resident_memory_bytes");
    let frame = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], body].concat();

    throw(&a, &[0xFF; 4]);
    until_refused(&a, "too_long", 1);
    throw(&a, &4097u32.to_le_bytes());
    until_refused(&a, "too_long", 2);
    throw(&a, &frame(b"not a message"));
    until_refused(&a, "bad_frame", 1);
    throw(&a, &frame(&[]));
    until_refused(&a, "bad_frame", 2);
    throw(&a, b"\x10\0");
    until_refused(&a, "eof", 1);
    throw(&a, &frame(&[0xDF, 0xFF, 0xFF, 0xFF, 0xFF]));
    until_refused(&a, "bad_frame", 3);

    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..1000_usize {
        let mut bytes = vec![0xFF; 4 + round % 3000];
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[3];
        }
        throw(&a, &bytes);
        throw(&a, &frame(&bytes));
    }
    wait::until(SOON, "every one was counted", || match a.metric_sum("noex_refused_total") {
        2006 => Ok(()),
        n => Err(n.to_string()),
    });
    let after = a.metric("process_resident_memory_bytes");
    assert!(after <= before + MORE_MEMORY, "{before} bytes before, {after} after");
    for node in [&a, &b] {
        assert_eq!((node.metric("noex_connected_nodes"), node.metric_sum("noex_node_down_total")), (1, 0));
    }
    let logged = a.out.text().lines().filter(|line| line.contains("\"level\":\"warn\"")).count();
    assert!(logged <= 20, "one line per address, reason and minute, not {logged}");
}

#[test]
fn many_silent_connections_neither_fill_the_node_nor_keep_a_friend_out() {
    let lab = Lab::new();
    let a = lab.node("a").start();
    let before = a.metric("process_resident_memory_bytes");
    let silent: Vec<TcpStream> =
        (0..600).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, a.cluster)).unwrap()).collect();
    until_refused(&a, "evicted", 600 - 256);
    let friend = lab.node("b").seed(&a.id).start();
    friend.sees(1);
    wait::until(SOON, "the rest run out of time", || match refused(&a, "timeout") + refused(&a, "evicted") {
        600.. => Ok(()),
        n => Err(n.to_string()),
    });
    drop(silent);
    let after = a.metric("process_resident_memory_bytes");
    assert!(after <= before + MORE_MEMORY, "{before} bytes before, {after} after");
}

#[test]
fn a_recorded_session_played_again_is_refused() {
    let lab = Lab::new();
    let a = lab.node("a").var("WORKERS", 2).var("MIN_NODES", 2).start();
    let proxy = Proxy::to(a.cluster);
    let b = lab.node("b").seed(&format!("127.0.0.1:{}", proxy.port)).start();
    let alive = lab.placed(2, &[&a, &b]);
    let longest = || proxy.recordings().into_iter().max_by_key(Vec::len).unwrap();
    let quiet = longest().len();
    b.calls_all(2);
    let recording = wait::until(SOON, "a call is in the recording", || match longest() {
        recording if recording.len() > quiet + 10 => Ok(recording),
        recording => Err(format!("{} bytes", recording.len())),
    });
    let before = a.metric_sum("noex_refused_total");
    for _ in 0..20 {
        throw(&a, &recording);
    }
    wait::until(SOON, "each was refused", || match a.metric_sum("noex_refused_total") - before {
        20 => Ok(()),
        n => Err(n.to_string()),
    });
    assert!(
        refused(&a, "wrong_secret") >= 20 || refused(&a, "superseded") >= 20,
        "{}",
        a.get("/metrics").unwrap().body
    );
    assert_eq!((a.metric("noex_connected_nodes"), a.metric_sum("noex_node_down_total")), (1, 0));
    assert_eq!(lab.alive(), alive);
    let value = b.get("/noex/api/call/counter-1/get").unwrap().json();
    assert_eq!(value["value"], 1, "no call of the recording ran again");
}

#[test]
fn one_wrong_bit_ends_the_session_and_nothing_else() {
    let lab = Lab::new();
    let mut a = lab.node("a").var("WORKERS", 4).var("MIN_NODES", 2).start();
    let proxy = Proxy::to(a.cluster);
    let mut b = lab.node("b").seed(&format!("127.0.0.1:{}", proxy.port)).start();
    let alive = lab.placed(4, &[&a, &b]);
    b.sees(1);
    proxy.flip_a_bit();
    wait::until(SOON, "it passes, and the session ends", || {
        match (proxy.flipped(), a.metric_sum("noex_node_down_total")) {
            (true, 1) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    for node in [&a, &b] {
        node.sees(1);
    }
    assert!(a.exited().is_none() && b.exited().is_none());
    a.calls_all(4);
    b.calls_all(4);
    assert_eq!(lab.alive(), alive, "nothing was restarted");
    assert_eq!((a.metric("noex_node_up_total"), a.metric_sum("noex_node_down_total")), (2, 1));
}

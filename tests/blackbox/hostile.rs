//! One node is attacked, in its own process, while two others exchange calls with each other and with it. Not one call fails, the
//! node does not end, and all of it costs no memory.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{
    http,
    lab::{Lab, Node, SOON, Setup},
    noise::Noise,
    proxy::Proxy,
    wait,
};

/// How much more memory all of it may cost.
const MORE_MEMORY: u64 = 32 << 20;
/// Children of the supervisor, on all three nodes in turn.
const CHILDREN: usize = 6;

/// Calls through two nodes to every child, until it is told to end. Counts them, and keeps the first that failed.
struct Callers {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Option<String>>>,
}

impl Callers {
    fn through(nodes: &[&Node]) -> Self {
        let (stop, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let start = |node: &&Node| {
            let (stop, calls, port) = (Arc::clone(&stop), Arc::clone(&calls), node.health);
            thread::spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    let path = format!("/noex/api/call/counter-{}/add?n=1", n % CHILDREN + 1);
                    match http::ask(port, "POST", &path) {
                        Ok(answer) if answer.status == 200 => calls.fetch_add(1, Ordering::AcqRel),
                        other => return Some(format!("call {n}, {path}: {other:?}")),
                    };
                }
                None
            })
        };
        let threads = nodes.iter().map(start).collect();
        Self { stop, calls, threads }
    }

    /// How many calls there were; all of them answered.
    #[track_caller]
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            assert_eq!(thread.join().unwrap(), None, "a call failed");
        }
        self.calls.load(Ordering::Acquire)
    }
}

impl Noise {
    /// Bytes that are no handshake: noise, noise in a frame, or a good hello with a few bytes changed.
    fn malformed(&mut self, hello: &[u8]) -> Vec<u8> {
        let mut noise: Vec<u8> = (0..4 + self.below(3000)).map(|_| self.next().to_le_bytes()[3]).collect();
        match self.below(3) {
            0 => noise,
            1 => {
                let len = u32::try_from(noise.len() - 4).unwrap();
                noise[..4].copy_from_slice(&len.to_le_bytes());
                noise
            }
            _ => {
                let mut hello = hello.to_vec();
                for _ in 0..=self.below(3) {
                    let at = self.below(hello.len());
                    hello[at] ^= self.next().to_le_bytes()[2] | 1;
                }
                hello
            }
        }
    }
}

/// Sends bytes to a port and reads until it hangs up.
fn throw(port: u16, bytes: &[u8]) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

fn attack(frames: usize, replays: usize) {
    let lab = Lab::new();
    // The machine is busy by intent: silence of three seconds is a loss here, not that of the lab.
    let patient = |setup: Setup| setup.var("HEARTBEAT_INTERVAL_MS", 1000);
    let mut a = patient(lab.node("a")).var("WORKERS", CHILDREN).var("MIN_NODES", 3).start();
    let proxy = Proxy::to(a.cluster);
    let b = patient(lab.node("b")).seed(&format!("127.0.0.1:{}", proxy.port)).start();
    let c = patient(lab.node("c")).seed(&a.id).start();
    let alive = lab.placed(CHILDREN, &[&a, &b, &c]);
    for node in [&a, &b, &c] {
        node.sees(2);
    }
    a.calls_all(CHILDREN);
    b.calls_all(CHILDREN);
    let recording = proxy.recordings().into_iter().max_by_key(Vec::len).unwrap();
    let len = usize::try_from(u32::from_le_bytes(*recording.first_chunk().unwrap())).unwrap();
    let hello = recording[..4 + len].to_vec();

    let callers = Callers::through(&[&b, &c]);
    let refused = a.metric_sum("noex_refused_total");
    let before = a.metric("process_resident_memory_bytes");
    let mut noise = Noise(0x2545_F491_4F6C_DD1D);
    for _ in 0..frames {
        throw(a.cluster, &noise.malformed(&hello));
    }
    for _ in 0..replays {
        throw(a.cluster, &recording);
    }
    let sent = u64::try_from(frames + replays).unwrap();
    wait::until(SOON, "every one was refused", || match a.metric_sum("noex_refused_total") - refused {
        n if n == sent => Ok(()),
        n => Err(n.to_string()),
    });
    let after = a.metric("process_resident_memory_bytes");
    let calls = callers.end();

    println!(
        "{frames} malformed, {replays} replays, {calls} calls; resident {before} bytes before, {after} after"
    );
    assert!(a.exited().is_none(), "it lives");
    assert!(calls > 100, "{calls} calls");
    assert!(after <= before + MORE_MEMORY, "{before} bytes before, {after} after");
    for node in [&a, &b, &c] {
        assert_eq!((node.metric("noex_connected_nodes"), node.metric_sum("noex_node_down_total")), (2, 0));
        assert_eq!(node.metric_sum("noex_protocol_errors_total"), 0, "nobody who belongs broke anything");
    }
    assert_eq!(lab.alive(), alive, "nothing was restarted");
}

#[test]
fn a_node_under_attack_serves_its_friends() {
    attack(1000, 50);
}

#[test]
#[ignore = "soak: cargo test --features web --test blackbox -- --ignored soak_hostile --nocapture"]
fn soak_hostile() {
    attack(10_000, 1000);
}

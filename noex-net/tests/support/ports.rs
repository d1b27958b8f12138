//! Ports that a test names before something listens on them.

use std::{
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Below the ports that outgoing connections and port 0 are given, which begin with 32768.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// Where this program goes on. Programs begin anywhere, as several may run at once.
static NEXT: LazyLock<AtomicU32> =
    LazyLock::new(|| AtomicU32::new(RandomState::new().hash_one(()) as u32 % COUNT));

/// A port that nobody has now, and that nobody else in this program is given, neither by this nor by the system.
pub(crate) fn free_port() -> u16 {
    let next = || u16::try_from(FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT).unwrap();
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    std::iter::repeat_with(next).take(1000).find(free).expect("one of a thousand ports is free")
}

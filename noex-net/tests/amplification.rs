//! What a message costs in memory once it is read. Alone in its program: it counts every allocation.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use noex_net::__fuzz::control;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The longest message.
const LEN: usize = 16 << 20;

/// A message of the longest length: a word, and a list that announces and holds as many of `item` as fit.
fn filled(word: &str, before: &[u8], item: &[u8]) -> Vec<u8> {
    let mut message = vec![0x81, 0xA0 | u8::try_from(word.len()).unwrap()];
    message.extend(word.as_bytes());
    message.extend(before);
    let items = (LEN - message.len() - 5) / item.len();
    message.push(0xDD);
    message.extend(u32::try_from(items).unwrap().to_be_bytes());
    (0..items).for_each(|_| message.extend(item));
    message
}

#[test]
fn no_message_is_much_longer_in_memory_than_on_the_wire() {
    let hint = [&[0x92, 0xA5][..], b"a@h:1", &[1]].concat();
    let update = [0x93, 0xA0, 1, 0xC0];
    let instance = [0x94, 0xA0, 1, 1, 0xA0];
    let response = [&[0x92, 1, 0x81, 0xA9][..], b"Instances"].concat();
    for (what, message) in [
        ("behaviors", filled("Behaviors", &[], &[0xA0])),
        ("names", filled("Names", &[0x94, 0, 1, 0xC3], &update)),
        ("hints", filled("Hints", &[], &hint)),
        ("instances", filled("Response", &response, &instance)),
        ("heartbeat", filled("Heartbeat", &[0x96, 0, 0, 0xCA, 0, 0, 0, 0, 0, 0xC2], &[0xA0])),
    ] {
        ALLOCATED.reset_peak_usage();
        let before = ALLOCATED.current_usage();
        control(&message);
        let more = ALLOCATED.peak_usage() - before;
        assert!(more < LEN, "{what}: {more} bytes for a message of {LEN}");
    }
}

//! The bodies of the fuzz targets over their corpus (`fuzz/corpus`) and over changes of it, on the stable compiler.

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "support/noise.rs"]
mod noise;

use std::{
    fs, panic,
    path::{Path, PathBuf},
};

use noex_net::__fuzz::{Session, TARGETS, sealed, seeds, stream};
use noise::resident;
use tokio::io::AsyncWriteExt;

/// Longest input made here, in bytes.
const MAX_INPUT: usize = 8192;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

/// How much more memory a million inputs may cost.
const MORE_MEMORY: u64 = 32 << 20;

/// The inputs of one target, in the order of their names.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let dir = corpus().join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", dir.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A source of choices that is the same every time.
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % n.max(1)
    }

    /// An input of the corpus with a few changes: bits, bytes, cuts, repetitions, pieces of another input.
    fn changed(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let (len, at) = (input.len(), self.below(input.len()));
            match self.below(8) {
                0 | 1 if len > 0 => input[at] ^= 1 << self.below(8),
                2 if len > 0 => input[at] = [0, 1, 0x7F, 0x80, 0xC1, 0xDD, 0xFF][self.below(7)],
                3 => input.truncate(at),
                4 => input.insert(at.min(len), u8::try_from(self.below(256)).unwrap()),
                5 => {
                    let piece = input[at..].to_vec();
                    let times = self.below(20);
                    piece.iter().cycle().take(piece.len() * times).for_each(|byte| input.push(*byte));
                }
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    input.truncate(at);
                    input.extend_from_slice(&other[self.below(other.len())..]);
                }
            }
            input.truncate(MAX_INPUT);
        }
        input
    }
}

/// Runs a body over the corpus and as many changes of it; shows the input that breaks an invariant.
fn run(target: &str, changes: usize, mut body: impl FnMut(&[u8])) {
    let corpus = inputs(target);
    let mut choices = Choices(0x9E37_79B9_7F4A_7C15 ^ u64::try_from(target.len()).unwrap());
    let mut check = |input: &[u8]| {
        if let Err(panic) = panic::catch_unwind(panic::AssertUnwindSafe(|| body(input))) {
            println!("{target} breaks with {input:?}");
            panic::resume_unwind(panic);
        }
    };
    corpus.iter().for_each(|input| check(input));
    for _ in 0..changes {
        check(&choices.changed(&corpus));
    }
}

fn all(changes: usize, of_session: usize) {
    for (target, body) in TARGETS {
        run(target, changes, body);
    }
    let mut session = Session::new();
    run("session", of_session, |input| session.run(input));
}

#[test]
fn no_input_near_the_corpus_breaks_an_invariant() {
    all(8_000, 2_000);
}

#[test]
#[ignore = "soak: cargo test -p noex-net --features __fuzz --test corpus -- --ignored a_million"]
fn a_million_malformed_inputs_break_no_invariant() {
    // What pools and buffers keep, once.
    all(1000, 1000);
    let before = resident();
    all(100_000, 50_000);
    let after = resident();
    println!("resident {before} bytes before, {after} after");
    assert!(after <= before + MORE_MEMORY, "{before} bytes before, {after} after");
}

/// Sends changed frames, each over a stream of its own, sealed or as they are, to what reads a session; returns how many
/// streams ended badly.
async fn over_duplex(count: usize) -> usize {
    let corpus: Vec<Vec<u8>> =
        ["frames", "control", "failure", "batches"].into_iter().flat_map(inputs).collect();
    let mut choices = Choices(0xD1CE);
    let mut refused = 0;
    for _ in 0..count {
        let changed = choices.changed(&corpus);
        let bytes = if choices.below(4) == 0 { changed } else { sealed(&changed) };
        let (mut far, near) = tokio::io::duplex(1 + choices.below(512));
        let write = async move {
            let _ = far.write_all(&bytes).await; // the reader may have hung up
        };
        let ((), (_, well)) = futures_util::future::join(write, stream(near)).await;
        refused += usize::from(!well);
    }
    refused
}

#[actix_rt::test]
async fn malformed_frames_over_a_duplex_end_their_stream_and_nothing_else() {
    let refused = over_duplex(5_000).await;
    assert!(refused > 2_500, "most of them are malformed: {refused}");
}

#[actix_rt::test]
#[ignore = "soak: cargo test --release -p noex-net --features __fuzz --test corpus -- --ignored over_a_duplex --nocapture"]
async fn a_million_malformed_frames_over_a_duplex() {
    over_duplex(10_000).await;
    let before = resident();
    let refused = over_duplex(1_400_000).await;
    let after = resident();
    println!("{refused} malformed streams; resident {before} bytes before, {after} after");
    assert!(refused >= 1_000_000, "{refused}");
    assert!(after <= before + MORE_MEMORY, "{before} bytes before, {after} after");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut targets: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).chain(["session"]).collect();
    targets.sort_unstable();
    let mut dirs: Vec<String> =
        fs::read_dir(corpus()).unwrap().map(|dir| dir.unwrap().file_name().into_string().unwrap()).collect();
    dirs.sort();
    assert_eq!(dirs, targets);
    for (target, inputs) in seeds() {
        assert!(inputs.len() <= 50 && inputs.iter().all(|input| input.len() <= MAX_INPUT), "{target}");
        // Those of the handshake depend on the processor.
        if target == "frames" || target == "control" {
            let written = |at| fs::read(corpus().join(target).join(format!("seed-{at:02}"))).unwrap();
            let old = inputs.iter().enumerate().find(|(at, input)| written(*at) != **input);
            assert_eq!(old, None, "the seeds of {target} are of an old format: run write_the_seeds");
        }
        let binary = corpus().join(format!("../fuzz_targets/{target}.rs"));
        assert!(binary.exists(), "{} is missing", binary.display());
    }
}

#[test]
#[ignore = "writes: cargo test -p noex-net --features __fuzz --test corpus -- --ignored write_the_seeds"]
fn write_the_seeds() {
    for (target, inputs) in seeds() {
        let dir = corpus().join(target);
        fs::create_dir_all(&dir).unwrap();
        for (at, input) in inputs.iter().enumerate() {
            fs::write(dir.join(format!("seed-{at:02}")), input).unwrap();
        }
    }
}

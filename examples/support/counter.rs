//! The behavior `counter`, and the witness file that proves, independent of noex, that an instance lives.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use noex::prelude::*;
use rustix::{
    fs::{FlockOperation, flock},
    io::retry_on_intr,
};

/// Counts, from 0 at each start of an instance.
pub(crate) struct Counter {
    value: i64,
    _witness: Option<Witness>,
}

#[behavior(name = "counter")]
impl Counter {
    #[init]
    fn new(cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let witness = match (cx.node().data::<WitnessDir>(), cx.fencing_token()) {
            (Some(dir), Some(token)) => Some(Witness::new(&dir.0, &token.child, token.generation.0)?),
            _ => None,
        };
        Ok(Self { value: 0, _witness: witness })
    }

    #[call]
    fn add(&mut self, n: i64) -> i64 {
        self.value = self.value.wrapping_add(n);
        self.value
    }

    #[call]
    fn get(&self) -> i64 {
        self.value
    }
}

/// Where witness files are: a behavior that is started from afar reaches it through its node.
pub(crate) struct WitnessDir(pub(crate) PathBuf);

/// `<child>.<generation>.<pid>`, exclusively locked while the instance lives. The lock ends with the process whatever
/// happens to it; the file is removed when the instance is dropped.
struct Witness {
    path: PathBuf,
    /// Holds the lock. Closed after the file is removed: a file that can be locked has no living instance.
    _locked: File,
}

impl Witness {
    fn new(dir: &Path, child: &str, generation: u64) -> io::Result<Self> {
        let name = format!("{}.{generation}.{}", child.replace('/', "_"), std::process::id());
        let path = dir.join(name);
        let file = File::create(&path)?;
        // Whoever looks whether it is locked may hold the lock for a moment: wait for it.
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(Self { path, _locked: file })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a witness file");
        }
    }
}

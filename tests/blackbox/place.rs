//! A directory for one test, and the machine for itself: tests with a place of one kind run one after the other.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
};

use rustix::fs::{FlockOperation, flock};

/// Waits for its turn. The machine is taken until the file is dropped.
pub(crate) fn place(kind: &str) -> (PathBuf, File) {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join(kind);
    fs::create_dir_all(&base).unwrap();
    let machine = File::create(base.join("lock")).unwrap();
    flock(&machine, FlockOperation::LockExclusive).unwrap();
    let test = thread::current().name().unwrap_or("test").replace("::", "-");
    let dir = base.join(format!("{test}.{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    (dir, machine)
}

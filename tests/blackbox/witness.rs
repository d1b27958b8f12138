//! Which instances live, by their locked files: `<child>.<generation>.<pid>`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// One living instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instance {
    pub(crate) generation: u64,
    /// Of the operating system.
    pub(crate) pid: u32,
}

/// Living instances by child.
pub(crate) type Alive = BTreeMap<String, Vec<Instance>>;

/// Looks at every file: one that cannot be locked has a living instance.
pub(crate) fn alive(dir: &Path) -> Alive {
    let mut alive = Alive::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let Some((child, instance)) = path.file_name().and_then(|name| name.to_str()).and_then(parse) else {
            continue;
        };
        // It may be gone since it was listed.
        let Ok(file) = File::open(&path) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            alive.entry(child).or_default().push(instance);
        }
    }
    alive.values_mut().for_each(|instances| instances.sort());
    alive
}

fn parse(name: &str) -> Option<(String, Instance)> {
    let mut parts = name.rsplitn(3, '.');
    let pid = parts.next()?.parse().ok()?;
    let generation = parts.next()?.parse().ok()?;
    let child = parts.next().filter(|child| !child.is_empty())?;
    Some((child.to_owned(), Instance { generation, pid }))
}

/// That each of `counter-1` … `counter-n` lives exactly once, on one of these processes, and nothing else lives.
pub(crate) fn exactly_once(alive: &Alive, n: usize, on: &[u32]) -> Result<(), String> {
    let mut wrong = Vec::new();
    for child in (1..=n).map(|i| format!("counter-{i}")) {
        match alive.get(&child).map(Vec::as_slice) {
            Some([one]) if on.contains(&one.pid) => {}
            other => wrong.push(format!("{child}: {other:?}")),
        }
    }
    if alive.len() > n {
        wrong.push(format!("{} children", alive.len()));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("on {on:?}: {}", wrong.join(", "))) }
}

/// The generation of every child that lives in this process, once.
pub(crate) fn generations(alive: &Alive, pid: u32) -> BTreeMap<String, u64> {
    let of_pid = |(child, instances): (&String, &Vec<Instance>)| {
        let here = instances.iter().find(|instance| instance.pid == pid)?;
        Some((child.clone(), here.generation))
    };
    alive.iter().filter_map(of_pid).collect()
}

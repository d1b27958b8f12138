//! The processes of a node by number, oldest first.
//!
//! Numbers only rise, so neighbours are kept in chunks: two words per process instead of the four of a half-full tree, and an
//! insertion that hardly ever moves anything.

use std::{collections::BTreeMap, sync::Arc};

use crate::process::Process;

/// Numbers in one chunk. A survivor among the dead keeps the chunk: half a kilobyte.
const CHUNK: usize = 1 << BITS;
const BITS: u32 = 5;

#[derive(Debug)]
struct Chunk {
    slots: [Option<Arc<dyn Process>>; CHUNK],
    used: usize,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    chunks: BTreeMap<u64, Box<Chunk>>,
    len: usize,
}

fn place(number: u64) -> (u64, usize) {
    (number >> BITS, usize::try_from(number & ((1 << BITS) - 1)).unwrap_or(0))
}

impl Table {
    pub(crate) fn insert(&mut self, number: u64, process: Arc<dyn Process>) {
        let (chunk, slot) = place(number);
        let chunk = self
            .chunks
            .entry(chunk)
            .or_insert_with(|| Box::new(Chunk { slots: [const { None }; CHUNK], used: 0 }));
        if let Some(slot) = chunk.slots.get_mut(slot)
            && slot.replace(process).is_none()
        {
            chunk.used += 1;
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Arc<dyn Process>> {
        let (at, slot) = place(number);
        let chunk = self.chunks.get_mut(&at)?;
        let removed = chunk.slots.get_mut(slot)?.take()?;
        chunk.used -= 1;
        self.len -= 1;
        if chunk.used == 0 {
            self.chunks.remove(&at);
        }
        Some(removed)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Arc<dyn Process>> {
        let (chunk, slot) = place(number);
        self.chunks.get(&chunk)?.slots.get(slot)?.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Oldest first.
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &Arc<dyn Process>> {
        self.chunks.values().flat_map(|chunk| chunk.slots.iter().flatten())
    }
}

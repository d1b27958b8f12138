//! What another node said of its names: in view while it is connected, kept out of view for some time after that.
//!
//! What takes work for each name (to bring them into view, and out of it) is done a turn at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use noex_actors::{Incarnation, Monotonic};

use super::entry::{Entry, Gap, Name};

/// What another node said.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) incarnation: Incarnation,
    /// All its changes up to this are known.
    pub(super) position: u64,
    /// Nothing of that was refused.
    exact: bool,
    /// There is a session.
    pub(super) up: bool,
    /// It began to tell what it has.
    begun: bool,
    /// It told all that changed while there was no session: what was kept holds.
    pub(super) complete: bool,
    /// Names whose entry of this node is in view.
    pub(super) shown: BTreeSet<Name>,
    /// Entries out of view.
    pub(super) dormant: BTreeMap<Name, Entry>,
    /// Names whose entry is in view still, and is to go.
    pub(super) doomed: BTreeSet<Name>,
    /// When it is forgotten; set while there is no session, and nothing of it is in view.
    pub(super) until: Option<Monotonic>,
}

impl Part {
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            position: 0,
            exact: true,
            up: false,
            begun: false,
            complete: false,
            shown: BTreeSet::new(),
            dormant: BTreeMap::new(),
            doomed: BTreeSet::new(),
            until: None,
        }
    }

    /// Up to which change all is known.
    pub(super) fn known(&self) -> u64 {
        if self.exact { self.position } else { 0 }
    }

    /// A session begins. Returns entries that nobody needs any more.
    pub(super) fn session_up(&mut self, incarnation: Incarnation) -> BTreeMap<Name, Entry> {
        let trash = if self.incarnation == incarnation { BTreeMap::new() } else { self.reset() };
        self.incarnation = incarnation;
        (self.up, self.begun, self.complete) = (true, false, false);
        trash
    }

    /// Its node speaks of its changes after `after`, up to `upto`. Returns entries that nobody needs any more.
    ///
    /// # Errors
    /// [`Gap`]: that does not fit to what is known.
    pub(super) fn follows(&mut self, after: u64, upto: u64) -> Result<BTreeMap<Name, Entry>, Gap> {
        let trash = match after {
            // All it has.
            0 if !self.begun || self.position == 0 => self.reset(),
            0 => return Err(Gap),
            _ if after > self.position || upto < after => return Err(Gap),
            _ => BTreeMap::new(),
        };
        (self.begun, self.position) = (true, upto);
        Ok(trash)
    }

    /// Some of what it said was refused.
    pub(super) fn incomplete(&mut self) {
        self.exact = false;
    }

    /// All that is known of it is void.
    fn reset(&mut self) -> BTreeMap<Name, Entry> {
        (self.position, self.exact) = (0, true);
        if self.shown.len() > self.doomed.len() {
            std::mem::swap(&mut self.shown, &mut self.doomed);
        }
        self.doomed.extend(std::mem::take(&mut self.shown));
        std::mem::take(&mut self.dormant)
    }

    /// Its entries, in view or not.
    pub(super) fn len(&self) -> usize {
        self.shown.len() + self.dormant.len() + self.doomed.len()
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.shown.contains(name) || self.dormant.contains_key(name) || self.doomed.contains(name)
    }

    /// It has an entry for this name, in view from now on.
    pub(super) fn show(&mut self, name: &Name) {
        self.dormant.remove(name);
        self.doomed.remove(name);
        self.shown.insert(Arc::clone(name));
    }

    /// It has no such entry any more. True if one is in view.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.dormant.remove(name);
        self.shown.remove(name) | self.doomed.remove(name)
    }

    /// Whether there is something to bring into view, or out of it.
    pub(super) fn has_work(&self) -> bool {
        let moves = if self.up { self.complete && !self.dormant.is_empty() } else { self.until.is_none() };
        moves || !self.doomed.is_empty()
    }
}

//! Children from a template: their numbers, and those that were asked for too early.

use noex_actors::Caller;

use super::{ChildFailure, DistributedChildSpec, DistributedChildTemplate, DistributedProcess, Reply};
use crate::machine::Found;

/// The word before the number.
const PREFIX: &str = "child_";

/// Numbers beyond are nobody's: a node that tells of one is not believed.
const HIGHEST: u64 = 1 << 53;

/// What children are made from, and how many were.
#[derive(Debug)]
pub(super) struct Nursery {
    template: Option<DistributedChildTemplate>,
    /// The highest number that was given, here or by an earlier supervisor whose child lives.
    made: u64,
    /// Asked for before it was known which numbers are taken.
    early: Vec<(DistributedChildSpec, Caller<Reply>)>,
}

impl Nursery {
    pub(super) fn new(template: Option<DistributedChildTemplate>) -> Self {
        Self { template, made: 0, early: Vec::new() }
    }

    /// Whether all children come from a template.
    pub(super) fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// These ids are taken.
    pub(super) fn note<'a>(&mut self, found: impl Iterator<Item = &'a Found>) {
        if self.has_template() {
            let number = |found: &Found| found.child.strip_prefix(PREFIX)?.parse::<u64>().ok();
            let highest = found.filter_map(number).filter(|number| *number < HIGHEST).max();
            self.made = self.made.max(highest.unwrap_or(0));
        }
    }

    /// The next child, of which `from` gives behavior and arguments.
    fn make(&mut self, from: DistributedChildSpec) -> Result<DistributedChildSpec, ChildFailure> {
        let template = self.template.as_ref().ok_or(ChildFailure::NoTemplate)?;
        let made = template.instance(format!("{PREFIX}{}", self.made + 1), from);
        let made = made.map_err(|wrong| ChildFailure::WrongBehavior(wrong.expected, wrong.found))?;
        self.made += 1;
        Ok(made)
    }
}

impl DistributedProcess {
    pub(super) fn add_instance(
        &mut self,
        from: DistributedChildSpec,
        caller: Caller<Reply>,
        cx: &mut super::Context<Self>,
    ) {
        if self.ready.is_some() && self.nursery.has_template() {
            return self.nursery.early.push((from, caller));
        }
        let made = from.check_args().map_err(ChildFailure::from).and_then(|()| self.nursery.make(from));
        match made {
            Ok(spec) => self.begin_child(spec, caller, cx),
            Err(failure) => caller.reply(Reply::Instance(Err(failure))),
        }
    }

    /// Now it is known which numbers are taken.
    pub(super) fn add_the_early(&mut self, cx: &mut super::Context<Self>) {
        for (from, caller) in std::mem::take(&mut self.nursery.early) {
            self.add_instance(from, caller, cx);
        }
    }
}

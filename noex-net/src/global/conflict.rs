//! What becomes of a process that loses a name to another.

use std::{fmt, sync::Arc};

use noex_actors::{
    __private::{contained, panic_text},
    AnyRef, ExitReason, Node, Pid,
};

/// What becomes of a process that loses a name to another. In any case it hears of it: `Info::NameLost`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum OnConflict {
    /// Nothing else.
    #[default]
    NotifyLoser,
    /// It is stopped with reason `Shutdown`.
    StopLoser,
    /// What a function of the program does: [`OnConflict::custom`].
    Custom(ConflictHandler),
}

impl OnConflict {
    /// Calls a function with each name that the process loses, and to whom: it may hand over what the process has, stop it
    /// with some reason, or let it go on.
    ///
    /// It is called on the node of the loser, on an arbiter, after the loser was told. It has no say in who wins: one order
    /// decides that on every node, and the name is the winner's already. A panic of it is logged.
    pub fn custom(f: impl Fn(NameConflict) + Send + Sync + 'static) -> Self {
        Self::Custom(ConflictHandler(Arc::new(f)))
    }

    /// A process of this node lost a name.
    pub(super) fn apply(self, node: &Node, name: &str, winner: &Pid, loser: &Pid) {
        let Some(process) = node.process_by_number(loser.number()) else {
            // Not here: a function may own whatever, and this may be under the lock of the names.
            node.next_arbiter().spawn_fn(move || contained(move || drop(self)));
            return;
        };
        process.name_lost(name, winner);
        match self {
            Self::NotifyLoser => {}
            Self::StopLoser => process.stop(ExitReason::Shutdown),
            Self::Custom(handler) => {
                let conflict = NameConflict {
                    name: name.to_owned(),
                    winner: node.resolve_any(winner, None),
                    loser: node.resolve_any(loser, None),
                };
                node.next_arbiter().spawn_fn(move || handler.call(conflict));
            }
        }
    }
}

/// The function of [`OnConflict::custom`].
#[derive(Clone)]
pub struct ConflictHandler(Arc<dyn Fn(NameConflict) + Send + Sync>);

impl ConflictHandler {
    fn call(self, conflict: NameConflict) {
        let name = conflict.name.clone();
        let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.0)(conflict)));
        if let Err(panic) = called {
            let text = panic_text(panic.as_ref());
            tracing::error!(name, panic = text, "the function of a process that lost a name panicked");
        }
        contained(move || drop(self));
    }
}

impl fmt::Debug for ConflictHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConflictHandler")
    }
}

/// Two processes had one name: the loser has it no more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NameConflict {
    /// The name.
    pub name: String,
    /// Who has it.
    pub winner: AnyRef,
    /// Who had it, too: a process of this node.
    pub loser: AnyRef,
}

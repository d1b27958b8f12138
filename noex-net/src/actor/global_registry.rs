//! Lets tombstones of global names go when their time has come.
//!
//! Reads and writes of names do not pass through an actor: `register` answers at once (see `global.rs`).

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context};

use crate::net::Net;

/// How often to look: tombstones are kept for minutes.
const PERIOD: Duration = Duration::from_secs(30);

/// The actor of the global names.
pub(crate) struct GlobalRegistryActor {
    net: Arc<Net>,
}

impl GlobalRegistryActor {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        Self { net }
    }
}

impl Actor for GlobalRegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PERIOD, |this, _| {
            let names = &this.net.names;
            if names.deadline().is_some_and(|at| at <= this.net.node.now()) {
                names.deadline_reached();
            }
        });
    }
}

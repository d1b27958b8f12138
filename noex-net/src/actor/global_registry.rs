//! Does what is work for each of many global names, a turn at a time, and lets tombstones go when their time has come.
//!
//! Reads and writes of names do not pass through an actor: `register` answers at once (see `global.rs`).

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, WrapFuture};

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
        let net = Arc::clone(&self.net);
        ctx.spawn(async move { net.names.work(&net).await }.into_actor(self));
        ctx.run_interval(PERIOD, |this, _| this.net.names.look());
    }
}

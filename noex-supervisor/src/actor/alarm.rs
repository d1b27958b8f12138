//! The one timer of a supervisor process.

use noex_actors::{Behavior, Context, Monotonic, TimerRef};

/// Rings at the machine's deadline, or before it: then there is nothing to do yet, and it is set again.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<(Monotonic, TimerRef)>);

impl Alarm {
    /// Sets it. One that rings earlier is left alone: of deadlines that come and go, most are never reached.
    pub(crate) fn set<B: Behavior>(&mut self, due: Option<Monotonic>, note: B::Info, cx: &mut Context<B>) {
        if let (Some((armed, _)), Some(due)) = (&self.0, due)
            && *armed <= due
        {
            return;
        }
        if let Some((_, timer)) = self.0.take() {
            timer.cancel();
        }
        self.0 = due.map(|at| (at, cx.send_after(at.since(cx.node().now()), note)));
    }

    /// It rang.
    pub(crate) fn rang(&mut self) {
        self.0 = None;
    }
}

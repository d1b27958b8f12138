//! How a distributed supervisor ends: stopped with its tree, over its limit, beaten to its name, or with its node.

use std::{collections::BTreeSet, time::Duration};

use noex_actors::{AnyRef, Context, ExitReason, NodeId, Pid};

use super::{
    Call, Cast, DistributedProcess, DistributedSupervisorEvent, Fact, Note, Reply, coordinator, end_of,
};
use crate::{
    distributed::views::PREFIX,
    error::StartSupervisorError,
    info::SupervisorExit,
    machine::supervision::{Child, Ending, Input},
};

/// What a supervisor exits with that lost its name to another.
const NAME_LOST: &str = "name_lost";

/// How long the winner of the name may take to say which children it has.
const WINNER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a leaving node waits for its children to be elsewhere.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);

impl DistributedProcess {
    pub(super) fn end(&mut self, ending: Ending, cx: &mut Context<Self>) {
        let limit = self.identity.settings.intensity;
        let (exit, failed) = end_of(ending, limit, |child, generation, failure| {
            self.why(child, generation, failure).into_error(cx.pid())
        });
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(failed.unwrap_or(StartSupervisorError::NotRunning)));
        }
        cx.stop(exit.reason());
        self.finish(exit);
        if let Some(Ok(heir)) = self.heir.take().map(|heir| heir.typed::<Self>()) {
            let _ = heir.cast(Cast::RivalGone);
        }
    }

    /// Tells the end to everybody, once.
    pub(super) fn finish(&mut self, exit: SupervisorExit) {
        if self.exit.is_some() {
            return;
        }
        let supervisor_id = self.identity.id.clone();
        tracing::info!(supervisor = supervisor_id, reason = %exit, "supervisor stopped");
        self.exit = Some(exit.clone());
        self.desk.ended(&self.pid, exit.clone());
        let own = self.cluster.local_node_id();
        let mut views = self.desk.views.lock();
        if views.get(&supervisor_id).is_some_and(|view| view.owner == *own) {
            views.remove(&supervisor_id);
        }
        drop(views);
        for waiter in self.waiters.drain(..) {
            waiter.reply(Reply::Exit(exit.clone().into()));
        }
        self.desk.tell(DistributedSupervisorEvent::SupervisorStopped { supervisor_id, reason: exit });
    }

    /// Looks who has the name, and asks all connected nodes: one of them may know of another supervisor that this node does
    /// not reach yet.
    pub(super) fn ask_owners(&mut self, timeout: Duration, cx: &mut Context<Self>) {
        if self.rival(cx).is_some() {
            return self.owners(None, cx);
        }
        let (names, inlet) = (self.cluster.global().clone(), self.inlet.clone());
        let name = format!("{PREFIX}{}", self.identity.id);
        cx.task(async move {
            inlet.send(Fact::Owners(names.heard_of(&name, timeout).await));
            Note::Facts
        });
    }

    pub(super) fn owners(&mut self, named: Option<Pid>, cx: &mut Context<Self>) {
        if let Some(named) = &named {
            tracing::debug!(supervisor = self.identity.id, rival = %named, "another node knows of another supervisor");
        }
        let (seen, named) = (self.rival(cx), named.is_some());
        self.step(coordinator::Input::Owners { seen, named }, cx);
    }

    fn rival(&self, cx: &Context<Self>) -> Option<Pid> {
        let holder = self.cluster.global().pid(&format!("{PREFIX}{}", self.identity.id));
        holder.filter(|holder| holder != cx.pid())
    }

    fn beaten(&mut self, by: &NodeId) {
        self.beaten_by = Some(by.clone());
        let own = self.cluster.local_node_id();
        self.owner_changed(own, by);
    }

    /// Tells that one after the other has the name.
    pub(super) fn owner_changed(&self, from: &NodeId, to: &NodeId) {
        if from != to {
            let (supervisor_id, from_node, to_node) = (self.identity.id.clone(), from.clone(), to.clone());
            self.desk.tell(DistributedSupervisorEvent::OwnerChanged { supervisor_id, from_node, to_node });
        }
    }

    /// Another supervisor has the name: asks it which children it has.
    pub(super) fn name_lost(&mut self, winner: &Pid, cx: &mut Context<Self>) {
        if self.beaten_by.is_some() {
            return;
        }
        self.beaten(winner.node_id());
        self.supervise(Input::Superseded, cx);
        tracing::warn!(supervisor = self.identity.id, %winner, "another supervisor has the name");
        let winner = cx.node().resolve::<Self>(winner);
        let inlet = self.inlet.clone();
        cx.task(async move {
            let map = |reply| match reply {
                Reply::View(view) => Some(view),
                _ => None,
            };
            let view = winner.call_map(Call::View, map).timeout(WINNER_TIMEOUT).await.ok();
            let children = view.map(|view| view.children.into_iter().map(|child| child.id).collect());
            inlet.send(Fact::Winner { winner: winner.erase(), children });
            Note::Facts
        });
    }

    /// Leaves to the winner what it has, stops the rest. Not knowing what it has, leaves all. Children of a template are
    /// nobody else's: what is called the same there is another child.
    pub(super) fn yield_to(&mut self, winner: AnyRef, children: Option<Vec<String>>, cx: &mut Context<Self>) {
        self.heir = Some(winner);
        let all = || self.machine.supervision().children().map(|child| child.rule.id.clone()).collect();
        let keep: BTreeSet<String> = match children {
            _ if self.nursery.has_template() => BTreeSet::new(),
            Some(children) => children.into_iter().collect(),
            None => all(),
        };
        self.supervise(Input::HandedOver { keep, reason: ExitReason::error(NAME_LOST) }, cx);
    }

    /// Stops the tree, or, when its node leaves the cluster, moves what runs here and leaves the rest running for the
    /// next supervisor of this name. Without a name there is none, and nobody could take over children of a template: they
    /// are stopped.
    pub(super) async fn last_words(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        self.awake = None;
        self.instances.begin_last();
        // That the name is lost may be said in the mailbox, which is not read any more.
        if let Some(rival) = self.rival(cx).filter(|_| self.exit.is_none()) {
            if self.beaten_by.is_none() {
                self.beaten(rival.node_id());
            }
            let rival = || cx.node().resolve::<Self>(&rival).erase();
            self.heir.get_or_insert_with(rival);
            self.supervise(Input::Superseded, cx);
        }
        let tree = self.stop_tree || self.identity.partitions.alone;
        if cx.node().is_stopping() && !tree && self.exit.is_none() {
            self.hand_over(reason, cx).await;
        }
        self.supervise(Input::StopRequested { reason: reason.clone() }, cx);
        while self.exit.is_none() {
            self.next(cx).await;
        }
    }

    async fn hand_over(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        let own = cx.node().id().clone();
        self.step(coordinator::Input::Draining(own.clone()), cx);
        let deadline = cx.node().now().plus(HANDOVER_TIMEOUT);
        let elsewhere = |child: &Child| child.pid().is_some_and(|pid| *pid.node_id() != own);
        // Who is bound to this node, or temporary, ends with it: nobody waits for that.
        let is_here = |child: &Child| {
            child.may_live_elsewhere() && child.pid().is_some_and(|pid| *pid.node_id() == own)
        };
        loop {
            let supervision = self.machine.supervision();
            let busy = supervision.is_busy() || supervision.children().any(is_here);
            let left = deadline.since(cx.node().now());
            if !busy || left.is_zero() || self.exit.is_some() {
                break;
            }
            let _ = actix_rt::time::timeout(left, self.next(cx)).await;
        }
        let supervision = self.machine.supervision();
        let keep = supervision.children().filter(|child| elsewhere(child));
        let keep = keep.map(|child| child.rule.id.clone()).collect();
        self.supervise(Input::HandedOver { keep, reason: reason.clone() }, cx);
    }

    /// The next fact, the next end of an instance, or the alarm: what the mailbox would have brought.
    async fn next(&mut self, cx: &mut Context<Self>) {
        let now = cx.node().now();
        let due = self.machine.deadline().map(|at| at.since(now));
        tokio::select! {
            Some(fact) = self.facts.recv() => self.fact(fact, cx),
            down = self.instances.next_down() => self.down(&down, cx),
            () = actix_rt::time::sleep(due.unwrap_or_default()), if due.is_some() => {
                self.step(coordinator::Input::DeadlineReached, cx);
            }
        }
    }
}

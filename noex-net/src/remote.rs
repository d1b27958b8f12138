//! Requests between nodes: starting processes, and asking what lives.
//!
//! ```text
//! requester            other node
//!    | Spawn      ---->  |  starts it, holds it unconfirmed
//!    | <---- Spawned     |
//!    | Confirm    ---->  |  it stays
//! ```
//! Watches and links that were asked for with the process go before `Confirm`: until then its node remembers how it ended, and
//! tells that. A process that is not confirmed within 10 s in which its node runs, or by the end of the session, is killed: a
//! spawn whose requester gave up leaves no orphan.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use noex_actors::{
    __private::{NotAdmitted, check_process_name},
    AnyRef, CallError, FencingToken, Generation, NameError, NodeId, Overload, Owner, Pid, Registration,
    SpawnError, SpawnOptions, StartError, SupervisedProcess,
    route::{SpawnRequest, Tie, Watcher},
};
use tokio::sync::oneshot;

use crate::{
    link::{Link, RequestError},
    machine::names::{MAX_TOKEN_TEXT, fits},
    net::Net,
    wire::{
        control::{Control, Holder, InstanceEntry, Request, Response, SpawnFailure, SpawnOrder},
        order::Place,
    },
};

/// How often those that wait to be confirmed are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// At how many looks after the first a process may still wait.
const CONFIRM_LOOKS: u64 = 10;

/// A supervised instance alive on some node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Id of the child.
    pub child: String,
    /// Which instance of the child it is.
    pub generation: Generation,
    /// The supervisor instance that started it, if its node knows.
    pub owner: Option<Owner>,
    /// The process.
    pub pid: Pid,
    /// Wire name of its behavior.
    pub behavior: String,
}

/// Starts a process on another node.
pub(crate) async fn spawn(net: &Arc<Net>, id: &NodeId, request: SpawnRequest) -> Result<Pid, SpawnError> {
    let counters = &net.counters;
    counters.spawns_initiated.one();
    let outcome = try_spawn(net, id, request).await;
    match &outcome {
        Ok(_) => counters.spawns_resolved.one(),
        Err(SpawnError::Timeout { .. }) => counters.spawns_timed_out.one(),
        Err(_) => counters.spawns_rejected.one(),
    }
    outcome
}

async fn try_spawn(net: &Arc<Net>, id: &NodeId, request: SpawnRequest) -> Result<Pid, SpawnError> {
    let SpawnRequest { behavior, args, schema, options, registration, timeout, ties, .. } = request;
    // The rule is the same there.
    if let Some(name) = options.get_name().filter(|_| registration != Registration::None) {
        check_process_name(name).map_err(StartError::Name)?;
    }
    let link = net.link(id).ok_or_else(|| SpawnError::NoConnection(id.clone()))?;
    if let Some(schema) = schema {
        link.startable(&behavior, schema)?;
    }
    let order = SpawnOrder {
        behavior: behavior.clone(),
        args,
        name: options.get_name().map(str::to_owned),
        registration,
        init_timeout_ms: millis(options.get_init_timeout()),
        mailbox_capacity: u64::try_from(options.get_mailbox_capacity()).unwrap_or(u64::MAX),
        token: options.get_fencing_token().cloned(),
        mailbox_policy: options.get_mailbox_policy(),
        trap_exit: options.get_trap_exit(),
        lease: options.get_lease().cloned(),
    };
    match link.request(Request::Spawn(Box::new(order)), timeout).await {
        Ok((request, Response::Spawned(Ok(number)))) => {
            let pid = Pid::new(id.clone(), link.incarnation, number);
            // Before it is confirmed: until then the other node remembers how it ended, if it has.
            // A link goes among what is sent to the process, and what must not pass it goes there, too.
            let linked = ties.iter().any(|tie| matches!(tie, Tie::Link(_)));
            ties.into_iter().for_each(|tie| net.node.tie(&pid, tie));
            let place = if linked { Place::Target(number) } else { Place::Free };
            link.control_at(place, &Control::Confirm { id: request });
            Ok(pid)
        }
        Ok((_, Response::Spawned(Err(failure)))) => Err(spawn_error(failure, behavior, id)),
        Ok(_) => Err(SpawnError::ConnectionLost(id.clone())),
        Err(RequestError::NotSent) => Err(SpawnError::NoConnection(id.clone())),
        Err(RequestError::ConnectionLost) => Err(SpawnError::ConnectionLost(id.clone())),
        Err(RequestError::Timeout) => Err(SpawnError::Timeout { behavior, node: id.clone(), after: timeout }),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn spawn_error(failure: SpawnFailure, behavior: String, node: &NodeId) -> SpawnError {
    let node = node.clone();
    match failure {
        SpawnFailure::NotRunning => SpawnError::Start(StartError::NotRunning),
        SpawnFailure::Init(reason) => SpawnError::Start(StartError::Init(reason)),
        SpawnFailure::InitTimeout { millis } => {
            SpawnError::Start(StartError::InitTimeout(Duration::from_millis(millis)))
        }
        SpawnFailure::NameTaken { name, node, incarnation, number, ran } => {
            let holder = Pid::new(node, incarnation, number);
            name_error(NameError::Taken { name, holder }, ran)
        }
        SpawnFailure::NameInvalid { name } => SpawnError::Start(StartError::Name(NameError::Invalid {
            name,
            reason: "the other node does not take it",
        })),
        SpawnFailure::TooManyNames { max, ran } => {
            name_error(NameError::TooMany { max: usize::try_from(max).unwrap_or(usize::MAX) }, ran)
        }
        SpawnFailure::TooMany => SpawnError::Overloaded(Overload::Quota),
        SpawnFailure::BehaviorNotFound => SpawnError::BehaviorNotFound { behavior, node },
        SpawnFailure::Incompatible { reason } => SpawnError::Incompatible { behavior, node, reason },
        SpawnFailure::Forbidden => SpawnError::Forbidden { behavior, node },
        SpawnFailure::Full { max } => {
            SpawnError::Quota { behavior, node, max: usize::try_from(max).unwrap_or(usize::MAX) }
        }
    }
}

/// `ran`: once `init` had run.
fn name_error(error: NameError, ran: bool) -> SpawnError {
    if ran { SpawnError::NameLost(error) } else { StartError::Name(error).into() }
}

fn spawn_failure(error: SpawnError) -> SpawnFailure {
    let ran = matches!(error, SpawnError::NameLost(_));
    match error {
        SpawnError::Start(StartError::Init(reason)) => SpawnFailure::Init(reason),
        SpawnError::Start(StartError::InitTimeout(after)) => {
            SpawnFailure::InitTimeout { millis: millis(after) }
        }
        SpawnError::Start(StartError::Name(error)) | SpawnError::NameLost(error) => match error {
            NameError::Taken { name, holder } => SpawnFailure::NameTaken {
                name,
                node: holder.node_id().clone(),
                incarnation: holder.incarnation(),
                number: holder.number(),
                ran,
            },
            NameError::TooMany { max } => {
                SpawnFailure::TooManyNames { max: u64::try_from(max).unwrap_or(u64::MAX), ran }
            }
            NameError::Invalid { name, .. } => SpawnFailure::NameInvalid { name },
            _ => SpawnFailure::NotRunning,
        },
        SpawnError::Overloaded(_) => SpawnFailure::TooMany,
        SpawnError::BehaviorNotFound { .. } => SpawnFailure::BehaviorNotFound,
        SpawnError::Incompatible { reason, .. } => SpawnFailure::Incompatible { reason },
        _ => SpawnFailure::NotRunning,
    }
}

/// Starts a process that the peer asks for, on the connection's arbiter.
pub(crate) async fn serve_spawn(link: Arc<Link>, id: u64, order: SpawnOrder) {
    let respond = |outcome| link.control(&Control::Response { id, body: Response::Spawned(outcome) });
    let Some(place) = link.net.quota.take(&link.peer, link.net.config.max_spawned_per_peer()) else {
        return respond(Err(SpawnFailure::TooMany));
    };
    let admitted = match link.net.node.behaviors().admit(&order.behavior, &link.peer) {
        Ok(admitted) => admitted,
        Err(why) => {
            tracing::debug!(peer = %link.peer, behavior = %order.behavior, ?why, "a spawn for a peer was refused");
            return respond(Err(match why {
                NotAdmitted::Forbidden => SpawnFailure::Forbidden,
                NotAdmitted::Full(max) => SpawnFailure::Full { max: u64::try_from(max).unwrap_or(u64::MAX) },
            }));
        }
    };
    if !fits(order.token.as_ref()) {
        let reason = format!("a text of its fencing token has more than {MAX_TOKEN_TEXT} bytes");
        return respond(Err(SpawnFailure::Incompatible { reason }));
    }
    let mut options = SpawnOptions::new()
        .init_timeout(Duration::from_millis(order.init_timeout_ms))
        .mailbox(order.mailbox_policy, usize::try_from(order.mailbox_capacity).unwrap_or(usize::MAX));
    if order.trap_exit {
        options = options.trap_exit();
    }
    if let Some(name) = order.name {
        options = options.name(name);
    }
    if let Some(token) = order.token {
        options = options.fencing_token(token);
    }
    if let Some(terms) = order.lease {
        options = options.lease(terms);
    }
    let node = &link.net.node;
    let outcome = match node.spawn_registered(&order.behavior, &order.args, options, order.registration).await
    {
        Ok(process) => {
            let number = process.pid().number();
            // The place is given back when the process ends, whoever holds it then.
            let ended = Watcher::Callback(Box::new(move |_| drop((place, admitted))));
            node.monitor(process.pid(), ended, |_| {});
            match link.requests.hold(id, process, CONFIRM_LOOKS) {
                // On the control arbiter: a pending timer makes every wait of an arbiter dearer.
                Ok(true) => {
                    let unconfirmed = kill_unconfirmed(Arc::downgrade(&link));
                    node.control().spawn(node.vital("a task of a connection", unconfirmed));
                }
                Ok(false) => {}
                Err(process) => return process.kill(),
            }
            Ok(number)
        }
        Err(error) => {
            tracing::debug!(peer = %link.peer, behavior = %order.behavior, %error, "a spawn for a peer failed");
            Err(spawn_failure(error))
        }
    };
    respond(outcome);
}

/// One task for all that wait on a connection: a peer that starts and stops processes must not gather timers here. It does
/// not keep the connection, and with it a socket, beyond its end, which kills what is unconfirmed, too.
///
/// Looks count, and not the time: between two of them the arbiter of the reader had a turn. What it could not read while this
/// node stood still, or that arbiter was blocked, may be in the socket.
async fn kill_unconfirmed(link: Weak<Link>) {
    loop {
        actix_rt::time::sleep(SWEEP).await;
        let (had, turn) = oneshot::channel();
        let Some(reader) = link.upgrade() else { return };
        reader.spawn_at_home(async move {
            let _ = had.send(());
        });
        drop(reader);
        // An error: the arbiter is gone, and the connection goes with it.
        let _ = turn.await;
        let Some(link) = link.upgrade() else { return };
        let (orphans, others_wait) = link.requests.overdue();
        for orphan in orphans {
            tracing::debug!(peer = %link.peer, pid = %orphan.pid(), "a process that nobody confirmed is killed");
            orphan.kill();
        }
        if !others_wait {
            return;
        }
    }
}

fn local_instances(net: &Net, supervisor: &str) -> Vec<Instance> {
    let supervised = net.node.supervised().into_iter();
    let of = supervised.filter(|process| process.token.supervisor == supervisor);
    let instance = |SupervisedProcess { token, any, behavior, .. }| {
        let FencingToken { child, generation, owner, .. } = token;
        Instance { child, generation, owner, pid: any.pid().clone(), behavior }
    };
    of.map(instance).collect()
}

/// The highest term that was heard of before, and takes note of this one.
fn exchange_term(net: &Net, supervisor: &str, term: u64) -> u64 {
    let mut terms = net.terms.lock();
    let before = terms.highest(supervisor);
    terms.note(supervisor, term);
    before
}

/// Tells which instances of a supervisor's children live here.
pub(crate) fn serve_instances(link: &Link, id: u64, supervisor: &str, term: u64) {
    let entry = |Instance { child, generation, owner, pid, behavior }| InstanceEntry {
        child,
        generation: generation.0,
        number: pid.number(),
        behavior,
        owner: owner.map(Box::new),
    };
    let instances = local_instances(&link.net, supervisor).into_iter().map(entry).collect();
    let body = match term {
        0 => Response::Instances(instances),
        _ => Response::Reign { term: exchange_term(&link.net, supervisor, term), instances },
    };
    link.control(&Control::Response { id, body });
}

/// Tells whether a process lives.
pub(crate) fn serve_is_alive(link: &Link, id: u64, number: u64) {
    let alive = link.net.node.process_by_number(number).is_some_and(|process| process.is_alive());
    link.control(&Control::Response { id, body: Response::Alive(alive) });
}

/// Tells who has a name here.
pub(crate) fn serve_where_is(link: &Link, id: u64, name: &str) {
    let holder = |any: AnyRef| Holder { number: any.pid().number(), behavior: any.behavior().to_owned() };
    let holder = link.net.node.any_by_name(name).map(holder);
    link.control(&Control::Response { id, body: Response::Holder(holder) });
}

/// The instances of a supervisor's children alive on a node; and, for one that tells its term, the highest one that the node had heard
/// of before, 0 if none.
pub(crate) async fn instances(
    net: &Arc<Net>,
    id: &NodeId,
    (supervisor, term): (&str, u64),
    timeout: Duration,
) -> Result<(Vec<Instance>, u64), CallError> {
    if id == net.node.id() {
        return Ok((local_instances(net, supervisor), exchange_term(net, supervisor, term)));
    }
    let link = net.link(id).ok_or_else(|| CallError::NoConnection(id.clone()))?;
    let request = Request::Instances { supervisor: supervisor.to_owned(), term };
    let answer = link.request(request, timeout).await.map(|(_, response)| match response {
        Response::Instances(instances) => Response::Reign { term: 0, instances },
        other => other,
    });
    match answer {
        Ok(Response::Reign { term, instances }) => {
            let instance = |entry: InstanceEntry| Instance {
                child: entry.child,
                generation: Generation(entry.generation),
                owner: entry.owner.map(|owner| *owner),
                pid: Pid::new(id.clone(), link.incarnation, entry.number),
                behavior: entry.behavior,
            };
            Ok((instances.into_iter().map(instance).collect(), term))
        }
        Ok(_) => Err(CallError::ConnectionLost(id.clone())),
        Err(error) => {
            let nobody = Pid::new(id.clone(), link.incarnation, 0);
            Err(error.into_call_error(id.clone(), nobody, timeout))
        }
    }
}

//! One other node, through all its connections: where references to its processes send.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use noex_actors::{
    __private::check_process_name,
    CallError, CastError, EncodeError, ExitReason, Node, NodeId, Pid,
    process::Process,
    route::{Encode, Pending, Route, Target, Watcher},
};

use crate::{
    io::outbox::Refusal,
    link::{CallHead, Link},
    net::Net,
    wire::{
        control::{Control, Request, Response},
        to_name,
    },
};

/// How long a question about a process may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// One other node.
#[derive(Debug)]
pub(crate) struct Peer {
    id: NodeId,
    node: Node,
    net: Weak<Net>,
    session: ArcSwapOption<Link>,
    draining: AtomicBool,
}

impl Peer {
    pub(crate) fn new(id: NodeId, node: Node, net: Weak<Net>) -> Self {
        Self { id, node, net, session: ArcSwapOption::const_empty(), draining: AtomicBool::new(false) }
    }

    /// A session came up.
    pub(crate) fn connected(&self, link: &Arc<Link>, draining: bool) {
        self.draining.store(draining, Ordering::Release);
        self.session.store(Some(Arc::clone(link)));
    }

    /// The session is over.
    pub(crate) fn disconnected(&self) {
        self.session.store(None);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.session.load().is_some()
    }

    pub(crate) fn has_behavior(&self, name: &str) -> bool {
        self.session.load().as_ref().is_some_and(|link| link.announced.has(name))
    }

    /// True the first time.
    pub(crate) fn start_draining(&self) -> bool {
        !self.draining.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn is_running(&self) -> bool {
        self.net.upgrade().is_some_and(|net| net.is_running())
    }

    /// The session with the node, whichever of its lives that is.
    fn session(&self) -> Result<Arc<Link>, CallError> {
        self.session.load_full().ok_or_else(|| {
            if self.is_running() { CallError::NoConnection(self.id.clone()) } else { CallError::NotRunning }
        })
    }

    /// A cast to a name, or one for which there is no session.
    #[cold]
    fn cast_otherwise(&self, target: &Target, pid: &Pid, encode: Encode<'_>) -> Result<(), CastError> {
        let refused = |error| cast_error(error, &self.id);
        let Some(name) = &target.process_name else {
            let error = self.session_for(pid).err();
            return Err(refused(error.unwrap_or_else(|| CallError::NoConnection(self.id.clone()))));
        };
        let link = self.session().map_err(refused)?;
        let behavior = target
            .behavior(|name, schema| link.behavior(name, schema))
            .map_err(|why| CastError::BehaviorIncompatible(*why))?;
        let sent = link.cast(target.number, behavior, &mut with_name(name, encode));
        sent.map_err(|refusal| refused(call_error(refusal, &self.id)))
    }

    /// The session with that life of the node.
    fn session_for(&self, pid: &Pid) -> Result<Arc<Link>, CallError> {
        let link = self.session()?;
        match pid.incarnation().cmp(&link.incarnation) {
            std::cmp::Ordering::Equal => Ok(link),
            std::cmp::Ordering::Less => Err(CallError::NoProc(pid.clone())),
            // A life that is not connected here yet.
            std::cmp::Ordering::Greater => Err(CallError::NoConnection(self.id.clone())),
        }
    }
}

pub(crate) fn call_error(refusal: Refusal, id: &NodeId) -> CallError {
    match refusal {
        Refusal::Closed => CallError::NoConnection(id.clone()),
        Refusal::Overloaded(what) => CallError::Overloaded(what),
        Refusal::TooLarge { len, max } => CallError::TooLarge { len, max },
        Refusal::Encode(error) => CallError::Encode(error),
    }
}

pub(crate) fn cast_error(error: CallError, id: &NodeId) -> CastError {
    match error {
        CallError::NoProc(pid) => CastError::NoProc(pid),
        CallError::Overloaded(what) => CastError::Overloaded(what),
        CallError::TooLarge { len, max } => CastError::TooLarge { len, max },
        CallError::Encode(error) => CastError::Encode(error),
        CallError::BehaviorIncompatible(why) => CastError::BehaviorIncompatible(why),
        CallError::NotRunning => CastError::NotRunning,
        _ => CastError::NoConnection(id.clone()),
    }
}

impl Route for Peer {
    fn node(&self) -> Node {
        self.node.clone()
    }

    fn cast(&self, target: &Target, pid: &Pid, encode: Encode<'_>) -> Result<(), CastError> {
        // The guard of the session is cheaper than a clone of it.
        let session = self.session.load();
        let Some(link) = session.as_ref().filter(|link| link.incarnation == pid.incarnation()) else {
            return self.cast_otherwise(target, pid, encode);
        };
        let behavior = target
            .behavior(|name, schema| link.behavior(name, schema))
            .map_err(|why| CastError::BehaviorIncompatible(*why))?;
        let sent = link.cast(target.number, behavior, encode);
        sent.map_err(|refusal| cast_error(call_error(refusal, &self.id), &self.id))
    }

    fn ready(&self, target: &Target) -> BoxFuture<'static, ()> {
        let (link, target) = (self.session.load_full(), target.number);
        Box::pin(async move {
            if let Some(link) = link {
                link.outbox.ready(Some(target)).await;
            }
        })
    }

    fn call(
        &self,
        target: &Target,
        pid: &Pid,
        budget: Duration,
        waker: &Waker,
        encode: Encode<'_>,
    ) -> Result<Pending, CallError> {
        let link = match target.process_name {
            None => self.session_for(pid)?,
            Some(_) => self.session()?,
        };
        let behavior = target
            .behavior(|name, schema| link.behavior(name, schema))
            .map_err(|why| CallError::BehaviorIncompatible(*why))?;
        let head = CallHead { number: target.number, behavior, budget, numbered: target.numbered() };
        let sent = match &target.process_name {
            None => link.call(head, waker, encode),
            Some(name) => link.call(head, waker, &mut with_name(name, encode)),
        };
        let id = sent.map_err(|refusal| call_error(refusal, &self.id))?;
        Ok(Pending::new(link, id))
    }

    fn monitor(&self, id: u64, pid: &Pid, watcher: Watcher) {
        let tell = |watcher: Watcher, reason| watcher.tell_of(id, pid.clone(), reason);
        if let Some(net) = self.net.upgrade() {
            net.counters.monitors_initiated.one();
        }
        match self.session_for(pid) {
            Err(CallError::NoProc(_)) => tell(watcher, ExitReason::NoProc),
            Err(_) => tell(watcher, ExitReason::NoConnection),
            Ok(link) => match link.watches.add(id, pid, watcher) {
                Ok(()) => {
                    link.net.counters.monitors_established.one();
                    link.control(&Control::Monitor { id, number: pid.number() });
                }
                Err(watcher) => tell(watcher, ExitReason::NoConnection),
            },
        }
    }

    fn demonitor(&self, pid: &Pid, id: u64) -> bool {
        let Ok(link) = self.session_for(pid) else { return false };
        let removed = link.watches.remove(id);
        if removed {
            link.net.counters.monitors_demonitored.one();
            link.control(&Control::Demonitor { id });
        }
        removed
    }

    fn link(&self, near: &Arc<dyn Process>, far: &Pid) -> Result<(), ExitReason> {
        let made = match self.session_for(far) {
            Ok(link) => link.link_to_peer(near, far).ok_or(ExitReason::NoConnection),
            Err(CallError::NoProc(_)) => Err(ExitReason::NoProc),
            Err(_) => Err(ExitReason::NoConnection),
        };
        if made != Ok(false)
            && let Some(net) = self.net.upgrade()
        {
            net.counters.links_initiated.one();
        }
        made.map(drop)
    }

    fn unlink(&self, near: &Arc<dyn Process>, far: &Pid) {
        match self.session_for(far) {
            Ok(link) => link.unlink_from_here(near, far),
            Err(_) => drop(self.node.remove_link_end(near, far)),
        }
    }

    fn break_link(&self, near: &Pid, far: &Pid, reason: &ExitReason) {
        if let Ok(link) = self.session_for(far) {
            link.break_to_peer(near.number(), far.number(), reason);
        }
    }

    fn exit(&self, from: &Pid, target: &Pid, reason: ExitReason) {
        if let Ok(link) = self.session_for(target) {
            link.net.counters.exits_sent.one();
            link.control(&Control::Exit { from: from.number(), to: target.number(), reason });
        }
    }

    fn stop(&self, pid: &Pid, reason: ExitReason) {
        if let Ok(link) = self.session_for(pid) {
            link.control(&Control::Stop { number: pid.number(), reason });
        }
    }

    fn kill(&self, pid: &Pid) {
        if let Ok(link) = self.session_for(pid) {
            link.control(&Control::Kill { number: pid.number() });
        }
    }

    fn is_alive(&self, pid: &Pid) -> BoxFuture<'static, Result<bool, CallError>> {
        let (link, pid, id) = (self.session_for(pid), pid.clone(), self.id.clone());
        Box::pin(async move {
            let link = match link {
                Ok(link) => link,
                Err(CallError::NoProc(_)) => return Ok(false),
                Err(error) => return Err(error),
            };
            match link.request(Request::IsAlive { number: pid.number() }, ASK_TIMEOUT).await {
                Ok((_, Response::Alive(alive))) => Ok(alive),
                Ok(_) => Err(unexpected()),
                Err(error) => Err(error.into_call_error(id, pid, ASK_TIMEOUT)),
            }
        })
    }

    fn where_is(&self, name: &str) -> BoxFuture<'static, Result<Option<(Pid, String)>, CallError>> {
        let (link, name, id) = (self.session(), name.to_owned(), self.id.clone());
        Box::pin(async move {
            let link = link?;
            // Nobody has one that is none.
            if check_process_name(&name).is_err() {
                return Ok(None);
            }
            let process = |number| Pid::new(id.clone(), link.incarnation, number);
            match link.request(Request::WhereIs { name }, ASK_TIMEOUT).await {
                Ok((_, Response::Holder(holder))) => {
                    Ok(holder.map(|holder| (process(holder.number), holder.behavior)))
                }
                Ok(_) => Err(unexpected()),
                Err(error) => Err(error.into_call_error(id.clone(), process(0), ASK_TIMEOUT)),
            }
        })
    }
}

fn unexpected() -> CallError {
    CallError::Other { code: 0, text: "an unexpected response".to_owned() }
}

/// Writes the name before the message.
fn with_name(name: &str, encode: Encode<'_>) -> impl FnMut(&mut Vec<u8>) -> Result<(), EncodeError> {
    move |out| {
        to_name::put(name, out);
        encode(out)
    }
}

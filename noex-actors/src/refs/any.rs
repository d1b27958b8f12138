//! A reference without its type: what supervisors and tables hold.

use std::{fmt, marker::PhantomData, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Decoded, Ref, Way};
use crate::{
    Behavior, CallError, ExitReason, FencingToken, Monitor, Node, Pid, Stop, WrongBehavior,
    call::Watched,
    decoding,
    mailbox::{Mailbox, short_name},
    process::Process,
    route::{Route, Tie},
    schema,
};

/// A handle of one process whose behavior is not known at compile time.
#[derive(Clone)]
pub struct AnyRef {
    pid: Pid,
    way: AnyWay,
}

#[derive(Clone)]
enum AnyWay {
    Local(Arc<dyn Process>),
    Remote { route: Arc<dyn Route>, behavior: Option<Arc<str>> },
    Gone,
}

impl AnyRef {
    pub(crate) fn of<B: Behavior>(target: &Ref<B>) -> Self {
        let pid = target.pid().clone();
        let way = match &target.raw().0 {
            Way::Local(_) => target.raw().process().map_or(AnyWay::Gone, AnyWay::Local),
            Way::Remote(remote) => {
                AnyWay::Remote { route: Arc::clone(&remote.route), behavior: Some(remote.codec.name.into()) }
            }
            Way::Broken(_) => AnyWay::Gone,
            Way::Named(named) => {
                return (named.resolve)().map_or(Self { pid, way: AnyWay::Gone }, |r| Self::of(&r));
            }
        };
        Self { pid, way }
    }

    pub(crate) fn local(process: Arc<dyn Process>) -> Self {
        Self { pid: process.core().pid.clone(), way: AnyWay::Local(process) }
    }

    /// The process at an address, of whatever behavior.
    pub(crate) fn resolve(node: &Node, pid: &Pid, behavior: Option<&str>) -> Self {
        let way = if node.is_own(pid) {
            node.process_of(pid).map_or(AnyWay::Gone, AnyWay::Local)
        } else {
            match node.router() {
                Some(router) => AnyWay::Remote {
                    route: router.route(node, pid.node_id()),
                    behavior: behavior.map(Into::into),
                },
                None => AnyWay::Gone,
            }
        };
        Self { pid: pid.clone(), way }
    }

    /// The address of the process.
    #[must_use]
    pub fn pid(&self) -> &Pid {
        &self.pid
    }

    /// Name of its behavior; empty if it is not known here.
    #[must_use]
    pub fn behavior(&self) -> &str {
        match &self.way {
            AnyWay::Local(process) => process.behavior(),
            AnyWay::Remote { behavior, .. } => behavior.as_deref().unwrap_or(""),
            AnyWay::Gone => "",
        }
    }

    /// Which supervised instance it is, if it is one and lives on this node.
    #[must_use]
    pub fn fencing_token(&self) -> Option<&FencingToken> {
        match &self.way {
            AnyWay::Local(process) => process.core().token(),
            AnyWay::Remote { .. } | AnyWay::Gone => None,
        }
    }

    /// The same reference with its type.
    ///
    /// # Errors
    /// [`WrongBehavior`] when it is known to be of another behavior. Of a remote process whose behavior is not known
    /// here, the first use tells.
    pub fn typed<B: crate::RemoteBehavior>(&self) -> Result<Ref<B>, WrongBehavior> {
        match &self.way {
            AnyWay::Local(_) => self.typed_local(),
            AnyWay::Remote { behavior: Some(found), .. } if **found != *B::NAME => {
                Err(WrongBehavior::new(B::NAME, &**found))
            }
            AnyWay::Remote { route, .. } => Ok(Ref::remote(self.pid.clone(), Arc::clone(route))),
            AnyWay::Gone => Ok(Ref::broken(self.pid.clone(), super::Fault::NoProc)),
        }
    }

    /// The same reference with its type, of a process on this node; for behaviors without a wire name.
    ///
    /// # Errors
    /// [`WrongBehavior`] when it is of another behavior or not on this node.
    pub fn typed_local<B: Behavior>(&self) -> Result<Ref<B>, WrongBehavior> {
        let wrong = || WrongBehavior::new(short_name::<B>(), self.behavior());
        let AnyWay::Local(process) = &self.way else { return Err(wrong()) };
        let any = Arc::clone(process).into_any();
        any.downcast::<Mailbox<B>>().map(Ref::local).map_err(|_other| wrong())
    }

    /// Asks the process to stop behind the messages sent to it before. Queued now; await it for the end.
    pub fn stop(&self, reason: ExitReason) -> Stop {
        let stop = Stop::new(self.monitor());
        match &self.way {
            AnyWay::Local(process) => process.stop(reason),
            AnyWay::Remote { route, .. } => route.stop(&self.pid, reason),
            AnyWay::Gone => {}
        }
        stop
    }

    /// Ends the process at once. OTP: `exit(Pid, kill)`.
    pub fn kill(&self) {
        match &self.way {
            AnyWay::Local(process) => process.kill(),
            AnyWay::Remote { route, .. } => route.kill(&self.pid),
            AnyWay::Gone => {}
        }
    }

    /// Watches the process from outside of any process. Dropping it ends the watch.
    pub fn monitor(&self) -> Monitor {
        Monitor::start(&self.pid, |watcher| match &self.way {
            AnyWay::Local(process) => {
                let id = process.core().node.fresh_monitor();
                process.core().watch(id, watcher);
                self.watched(id)
            }
            AnyWay::Remote { route, .. } => {
                let id = route.node().fresh_monitor();
                route.monitor(id, &self.pid, watcher);
                self.watched(id)
            }
            AnyWay::Gone => {
                watcher.tell_of(0, self.pid.clone(), ExitReason::NoProc);
                None
            }
        })
    }

    /// Ties something to the process, which has just started. That of another node is tied to by who asked it for the process.
    pub(crate) fn tie_here(&self, tie: Tie) {
        if let AnyWay::Local(process) = &self.way {
            process.core().node.tie_here(process, tie);
        }
    }

    /// How the watch of this number ends before its time.
    pub(crate) fn watched(&self, id: u64) -> Option<(u64, Watched)> {
        match &self.way {
            AnyWay::Local(process) => Some((id, Watched::Local(Arc::downgrade(process)))),
            AnyWay::Remote { route, .. } => Some((id, Watched::Remote(Arc::clone(route)))),
            AnyWay::Gone => None,
        }
    }

    /// The process, if it is on this node. For transports.
    #[doc(hidden)]
    #[must_use]
    pub fn process(&self) -> Option<&Arc<dyn Process>> {
        match &self.way {
            AnyWay::Local(process) => Some(process),
            AnyWay::Remote { .. } | AnyWay::Gone => None,
        }
    }

    /// Whether the process lives. Asks its node if that is another.
    ///
    /// # Errors
    /// [`CallError`] when the node cannot be asked.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn is_alive(&self) -> Result<bool, CallError> {
        match &self.way {
            AnyWay::Local(process) => Ok(process.core().is_alive()),
            AnyWay::Remote { route, .. } => route.is_alive(&self.pid).await,
            AnyWay::Gone => Ok(false),
        }
    }

    /// Makes the process a child of another on this node: when the node stops, its parent stops it.
    #[doc(hidden)]
    pub fn set_parent(&self, parent: &Pid) {
        if let AnyWay::Local(process) = &self.way {
            process.core().parent.store(parent.number(), std::sync::atomic::Ordering::Release);
        }
    }
}

impl AsRef<Pid> for AnyRef {
    fn as_ref(&self) -> &Pid {
        &self.pid
    }
}

impl PartialEq for AnyRef {
    fn eq(&self, other: &Self) -> bool {
        self.pid == other.pid
    }
}
impl Eq for AnyRef {}

impl fmt::Debug for AnyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyRef({} {})", self.behavior(), self.pid)
    }
}

impl Serialize for AnyRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.pid, self.behavior()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AnyRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let decoded = Decoded::<(Pid, String)>(PhantomData);
        let ((pid, behavior), looked_at) =
            deserializer.deserialize_newtype_struct(schema::ANY_REF, decoded)?;
        if looked_at {
            return Ok(Self { pid, way: AnyWay::Gone });
        }
        let node = decoding::current().ok_or_else(|| serde::de::Error::custom(decoding::OUTSIDE))?;
        Ok(Self::resolve(&node, &pid, (!behavior.is_empty()).then_some(behavior.as_str())))
    }
}

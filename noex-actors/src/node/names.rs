//! Names of processes: on this node, and on others.

use crate::{
    AnyRef, Behavior, CallError, Incarnation, NameError, Node, NodeId, Pid, Ref, RemoteBehavior, Via,
    WrongBehavior, mailbox::short_name, refs::Fault,
};

impl Node {
    /// Gives a process of this node a name on this node.
    ///
    /// # Errors
    /// [`NameError`]: taken, invalid, or no such process here.
    pub fn register(&self, name: &str, process: &impl AsRef<Pid>) -> Result<(), NameError> {
        let pid = process.as_ref();
        let process = self.process_of(pid).ok_or_else(|| NameError::NoProc(pid.clone()))?;
        self.0.names.register(name, &process)
    }

    /// Frees a name. True if anybody had it.
    pub fn unregister(&self, name: &str) -> bool {
        self.0.names.unregister(name)
    }

    /// Who has the name, if it is of this behavior.
    #[must_use]
    pub fn whereis<B: Behavior>(&self, name: &str) -> Option<Ref<B>> {
        self.lookup(name).ok()
    }

    /// Who has the name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], or [`NameError::WrongBehavior`] when the holder is of another behavior.
    pub fn lookup<B: Behavior>(&self, name: &str) -> Result<Ref<B>, NameError> {
        let process = self.0.names.get(name).ok_or_else(|| NameError::NotFound(name.to_owned()))?;
        let found = process.behavior();
        Self::typed(process)
            .map_err(|_why| NameError::WrongBehavior(WrongBehavior::new(short_name::<B>(), found)))
    }

    /// Whether anybody has the name.
    #[must_use]
    pub fn is_registered(&self, name: &str) -> bool {
        self.0.names.get(name).is_some()
    }

    /// All names, sorted.
    #[must_use]
    pub fn registered(&self) -> Vec<String> {
        self.0.names.all()
    }

    /// A handle of a name on another node, or on this one. OTP: `{Name, Node}`.
    ///
    /// Messages carry the name, and the node of it decides when each arrives who has it. So they keep their order though the name moves,
    /// none goes to a process that had the name before, and a call costs one round trip. An error that names a process names none:
    /// its number is 0. See `docs/names-and-groups.md`.
    #[must_use]
    pub fn via<B: RemoteBehavior>(&self, peer: &NodeId, name: &str) -> Via<B> {
        let nobody = Pid::new(peer.clone(), Incarnation(0), 0);
        if peer != self.id() {
            return match self.router() {
                Some(router) => Via::there(nobody, name, router.route(self, peer)),
                None => Via::broken(nobody, Fault::NotRunning),
            };
        }
        let (node, wanted) = (self.clone(), name.to_owned());
        Via::new(name, self, move || match node.lookup::<B>(&wanted) {
            Ok(found) => Some(found),
            Err(NameError::WrongBehavior(wrong)) => {
                Some(Ref::broken(nobody.clone(), Fault::WrongBehavior(wrong)))
            }
            Err(_) => None,
        })
    }

    /// Asks a node who has a name there; its own is fine. What is sent by the reference goes to that process, and no more to the name.
    ///
    /// # Errors
    /// [`CallError::NoName`]: nobody has it. [`CallError::WrongBehavior`]: whoever has it is of another behavior. All others are those of
    /// any question to a node: [`CallError::NoConnection`] where it is not connected, or not known.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn lookup_on<B: RemoteBehavior>(&self, peer: &NodeId, name: &str) -> Result<Ref<B>, CallError> {
        let found = self.lookup_any_on(peer, name).await?;
        found.typed::<B>().map_err(CallError::WrongBehavior)
    }

    /// The same of a process of whatever behavior.
    ///
    /// # Errors
    /// [`CallError`], as [`lookup_on`](Self::lookup_on), but for `WrongBehavior`.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn lookup_any_on(&self, peer: &NodeId, name: &str) -> Result<AnyRef, CallError> {
        let nobody = || CallError::NoName(name.to_owned());
        if peer == self.id() {
            return self.any_by_name(name).ok_or_else(nobody);
        }
        let router = self.router().ok_or(CallError::NotRunning)?;
        let found = router.route(self, peer).where_is(name).await?;
        let (pid, behavior) = found.ok_or_else(nobody)?;
        Ok(AnyRef::resolve(self, &pid, Some(&behavior)))
    }
}

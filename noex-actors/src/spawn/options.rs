//! How a process is started.

use std::time::Duration;

use super::Placement;
use crate::{
    FencingToken, MailboxPolicy,
    lease::{Lease, LeaseTerms},
    machine::signals::Trap,
    supervision::Supervised,
};

/// How a process is started.
#[derive(Clone, Debug)]
#[must_use]
pub struct SpawnOptions {
    name: Option<String>,
    pub(crate) placement: Placement,
    pub(crate) policy: MailboxPolicy,
    pub(crate) capacity: usize,
    pub(crate) init_timeout: Duration,
    pub(crate) trap: Trap,
    pub(crate) token: Option<Box<FencingToken>>,
    pub(crate) lease: Option<Box<LeaseTerms>>,
    pub(crate) vital: bool,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SpawnOptions {
    /// No name, the parent's arbiter, 65 536 messages, 5 s for `init`.
    pub fn new() -> Self {
        Self {
            name: None,
            placement: Placement::Parent,
            policy: MailboxPolicy::Reject,
            capacity: 65_536,
            init_timeout: Duration::from_secs(5),
            trap: Trap::Off,
            token: None,
            lease: None,
            vital: false,
        }
    }

    /// A name on its node, reserved before `init`, given up at the end.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where it lives.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How many messages may wait, at least 1, and what happens beyond that. Default: `Reject` and 65 536.
    ///
    /// `Down`, `Exit`, infos and stop requests are exempt: they are not counted out, and always find room.
    pub fn mailbox(mut self, policy: MailboxPolicy, capacity: usize) -> Self {
        self.policy = policy;
        self.mailbox_capacity(capacity)
    }

    /// How many messages may wait, at least 1, with the policy as it is.
    pub fn mailbox_capacity(mut self, messages: usize) -> Self {
        self.capacity = messages.max(1);
        self
    }

    /// Exit signals arrive as [`Info::Exit`](crate::Info::Exit) from the beginning: see
    /// [`Context::trap_exit`](crate::Context::trap_exit).
    pub fn trap_exit(mut self) -> Self {
        self.trap = Trap::On;
        self
    }

    /// How long `init` may take.
    pub fn init_timeout(mut self, after: Duration) -> Self {
        self.init_timeout = after;
        self
    }

    /// Which supervised instance it will be. For supervisors.
    #[doc(hidden)]
    pub fn fencing_token(mut self, token: FencingToken) -> Self {
        self.token = Some(Box::new(token));
        self
    }

    /// Whom the supervised instance depends on. For supervisors.
    #[doc(hidden)]
    pub fn lease(mut self, terms: LeaseTerms) -> Self {
        self.lease = Some(Box::new(terms));
        self
    }

    /// It is a part of noex, in which user code is contained: a panic of it stops the node. For supervisors.
    #[doc(hidden)]
    pub fn vital(mut self) -> Self {
        self.vital = true;
        self
    }

    /// The name, if one was given.
    #[must_use]
    pub fn get_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Which supervised instance it will be.
    #[doc(hidden)]
    #[must_use]
    pub fn get_fencing_token(&self) -> Option<&FencingToken> {
        self.token.as_deref()
    }

    /// Whom it depends on.
    #[doc(hidden)]
    #[must_use]
    pub fn get_lease(&self) -> Option<&LeaseTerms> {
        self.lease.as_deref()
    }

    /// How long `init` may take.
    #[doc(hidden)]
    #[must_use]
    pub fn get_init_timeout(&self) -> Duration {
        self.init_timeout
    }

    /// How many messages may wait.
    #[doc(hidden)]
    #[must_use]
    pub fn get_mailbox_capacity(&self) -> usize {
        self.capacity
    }

    /// What happens when it is full.
    #[doc(hidden)]
    #[must_use]
    pub fn get_mailbox_policy(&self) -> MailboxPolicy {
        self.policy
    }

    /// Whether it traps exits from the beginning.
    #[doc(hidden)]
    #[must_use]
    pub fn get_trap_exit(&self) -> bool {
        self.trap == Trap::On
    }

    /// What the process will carry. A lease without a token is nobody's.
    pub(crate) fn take_supervised(&mut self) -> Option<Box<Supervised>> {
        let token = *self.token.take()?;
        let lease = self.lease.take().map(|terms| Lease::begin(*terms));
        Some(Box::new(Supervised { token, lease }))
    }

    pub(crate) fn take_name(&mut self) -> Option<String> {
        self.name.take()
    }
}

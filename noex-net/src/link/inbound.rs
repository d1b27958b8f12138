//! What comes in on one connection: frames in, effects out. Runs in the connection's reader, on its arbiter.
//!
//! Order: frames take effect one after the other, as they were sent. The first heartbeat waits until the node is up
//! here too, so that nothing behind it finds a node that is not.
//!
//! SECURITY: everything is bounded and checked; what breaks the protocol ends the session, what asks for something
//! that is not there gets an error.

mod by_name;
mod messages;
mod registries;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicU64},
    task::Waker,
};

use noex_actors::{
    __private::{CallFailure, decode, sharing},
    Monotonic, Node,
    route::ReplyBytes,
};

use self::{by_name::ByName, messages::Intakes};
use super::{
    Broken, Link, PROBE, broken::room_for_signals, credits::Accounts, load, streams::Streams, waking::Home,
};
use crate::{
    actor::messages::Fact,
    machine::{credits::Mark, membership::MAX_KNOWN, sessions},
    remote,
    wire::{
        control::{Control, Heartbeat, Request},
        frame::{self, Frame, Malformed},
        limits::MAX_HINTS,
    },
};

/// Facts that one peer may tell the manager in a second: hints of a large cluster, and some heartbeats.
const MAX_FACTS: u32 = 1000;
/// Hints that count as much as a fact.
const HINTS_OF_A_FACT: usize = 16;

/// What the reader must do before it goes on.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing: the batch is done.
    Done,
    /// Let the arbiter run: this was much.
    Turn,
    /// Wait until the node is up.
    FirstHeartbeat(Box<Heartbeat>),
    /// The peer ends the connection, for this reason.
    End(Box<str>),
}

/// The state of one connection's incoming side.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(super) link: Arc<Link>,
    streams: Streams,
    pub(super) intakes: Intakes,
    pub(super) accounts: Accounts,
    by_name: ByName,
    /// The peer sent more than it has credit for.
    pub(super) overdrawn: bool,
    up: bool,
    /// When the batch came, once that was asked for.
    received: Option<Monotonic>,
    /// Frames that are not counted yet.
    taken: u64,
    /// The node, lent to the scope in which references decode.
    node: Option<Node>,
    refused_logged: AtomicU64,
    /// Facts told to the manager in this second.
    facts: (u64, u32),
    /// The call that is being taken.
    calling: Option<u64>,
    /// What runs is noex's own: a panic of it is no matter of one message.
    own: bool,
    /// Room for who is to be woken.
    woken: Vec<(Home, Waker)>,
    /// What was done for registries since the last turn.
    work: usize,
}

impl Inbound {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        let streams = Streams::new(link.net.config.max_message_bytes());
        Self {
            link,
            streams,
            intakes: Intakes::default(),
            accounts: Accounts::default(),
            by_name: ByName::default(),
            overdrawn: false,
            up: false,
            received: None,
            taken: 0,
            node: None,
            refused_logged: AtomicU64::new(0),
            facts: (0, 0),
            calling: None,
            own: false,
            woken: Vec::new(),
            work: 0,
        }
    }

    /// Takes frames until the end of the batch, or until the reader must do something.
    pub(crate) fn run(&mut self, frames: &mut &[u8]) -> Result<Step, Broken> {
        self.received = None;
        self.replies(frames)?;
        if frames.is_empty() {
            return Ok(Step::Done);
        }
        let node = self.node.take().unwrap_or_else(|| self.link.net.node.clone());
        // A `Deserialize` or a `Drop` of a user's message may panic: that is one message, not the session.
        let (node, step) = node.decoding_owned(|| {
            loop {
                match catch_unwind(AssertUnwindSafe(|| self.rest(frames))) {
                    Ok(step) => return step,
                    Err(panic) => self.message_panicked(panic),
                }
            }
        });
        self.node = Some(node);
        self.deliver();
        if self.overdrawn { Err(Broken::Overdrawn) } else { step }
    }

    /// Takes the replies at the front. They hold nothing that is decoded here: what is only replies needs no scope.
    fn replies(&mut self, frames: &mut &[u8]) -> Result<(), Malformed> {
        if !starts_with_reply(frames) {
            return Ok(());
        }
        let mut completing = self.link.calls.completing(&mut self.woken);
        while starts_with_reply(frames) {
            if let Some(Frame::Reply { id, body }) = Frame::take(frames)? {
                self.taken += 1;
                completing.complete(id, Ok(ReplyBytes::from_slice(body)));
            }
        }
        Ok(())
    }

    fn rest(&mut self, frames: &mut &[u8]) -> Result<Step, Broken> {
        while let Some(frame) = Frame::take(frames)? {
            self.taken += 1;
            match frame {
                // What comes most often does not pass by the rest.
                Frame::Call { id, behavior, target, budget_ms, numbered, body } => {
                    let asked = self.asked(id, behavior, budget_ms, numbered)?;
                    self.call(target, asked, body);
                }
                Frame::Cast { behavior, target, body } => self.cast(behavior, target, body),
                other => match self.frame(other)? {
                    Step::Done => {}
                    step => return Ok(step),
                },
            }
        }
        Ok(Step::Done)
    }

    /// Counts what was taken since the last time; tells how much that was.
    pub(crate) fn count(&mut self) -> u64 {
        let taken = std::mem::take(&mut self.taken);
        self.link.vitals.messages_received.add(taken);
        taken
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<Step, Broken> {
        match frame {
            Frame::Reply { id, body } => {
                self.link.calls.completing(&mut self.woken).complete(id, Ok(ReplyBytes::from_slice(body)));
            }
            Frame::Call { id, behavior, target, budget_ms, numbered, body } => {
                let asked = self.asked(id, behavior, budget_ms, numbered)?;
                self.call(target, asked, body);
            }
            Frame::Cast { behavior, target, body } => self.cast(behavior, target, body),
            Frame::Traced { context, frame } => {
                // One that was not asked for is none of the protocol of this session.
                if !self.link.traces {
                    return Err(Malformed.into());
                }
                self.traced(context, &frame);
                return self.frame(*frame);
            }
            Frame::Failure { id, body } => {
                let failure = decode::<CallFailure>(body)
                    .unwrap_or_else(|error| CallFailure::Other(0, format!("an unknown failure: {error}")));
                self.link.calls.completing(&mut self.woken).complete(id, Err(failure));
            }
            Frame::Control(body) => {
                self.deliver();
                self.own = true;
                let control = decode::<Control>(body).map_err(|error| Broken::control(&error.to_string()))?;
                self.own = !matches!(control, Control::Broadcast { .. });
                let step = self.control(control);
                self.own = false;
                return step;
            }
            Frame::First { stream, total, piece } => {
                let content = self.streams.first(stream, total, piece)?;
                return self.whole(content);
            }
            Frame::Next { stream, piece } => {
                let content = self.streams.next(stream, piece)?;
                return self.whole(content);
            }
            Frame::Dropped { stream } => self.streams.dropped(stream)?,
            Frame::Mark { target, position } => {
                self.deliver();
                self.mark(Mark { target, position })?;
            }
            Frame::Credit { target, position } => self.credit(Mark { target, position })?,
            Frame::Cancel { id, target } => {
                self.deliver();
                let process = self.called(id, target);
                self.link.cancelled_by_peer(id, process.as_deref());
            }
        }
        Ok(Step::Done)
    }

    /// A content that comes in chunks is whole, or not yet.
    fn whole(&mut self, content: Option<Vec<u8>>) -> Result<Step, Broken> {
        let Some(content) = content else {
            // The message counts when it is whole.
            self.taken -= 1;
            return Ok(Step::Done);
        };
        // A message may keep its part of it, for as long as it likes.
        let content = bytes::Bytes::from(content);
        sharing(&content, || match Frame::parse(&content)? {
            // A chunk does not hold a chunk.
            Frame::First { .. } | Frame::Next { .. } | Frame::Dropped { .. } => Err(Malformed.into()),
            Frame::Reply { id, body } => {
                let body = ReplyBytes::Shared(content.slice_ref(body));
                self.link.calls.completing(&mut self.woken).complete(id, Ok(body));
                Ok(Step::Done)
            }
            frame => self.frame(frame),
        })
    }

    /// Whether the process to which the last messages went has much to do: then it should have its turn first.
    pub(crate) fn crowded(&self) -> bool {
        self.intakes.crowded()
    }

    /// Tells the manager, as often as a peer may have it told something.
    fn tell(&mut self, fact: Fact, weight: usize) -> Result<Step, Broken> {
        let second = self.link.net.node.clock().coarse().as_nanos() / 1_000_000_000;
        if self.facts.0 != second {
            self.facts = (second, 0);
        }
        self.facts.1 = self.facts.1.saturating_add(u32::try_from(weight).unwrap_or(u32::MAX));
        if self.facts.1 > MAX_FACTS {
            return Err(Broken::Facts);
        }
        self.link.net.tell(fact);
        Ok(Step::Done)
    }

    fn session(&mut self, input: sessions::Input) -> Result<Step, Broken> {
        self.tell(Fact::Session(input), 1)
    }

    fn control(&mut self, control: Control) -> Result<Step, Broken> {
        let link = Arc::clone(&self.link);
        let conn = link.conn;
        #[cfg(feature = "__fuzz")]
        link.net.node.fail_if_sabotaged("a control message");
        match control {
            Control::Welcome => return self.session(sessions::Input::WelcomeReceived { conn }),
            Control::Heartbeat(heartbeat) => return self.heartbeat(heartbeat),
            Control::Ping { nonce } => link.control(&Control::Pong { nonce }),
            Control::Pong { nonce: PROBE } => link.measured(),
            Control::Pong { nonce } => {
                return self.session(sessions::Input::PongReceived { conn, nonce });
            }
            Control::Close { reason } => return Ok(Step::End(reason.into())),
            Control::Goodbye => return self.session(sessions::Input::GoodbyeReceived { conn }),
            Control::Hints(mut hints) => {
                hints.truncate(MAX_HINTS);
                let weight = 1 + hints.len() / HINTS_OF_A_FACT;
                let nodes = hints.into_iter().map(|hint| (hint.id, hint.incarnation)).collect();
                return self.tell(Fact::Hints { from: link.peer.clone(), nodes }, weight);
            }
            Control::Ask { mut known } => {
                known.truncate(MAX_KNOWN * 8);
                let weight = 1 + known.len() / 8 / HINTS_OF_A_FACT;
                let known = known.chunks_exact(8).filter_map(|print| print.first_chunk().copied());
                let known = known.map(u64::from_le_bytes).collect();
                return self.tell(Fact::Asked { by: link.peer.clone(), known }, weight);
            }
            // What comes before the node is up belongs to no session: another connection may be that of the node.
            _ if !self.up => {}
            Control::Draining => link.net.draining(&link.peer),
            Control::Behaviors(behaviors) => link.announced.set(behaviors),
            Control::Names { .. }
            | Control::Unregister { .. }
            | Control::Groups(_)
            | Control::Broadcast { .. } => return self.registries(control),
            Control::Monitor { id, number } => link.watch_for_peer(id, number),
            Control::Demonitor { id } => link.unwatch_for_peer(id),
            Control::Down { id, reason } => {
                if link.watches.fire(id, reason) {
                    link.net.counters.downs_received.one();
                }
            }
            Control::Link { from, to } => link.link_from_peer(from, to)?,
            Control::Unlink { from, to, number } => link.unlink_from_peer(from, to, number),
            Control::Unlinked { from, to, number } => link.unlinked_by_peer(from, to, number),
            Control::Broken { from, to, reason } => link.broken_by_peer(from, to, &reason)?,
            Control::Exit { from, to, reason } => {
                if let Some(process) = link.addressable(to) {
                    room_for_signals(&*process)?;
                    link.net.counters.exits_received.one();
                    link.net.node.accept_exit(&process, &link.far(from), &reason);
                }
            }
            Control::Stop { number, reason } => {
                if let Some(process) = link.addressable(number) {
                    room_for_signals(&*process)?;
                    process.stop(reason);
                }
            }
            Control::Kill { number } => {
                if link.addressable(number).is_some()
                    && let Some(process) = link.net.node.any_by_number(number)
                {
                    process.kill();
                }
            }
            Control::Request { id, body } => self.request(id, body),
            Control::Response { id, body } => {
                // A process that nobody waits for any more is killed at the other end, unconfirmed.
                if link.requests.answer(id, body) {
                    tracing::trace!(peer = %link.peer, id, "response");
                }
            }
            Control::Confirm { id } => drop(link.requests.take(id)),
        }
        Ok(Step::Done)
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat) -> Result<Step, Broken> {
        if !self.up {
            self.up = true;
            self.link.outbox.grant(heartbeat.window);
            return Ok(Step::FirstHeartbeat(Box::new(heartbeat)));
        }
        if heartbeat.draining {
            self.link.net.draining(&self.link.peer);
        }
        let received = self.link.heartbeat_received();
        let (peer, load) = (self.link.peer.clone(), load(&heartbeat, received));
        self.tell(Fact::Heartbeat { peer, load, view: heartbeat.view }, 1)
    }

    fn request(&self, id: u64, body: Request) {
        let link = Arc::clone(&self.link);
        match body {
            Request::Spawn(order) => {
                let node = link.net.node.clone();
                actix_rt::spawn(node.vital("a task of a connection", remote::serve_spawn(link, id, *order)));
            }
            Request::Instances { supervisor, term } => {
                remote::serve_instances(&link, id, &supervisor, term);
            }
            Request::IsAlive { number } => remote::serve_is_alive(&link, id, number),
            Request::WhereIs { name } => remote::serve_where_is(&link, id, &name),
            Request::OwnerOf { name } => link.net.names.serve_owner_of(&link, id, &name),
        }
    }
}

fn starts_with_reply(frames: &[u8]) -> bool {
    frames.get(frame::HEADER) == Some(&frame::REPLY)
}

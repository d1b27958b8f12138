//! Keeps the cluster together: the shell around the machines `sessions` and `membership`.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, SpawnHandle};
use noex_actors::Monotonic;
use tokio::sync::oneshot;

use super::{
    heartbeat_timer::{HeartbeatTimer, heartbeat},
    listener::ConnIds,
    messages::{CloseConnection, Fact, Watch},
    peer_connection::{self, Origin, PeerConnection},
};
use crate::{
    event::{ClusterEvent, DialError},
    groups::Groups,
    link::{Link, load},
    machine::{
        handshake::RefusedReason,
        membership::{self, DialOutcome, Membership, Target},
        sessions::{self, CloseReason, ConnId, Sessions},
    },
    net::Net,
    wire::control::{Control, Heartbeat, Hint},
};

/// One log line per address, reason and this long.
const LOG_PERIOD: Duration = Duration::from_secs(60);
/// Most addresses and reasons that are remembered for that.
const MAX_LOGGED: usize = 1024;

struct Conn {
    link: Arc<Link>,
    connection: Addr<PeerConnection>,
    heartbeat: Option<Heartbeat>,
    up: Option<oneshot::Sender<()>>,
    closing: bool,
}

/// The actor that knows who is connected.
pub(crate) struct ClusterManager {
    net: Arc<Net>,
    ids: ConnIds,
    sessions: Sessions,
    membership: Membership,
    conns: BTreeMap<ConnId, Conn>,
    timer: Addr<HeartbeatTimer>,
    alarm: Option<(Monotonic, SpawnHandle)>,
    leaving: bool,
    logged: BTreeMap<(IpAddr, RefusedReason), Monotonic>,
    /// Stops the cluster of this node.
    stop: Box<dyn Fn() + Send>,
}

impl ClusterManager {
    pub(crate) fn new(
        net: Arc<Net>,
        ids: ConnIds,
        timer: Addr<HeartbeatTimer>,
        entropy: u64,
        stop: Box<dyn Fn() + Send>,
    ) -> Self {
        let id = net.node.id().clone();
        let config = &net.config;
        Self {
            sessions: Sessions::new(id.clone(), config.heartbeat_interval(), config.handshake_timeout()),
            membership: Membership::new(id, net.node.incarnation(), config, entropy),
            net,
            ids,
            conns: BTreeMap::new(),
            timer,
            alarm: None,
            leaving: false,
            logged: BTreeMap::new(),
            stop,
        }
    }

    fn session(&mut self, input: sessions::Input) {
        let mut out = VecDeque::new();
        self.sessions.handle(input, self.net.node.now(), &mut out);
        while let Some(output) = out.pop_front() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: sessions::Output) {
        match output {
            sessions::Output::SendWelcome { conn } => self.send(conn, &Control::Welcome),
            sessions::Output::SendHeartbeat { conn } => {
                let mut first = heartbeat(&self.net);
                first.behaviors = Some(self.net.behaviors());
                first.names = self.conns.get(&conn).map_or(0, |conn| self.net.names.known(&conn.link));
                first.window = u64::try_from(self.net.config.credit_bytes()).unwrap_or(u64::MAX);
                self.send(conn, &Control::Heartbeat(first));
                if let Some(conn) = self.conns.get(&conn) {
                    conn.link.begin();
                }
            }
            sessions::Output::SendPing { conn, nonce } => {
                self.send(conn, &Control::Ping { nonce });
            }
            sessions::Output::Close { conn, reason } => self.close(conn, reason),
            sessions::Output::SessionUp { conn, peer, incarnation } => {
                let Some(found) = self.conns.get_mut(&conn) else { return };
                let link = Arc::clone(&found.link);
                let (first, up) = (found.heartbeat.take().unwrap_or_default(), found.up.take());
                let (load, view) = (load(&first, Monotonic::ZERO), first.view);
                link.announced.set(first.behaviors.unwrap_or_default());
                self.net.peer(&peer).connected(&link, first.draining);
                self.net.names.session_up(&link, first.names);
                Groups::session_up(&link);
                let _ = self.timer.try_send(Watch::Begin(conn));
                // Together: the event of the node-up has the load of the first heartbeat.
                self.members([
                    membership::Input::SessionUp { peer: peer.clone(), incarnation, view },
                    membership::Input::HeartbeatReceived { peer, load, view },
                ]);
                if let Some(up) = up {
                    let _ = up.send(());
                }
            }
            sessions::Output::SessionDown { conn, peer, incarnation, reason } => {
                let _ = self.timer.try_send(Watch::End(conn));
                self.net.peer(&peer).disconnected();
                self.net.names.node_down(&self.net, &peer);
                self.net.groups.node_down(&self.net, &peer);
                self.member(membership::Input::SessionDown { peer, incarnation, reason });
            }
            sessions::Output::SupersededByOther { by } => {
                tracing::error!(%by, "a later start of this node is in the cluster: this one stops");
                (self.stop)();
            }
        }
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        let Some(found) = self.conns.get(&conn) else { return };
        if reason == CloseReason::Superseded {
            let addr =
                found.link.socket().peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
            self.refused(addr, RefusedReason::Superseded, "a later start of that node is connected");
        }
        if let Some(found) = self.conns.get(&conn) {
            tracing::debug!(peer = %found.link.peer, %reason, "closing a connection");
            let _ = found.connection.try_send(CloseConnection(reason));
        }
        // Its reader may wait for an up that will not come.
        if let Some(found) = self.conns.get_mut(&conn) {
            found.closing = true;
            found.up = None;
        }
    }

    fn send(&self, conn: ConnId, message: &Control) {
        if let Some(conn) = self.conns.get(&conn) {
            conn.link.control(message);
        }
    }

    fn member(&mut self, input: membership::Input) {
        self.members([input]);
    }

    fn members(&mut self, inputs: impl IntoIterator<Item = membership::Input>) {
        let (mut out, now) = (VecDeque::new(), self.net.node.now());
        for input in inputs {
            self.membership.handle(input, now, &mut out);
        }
        let changed = self.membership.drain_changed();
        self.net.publish(&changed, self.membership.members(), self.membership.view());
        let seeds = self.membership.configured_seeds();
        self.net.configured_seeds.store(seeds, std::sync::atomic::Ordering::Release);
        while let Some(output) = out.pop_front() {
            self.perform_member(output);
        }
    }

    fn perform_member(&mut self, output: membership::Output) {
        match output {
            membership::Output::Dial { target } => self.dial(target),
            membership::Output::SendHint { to, nodes } => {
                let hints = nodes.into_iter().map(|(id, incarnation)| Hint { id, incarnation }).collect();
                if let Some(link) = self.net.link(&to) {
                    tracing::debug!(peer = %to, ?hints, "telling of nodes");
                    link.control(&Control::Hints(hints));
                }
            }
            membership::Output::Ask { peer, known } => {
                if let Some(link) = self.net.link(&peer) {
                    tracing::debug!(%peer, known = known.len(), "the views differ: asking for nodes");
                    let known = known.into_iter().flat_map(u64::to_le_bytes).collect();
                    link.control(&Control::Ask { known });
                }
            }
            membership::Output::NodeUp { node, incarnation } => {
                let key = self.net.link(&node).and_then(|link| link.key.clone());
                let key = key.as_ref().map(|key| key.id());
                tracing::info!(peer = %node, incarnation = incarnation.0, key, "node up");
                self.net.counters.node_ups.one();
                if let Some(info) = self.net.node_info(&node) {
                    let id = info.id.clone();
                    self.net.events.emit(ClusterEvent::NodeUp(info));
                    self.net.node.tell_of_node(&id, None);
                }
            }
            membership::Output::NodeDown { node, incarnation, reason } => {
                tracing::info!(peer = %node, incarnation = incarnation.0, %reason, "node down");
                self.net.counters.node_down(reason);
                self.net.node.tell_of_node(&node, Some(reason));
                self.net.events.emit(ClusterEvent::NodeDown { node, incarnation, reason });
            }
            membership::Output::Forgotten { node } => self.net.forget(&node),
        }
    }

    fn dial(&mut self, target: Target) {
        if self.leaving {
            let failed = membership::Input::DialEnded { target, outcome: DialOutcome::Failed };
            return self.member(failed);
        }
        peer_connection::start(&self.net, self.ids.next(), Origin::Dialled(target));
    }

    fn dial_ended(&mut self, target: Target, outcome: DialOutcome, error: Option<DialError>) {
        if let Some(reason) = error {
            let (host, port) = target.address();
            let node = match &target {
                Target::Node(id) => Some(id.clone()),
                Target::Seed(_) => target.node().cloned(),
            };
            let text = format!("{host}:{port}");
            tracing::debug!(target = text, %reason, "a dial failed");
            self.net.events.emit(ClusterEvent::DialFailed { node, target: text, reason });
        }
        self.member(membership::Input::DialEnded { target, outcome });
    }

    fn refused(&mut self, addr: SocketAddr, reason: RefusedReason, detail: &str) {
        self.net.counters.refused(reason);
        let now = self.net.node.now();
        let last = self.logged.get(&(addr.ip(), reason));
        if last.is_none_or(|last| now.since(*last) >= LOG_PERIOD) {
            tracing::warn!(%addr, %reason, detail, "a connection was refused");
            self.logged.retain(|_, at| now.since(*at) < LOG_PERIOD);
            if self.logged.len() < MAX_LOGGED {
                self.logged.insert((addr.ip(), reason), now);
            }
        }
        self.net.events.emit(ClusterEvent::PeerRefused { addr, reason });
    }

    fn closed(&mut self, conn: ConnId, told: Option<String>) {
        let told = told.and_then(|told| told.parse::<CloseReason>().ok());
        self.session(sessions::Input::Closed { conn, told });
        let _ = self.timer.try_send(Watch::End(conn));
        self.conns.remove(&conn);
    }

    /// Keeps one alarm, for the earliest deadline of both machines.
    fn rearm(&mut self, ctx: &mut Context<Self>) {
        let next = [self.sessions.deadline(), self.membership.deadline()].into_iter().flatten().min();
        if self.alarm.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        self.alarm = next.map(|at| {
            let wait = at.since(self.net.node.now());
            let alarm = ctx.run_later(wait, |this, ctx| {
                this.alarm = None;
                this.session(sessions::Input::DeadlineReached);
                this.member(membership::Input::DeadlineReached);
                this.rearm(ctx);
            });
            (at, alarm)
        });
    }

    fn handle_fact(&mut self, fact: Fact) {
        match fact {
            Fact::Seeds(seeds) => self.member(membership::Input::SeedsKnown { seeds }),
            Fact::Authenticated { link, connection, target } => {
                let (conn, peer, incarnation) = (link.conn, link.peer.clone(), link.incarnation);
                self.conns.insert(conn, Conn { link, connection, heartbeat: None, up: None, closing: false });
                if let Some(target) = target {
                    self.member(membership::Input::DialAnswered { target, peer: peer.clone() });
                }
                self.session(sessions::Input::Authenticated { conn, peer, incarnation });
            }
            Fact::Session(input) => self.session(input),
            Fact::FirstHeartbeat { conn, heartbeat, up } => {
                if let Some(found) = self.conns.get_mut(&conn).filter(|found| !found.closing) {
                    found.heartbeat = Some(heartbeat);
                    found.up = Some(up);
                }
                self.session(sessions::Input::FirstHeartbeat { conn });
            }
            Fact::Heartbeat { peer, load, view } => {
                self.member(membership::Input::HeartbeatReceived { peer, load, view });
            }
            Fact::Asked { by, known } => self.member(membership::Input::Asked { by, known }),
            Fact::Hints { from, nodes } => self.member(membership::Input::HintReceived { from, nodes }),
            Fact::Closed { conn, told } => self.closed(conn, told),
            Fact::DialEnded { target, outcome, error } => self.dial_ended(target, outcome, error),
            Fact::Refused { addr, reason, detail } => self.refused(addr, reason, &detail),
            Fact::BehaviorsChanged => {
                self.net.behaviors_changed.store(false, Ordering::Release);
                let all = Control::Behaviors(self.net.behaviors());
                let begun = self.conns.values().filter(|conn| conn.link.has_begun());
                begun.for_each(|conn| conn.link.control(&all));
            }
            Fact::Leaving => self.leaving = true,
        }
    }
}

impl Actor for ClusterManager {
    type Context = Context<Self>;
}

impl Handler<Fact> for ClusterManager {
    type Result = ();
    fn handle(&mut self, fact: Fact, ctx: &mut Self::Context) {
        self.handle_fact(fact);
        self.rearm(ctx);
    }
}

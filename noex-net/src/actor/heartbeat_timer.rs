//! Beats, and watches for silence. Runs on the control arbiter, which never runs user code: a heartbeat is appended and
//! flushed here, whatever users do.

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, Handler};
use noex_actors::Monotonic;
use rustix::time::{ClockId, clock_gettime};

use super::messages::{Fact, Watch};
use crate::{
    machine::{detector::Detector, sessions},
    net::Net,
    wire::control::{Control, Heartbeat},
};

/// The actor that beats.
pub(crate) struct HeartbeatTimer {
    net: Arc<Net>,
    detector: Detector,
    cpu: CpuMeter,
}

impl HeartbeatTimer {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        let (interval, threshold) = (net.config.heartbeat_interval(), net.config.heartbeat_miss_threshold());
        let cpu = CpuMeter::new(net.node.now(), net.processors);
        let detector = Detector::new(interval, threshold, net.config.failure_detector());
        Self { detector, net, cpu }
    }

    fn beat(&mut self) {
        let mut heartbeat = heartbeat(&self.net);
        heartbeat.cpu = self.cpu.share(self.net.node.now());
        let message = Control::Heartbeat(heartbeat);
        // Also to a peer whose first heartbeat is still on its way: it is up there already, and must not fall silent.
        let links: Vec<_> = self.net.links.lock().values().filter(|link| link.has_begun()).cloned().collect();
        for link in links {
            link.control(&message);
            link.measure();
            link.outbox.flush_here();
        }
    }

    fn tick(&mut self) {
        let links = self.net.links.lock().clone();
        let now = self.net.node.now();
        let dead = self.detector.tick(now, |conn| links.get(&conn).map(|link| link.reading()));
        for conn in dead {
            self.net.tell(Fact::Session(sessions::Input::TimedOut { conn }));
        }
        links.values().for_each(|link| {
            link.ask_for_turn();
            link.look_at_sent(now);
        });
        // What a sender appended and did not come to flush, because its arbiter is blocked, is flushed from here.
        links.values().filter(|link| link.outbox.queued() > 0).for_each(|link| link.outbox.flush_here());
    }
}

/// What this node says of itself.
pub(crate) fn heartbeat(net: &Net) -> Heartbeat {
    let stats = net.node.runtime_stats();
    Heartbeat {
        processes: u64::try_from(stats.processes).unwrap_or(u64::MAX),
        mailbox_len: u64::try_from(stats.mailbox_len).unwrap_or(u64::MAX),
        cpu: 0.0,
        uptime_ms: u64::try_from(net.node.now().since(Monotonic::ZERO).as_millis()).unwrap_or(u64::MAX),
        draining: net.leaving.load(std::sync::atomic::Ordering::Acquire),
        behaviors: None,
        view: net.view(),
        window: 0,
        names: 0,
    }
}

impl Actor for HeartbeatTimer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
        let interval = self.net.config.heartbeat_interval();
        ctx.run_interval(interval, |this, _| this.beat());
        ctx.run_interval((interval / 4).max(Duration::from_millis(5)), |this, _| this.tick());
    }
}

impl Handler<Watch> for HeartbeatTimer {
    type Result = ();
    fn handle(&mut self, watch: Watch, _: &mut Self::Context) {
        match watch {
            Watch::Begin(conn) => self.detector.watch(conn, self.net.node.now()),
            Watch::End(conn) => self.detector.unwatch(conn),
        }
    }
}

/// How much of the machine's processors this program uses, from beat to beat.
struct CpuMeter {
    used: Duration,
    at: Monotonic,
    cores: f32,
}

impl CpuMeter {
    fn new(now: Monotonic, cores: usize) -> Self {
        Self { used: Self::used(), at: now, cores: f32::from(u16::try_from(cores).unwrap_or(u16::MAX)) }
    }

    fn used() -> Duration {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(used.tv_nsec).unwrap_or(0))
    }

    fn share(&mut self, now: Monotonic) -> f32 {
        let used = Self::used();
        let (used_now, elapsed) = (used.saturating_sub(self.used), now.since(self.at));
        (self.used, self.at) = (used, now);
        if elapsed.is_zero() {
            0.0
        } else {
            (used_now.as_secs_f32() / elapsed.as_secs_f32() / self.cores).min(1.0)
        }
    }
}

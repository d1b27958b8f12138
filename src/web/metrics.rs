//! `/metrics`: the figures of a node as Prometheus text.
//!
//! Rendered from the cluster's own counters at each request: there is no recorder, so nothing is global, every figure is
//! there from the first request on, and two clusters in one program do not mix.

use std::fmt::Write;

use actix_web::{HttpResponse, web::Data};
use noex_actors::{NodeDownReason, RuntimeStats};
use noex_net::{Cluster, ClusterStats, ClusterStatus, ProtocolError, RefusedReason};
use noex_supervisor::{DistributedSupervisor, SupervisorTotals};

use super::Endpoints;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(endpoints: Data<Endpoints>) -> HttpResponse {
    let figures = endpoints.cluster().map_or_else(Figures::default, Figures::of);
    HttpResponse::Ok().insert_header(("Content-Type", TEXT)).body(render(&figures))
}

/// What is told.
#[derive(Default)]
struct Figures {
    running: bool,
    connected: usize,
    processes: usize,
    blocked_arbiters: usize,
    blockages: u64,
    cluster: ClusterStats,
    supervisors: SupervisorTotals,
}

impl Figures {
    fn of(cluster: &Cluster) -> Self {
        let RuntimeStats { processes, blocked_arbiters, blockages, .. } = cluster.runtime_stats();
        Self {
            running: cluster.status() == ClusterStatus::Running,
            connected: cluster.connected_node_count(),
            processes,
            blocked_arbiters,
            blockages,
            cluster: cluster.stats(),
            supervisors: DistributedSupervisor::totals(cluster),
        }
    }
}

fn render(figures: &Figures) -> String {
    let mut page = Page(String::with_capacity(4096));
    let stats = &figures.cluster;
    page.gauge(
        "noex_cluster_status",
        "Status of the cluster (1 = running, 0 = other)",
        u64::from(figures.running),
    );
    page.gauge("noex_connected_nodes", "Connected nodes, this one not counted", wide(figures.connected));
    page.counter("noex_remote_calls_total", "Calls sent to other nodes", stats.calls.total_calls);
    page.gauge(
        "noex_remote_calls_pending",
        "Calls to other nodes that wait for a reply",
        stats.calls.pending_calls,
    );
    page.counter("noex_remote_spawns_total", "Processes asked of other nodes", stats.spawns.total_initiated);
    let monitors = stats.monitors.active_outgoing_count;
    page.gauge("noex_remote_monitors_active", "Watches of this node on processes of others", monitors);
    page.counter("noex_node_up_total", "How often another node came up", stats.node_up_total);
    page.by_reason(
        "noex_node_down_total",
        "How often another node went down, by reason",
        NodeDownReason::ALL.iter().map(|reason| (reason.as_str(), count(&stats.node_down_total, reason))),
    );
    page.by_reason(
        "noex_refused_total",
        "Connections refused before they were sessions, by reason",
        RefusedReason::ALL.iter().map(|reason| (reason.as_str(), count(&stats.refused_total, reason))),
    );
    page.by_reason(
        "noex_protocol_errors_total",
        "Connections ended because an authenticated peer broke the protocol, by how",
        ProtocolError::ALL.iter().map(|error| (error.as_str(), count(&stats.protocol_errors_total, error))),
    );
    page.gauge("noex_processes", "Processes alive on this node", wide(figures.processes));
    page.gauge(
        "noex_arbiters_blocked",
        "Arbiters of this node whose thread is blocked by somebody's code",
        wide(figures.blocked_arbiters),
    );
    page.counter("noex_arbiter_blockages_total", "How often an arbiter was found blocked", figures.blockages);
    let SupervisorTotals { restarts, failovers, .. } = figures.supervisors;
    page.counter(
        "noex_supervisor_restarts_total",
        "Children that distributed supervisors of this node started again",
        restarts,
    );
    page.counter(
        "noex_failovers_total",
        "Lost nodes whose children distributed supervisors of this node moved",
        failovers,
    );
    page.gauge("process_resident_memory_bytes", "Resident memory of this program in bytes", resident_bytes());
    page.0
}

fn count<K: Ord>(counts: &std::collections::BTreeMap<K, u64>, key: &K) -> u64 {
    counts.get(key).copied().unwrap_or_default()
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// A page in the making. Writing into a string does not fail.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn by_reason<'a>(&mut self, name: &str, help: &str, values: impl Iterator<Item = (&'a str, u64)>) {
        self.head(name, help, "counter");
        for (reason, value) in values {
            let _ = writeln!(self.0, "{name}{{reason=\"{reason}\"}} {value}");
        }
    }
}

/// From `/proc/self/statm`, whose second figure is in pages; 0 where there is none.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages =
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default();
    pages.saturating_mul(wide(rustix::param::page_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name and type of every metric, in order.
    fn types(page: &str) -> Vec<(&str, &str)> {
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split_once(' ')).collect()
    }

    #[test]
    fn every_metric_is_there_from_the_start() {
        let page = render(&Figures::default());
        assert_eq!(
            types(&page),
            [
                ("noex_cluster_status", "gauge"),
                ("noex_connected_nodes", "gauge"),
                ("noex_remote_calls_total", "counter"),
                ("noex_remote_calls_pending", "gauge"),
                ("noex_remote_spawns_total", "counter"),
                ("noex_remote_monitors_active", "gauge"),
                ("noex_node_up_total", "counter"),
                ("noex_node_down_total", "counter"),
                ("noex_refused_total", "counter"),
                ("noex_protocol_errors_total", "counter"),
                ("noex_processes", "gauge"),
                ("noex_arbiters_blocked", "gauge"),
                ("noex_arbiter_blockages_total", "counter"),
                ("noex_supervisor_restarts_total", "counter"),
                ("noex_failovers_total", "counter"),
                ("process_resident_memory_bytes", "gauge"),
            ]
        );
        for reason in ["heartbeat_timeout", "connection_closed", "connection_refused", "graceful_shutdown"] {
            assert!(page.contains(&format!("noex_node_down_total{{reason=\"{reason}\"}} 0\n")), "{reason}");
        }
        for reason in
            ["too_long", "bad_frame", "eof", "timeout", "wrong_secret", "no_secret", "insecure_peer", "tls"]
        {
            assert!(page.contains(&format!("noex_refused_total{{reason=\"{reason}\"}} 0\n")), "{reason}");
        }
    }

    #[test]
    fn every_protocol_error_is_there_and_counts() {
        let mut figures = Figures::default();
        figures.cluster.protocol_errors_total.insert(ProtocolError::Forged, 2);
        let page = render(&figures);
        for sample in
            ["length\"} 0", "forged\"} 2", "malformed_frame\"} 0", "malformed_control\"} 0", "limit\"} 0"]
        {
            assert!(page.contains(&format!("noex_protocol_errors_total{{reason=\"{sample}\n")), "{sample}");
        }
    }

    #[test]
    fn a_page_is_one_sample_per_line_after_its_help_and_type() {
        let figures = Figures { running: true, connected: 2, ..Figures::default() };
        let page = render(&figures);
        assert!(page.starts_with("# HELP noex_cluster_status "));
        assert!(page.contains("\nnoex_cluster_status 1\n") && page.contains("\nnoex_connected_nodes 2\n"));
        assert!(page.ends_with('\n'));
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(!name.contains(' ') && value.parse::<u64>().is_ok(), "{line}");
        }
    }

    #[test]
    fn resident_memory_is_plausible() {
        let bytes = resident_bytes();
        assert!((1 << 20..1 << 36).contains(&bytes), "{bytes}");
    }
}

//! What one node answers over HTTP, what it logs, and how it ends.

use std::net::{IpAddr, UdpSocket};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    http,
    lab::{Lab, Node, SOON},
    ports::free_port,
    wait,
};

#[test]
fn health_tells_the_status_and_ready_waits_for_a_configured_seed() {
    let lab = Lab::new();
    let alone = lab.node("a").start();
    let health = alone.get("/health").unwrap();
    assert!(health.head.contains("content-type: application/json"), "{}", health.head);
    let json = health.json();
    assert_eq!((&json["status"], &json["connectedNodes"]), (&"running".into(), &0.into()));
    assert_eq!(json["nodeId"], alone.id);
    assert_rfc3339(json["timestamp"].as_str().unwrap());
    let ready = alone.get("/ready").unwrap();
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready"));

    let mine = lab.node("b");
    let waiting = mine.clone().seed(&format!("127.0.0.1:{}", free_port())).start();
    let ready = waiting.get("/ready").unwrap();
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready"));
    drop(waiting);
    let myself = mine.clone().seed(&format!("127.0.0.1:{}", mine.cluster)).start();
    wait::until(SOON, "a seed that is this node itself does not count", || match myself.get("/ready") {
        Ok(ready) if ready.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    drop(myself);
    let joined = mine.seed(&alone.id).start();
    joined.sees(1);
    assert_eq!(joined.get("/ready").unwrap().status, 200);
    assert_eq!(alone.view()["nodes"][0]["id"], joined.id);
}

#[test]
fn unknown_paths_are_404() {
    let lab = Lab::new();
    let node = lab.node("a").start();
    for path in
        ["/", "/healthz", "/health/", "/noex", "/noex/api", "/noex/api/calls", "/noex/api/call/counter-1/sub"]
    {
        assert_eq!(node.get(path).unwrap().status, 404, "{path}");
    }
}

#[test]
fn every_metric_is_there_from_the_start_with_help_and_type() {
    let lab = Lab::new();
    let node = lab.node("a").start();
    let answer = node.get("/metrics").unwrap();
    assert!(answer.head.contains("content-type: text/plain"), "{}", answer.head);
    for (name, kind) in [
        ("noex_cluster_status", "gauge"),
        ("noex_connected_nodes", "gauge"),
        ("noex_remote_calls_total", "counter"),
        ("noex_remote_calls_pending", "gauge"),
        ("noex_remote_spawns_total", "counter"),
        ("noex_remote_monitors_active", "gauge"),
        ("noex_node_up_total", "counter"),
        ("noex_node_down_total", "counter"),
        ("noex_refused_total", "counter"),
        ("noex_processes", "gauge"),
        ("noex_supervisor_restarts_total", "counter"),
        ("noex_failovers_total", "counter"),
        ("process_resident_memory_bytes", "gauge"),
    ] {
        assert!(answer.body.contains(&format!("# HELP {name} ")), "{name}");
        assert!(answer.body.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
    }
    assert_eq!(node.metric("noex_cluster_status"), 1);
    for reason in ["heartbeat_timeout", "connection_closed", "connection_refused", "graceful_shutdown"] {
        assert_eq!(node.metric(&format!("noex_node_down_total{{reason=\"{reason}\"}}")), 0);
    }
    for reason in [
        "too_long",
        "bad_frame",
        "eof",
        "timeout",
        "evicted",
        "version",
        "wrong_secret",
        "no_secret",
        "no_common_key",
        "wrong_identity",
        "superseded",
        "insecure_peer",
        "tls",
    ] {
        assert_eq!(node.metric(&format!("noex_refused_total{{reason=\"{reason}\"}}")), 0);
    }
    assert!(node.metric("process_resident_memory_bytes") > 1 << 20);
}

#[test]
fn the_cluster_is_shown_and_counters_can_be_called_from_any_node() {
    let lab = Lab::new();
    let a = lab.node("a").var("WORKERS", 4).var("MIN_NODES", 2).start();
    let b = lab.node("b").seed(&a.id).start();
    let alive = lab.placed(4, &[&a, &b]);

    for node in [&a, &b] {
        let view = wait::until(SOON, "the supervisor is known", || {
            let view = node.view();
            let known = view["supervisors"].as_array().unwrap().len() == 1;
            if known { Ok(view) } else { Err(view.to_string()) }
        });
        assert_eq!((&view["node"], &view["status"]), (&node.id.clone().into(), &"running".into()));
        assert!(view["incarnation"].as_u64().unwrap() > 0);
        let other = &view["nodes"][0];
        assert_eq!(other["status"], "connected");
        for field in ["processCount", "lastHeartbeatAt", "uptimeMs"] {
            assert!(other[field].is_u64(), "{field} in {other}");
        }
        let supervisor = &view["supervisors"][0];
        assert_eq!(
            (&supervisor["name"], &supervisor["strategy"]),
            (&"workers".into(), &"one_for_one".into())
        );
        assert_eq!(supervisor["owner"], a.id);
        let children = supervisor["children"].as_array().unwrap();
        assert_eq!(children.len(), 4, "{view}");
        for child in children {
            let instance = alive[child["id"].as_str().unwrap()][0].clone();
            let at = if instance.pid == a.pid() { &a.id } else { &b.id };
            assert_eq!(child["node"], *at, "{child}");
            assert_eq!(child["generation"], instance.generation);
            assert_eq!(child["restarts"], 0);
        }
        let local = view["localChildren"].as_array().unwrap();
        assert_eq!(local.len(), 2, "round robin over two nodes: {view}");
        for child in local {
            assert_eq!(child["supervisor"], "workers");
            let instance = &alive[child["id"].as_str().unwrap()][0];
            assert_eq!((instance.pid, child["generation"].as_u64()), (node.pid(), Some(instance.generation)));
        }
    }

    // Names and their holders: each child on its node, and the supervisor.
    let names = wait::until(SOON, "both nodes see the same", || {
        let [one, other] = [&a, &b].map(|node| node.get("/noex/api/names").unwrap().json());
        let all = one.as_object().is_some_and(|names| names.len() == 5);
        if all && one == other { Ok(one) } else { Err(format!("{one} {other}")) }
    });
    for (child, instances) in &alive {
        let at = if instances[0].pid == a.pid() { &a.id } else { &b.id };
        assert!(names[child].as_str().unwrap().starts_with(&format!("<{at}/")), "{child}: {names}");
    }

    let call =
        |node: &Node, method, path: &str| http::ask(node.health, method, &format!("/noex/api/call/{path}"));
    for i in 1..=4 {
        let added = call(&a, "POST", &format!("counter-{i}/add?n=2")).unwrap();
        assert_eq!((added.status, &added.json()["value"]), (200, &2.into()), "counters start at 0");
        let got = call(&b, "GET", &format!("counter-{i}/get")).unwrap();
        assert_eq!((got.status, &got.json()["value"]), (200, &2.into()));
        assert_eq!(got.json()["node"], added.json()["node"]);
    }
    let nobody = call(&b, "GET", "counter-5/get").unwrap();
    assert_eq!((nobody.status, &nobody.json()["delivery"]), (404, &"never".into()));
    assert!(nobody.json()["error"].is_string());
    for wrong in ["counter-1/add", "counter-1/add?n=x", "counter-1/add?n=9223372036854775808"] {
        assert_eq!(call(&a, "POST", wrong).unwrap().status, 400, "{wrong}");
    }
}

#[test]
fn a_call_that_is_not_answered_in_time_is_504_and_may_have_run() {
    let lab = Lab::new();
    let [a, b] = ["a", "b"].map(|name| lab.node(name).var("HEARTBEAT_INTERVAL_MS", 60_000));
    let a = a.var("WORKERS", 2).var("MIN_NODES", 2).start();
    let b = b.seed(&a.id).start();
    lab.placed(2, &[&a, &b]);
    b.freeze();
    let local = IpAddr::from([127, 0, 0, 1]);
    let patience = [("x-request-timeout-ms", "300")];
    let answers: Vec<(u16, Value)> = (1..=2)
        .map(|i| format!("/noex/api/call/counter-{i}/add?n=1"))
        .map(|path| http::ask_at(local, a.health, "POST", &path, &patience).unwrap())
        .map(|answer| (answer.status, answer.json()["delivery"].clone()))
        .collect();
    b.thaw();
    assert!(answers.contains(&(200, Value::Null)), "the one at home answers: {answers:?}");
    assert!(answers.contains(&(504, "unknown".into())), "the one on the frozen node does not: {answers:?}");
    assert_eq!(a.metric("noex_remote_calls_total"), 1);
}

#[test]
fn others_than_loopback_need_the_token() {
    let Some(ip) = other_address() else {
        println!("this machine has no address but loopback");
        return;
    };
    let lab = Lab::new();
    let (view, call) = ("/noex/api/cluster", "/noex/api/call/counter-1/get");
    let closed = lab.node("a").without("API_TOKEN").start();
    for path in [view, call, "/noex/api/names"] {
        assert_eq!(http::ask_at(ip, closed.health, "GET", path, &[]).unwrap().status, 403);
        let forged =
            [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("authorization", "Bearer ")];
        assert_eq!(http::ask_at(ip, closed.health, "GET", path, &forged).unwrap().status, 403);
    }
    assert_eq!(http::ask_at(ip, closed.health, "GET", "/health", &[]).unwrap().status, 200);
    let open = lab.node("b").var("API_TOKEN", "correct horse").start();
    for (token, status) in
        [("Bearer correct horse", 200), ("Bearer correct hors", 401), ("Basic correct horse", 401)]
    {
        let answer = http::ask_at(ip, open.health, "GET", view, &[("authorization", token)]).unwrap();
        assert_eq!(answer.status, status, "{token}");
    }
    assert_eq!(open.get(view).unwrap().status, 200);
}

#[test]
fn logs_are_one_json_object_per_line_and_nothing_else() {
    let lab = Lab::new();
    let mut a = lab.node("a").var("WORKERS", 2).start();
    let mut b = lab.node("b").seed(&a.id).start();
    b.sees(1);
    b.kill();
    wait::until(SOON, "the loss is logged", || {
        let text = a.out.text();
        if text.contains("node down") { Ok(()) } else { Err(text) }
    });
    a.signal(Signal::TERM);
    assert_eq!(a.exit_code(SOON), Some(0));
    let text = a.out.text();
    assert!(text.contains("graceful shutdown") && text.contains("node started"), "{text}");
    assert_eq!(a.err.text(), "", "standard error is for what ends a node");
    for line in text.lines() {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let fields = json.as_object().unwrap();
        assert_rfc3339(fields["timestamp"].as_str().unwrap());
        let level = fields["level"].as_str().unwrap();
        assert!(["trace", "debug", "info", "warn", "error"].contains(&level), "{line}");
        assert!(fields["message"].is_string(), "{line}");
        assert!(fields["nodeId"].is_null() || fields["nodeId"] == a.id, "{line}");
        assert!(fields.values().all(|value| !value.is_object()), "flat: {line}");
    }
    let down = text.lines().find(|line| line.contains("\"message\":\"node down\"")).unwrap();
    let down: Value = serde_json::from_str(down).unwrap();
    assert_eq!((&down["peer"], &down["reason"]), (&b.id.clone().into(), &"connection_closed".into()));
    assert_eq!(down["nodeId"], a.id);
}

#[test]
fn pretty_logs_are_for_people() {
    let lab = Lab::new();
    let mut node = lab.node("a").var("LOG_FORMAT", "pretty").start();
    node.signal(Signal::INT);
    assert_eq!(node.exit_code(SOON), Some(0));
    let text = node.out.text();
    assert!(text.contains("node started") && !text.contains('{'), "{text}");
}

#[test]
fn a_reader_that_stops_reading_the_log_does_not_stop_the_node() {
    let lab = Lab::new();
    let node = lab.node("a").var("RUST_LOG", "trace").start();
    let reader = lab.node("b").seed(&node.id).var("RUST_LOG", "trace").spawn_unread();
    wait::until(SOON, "it runs", || reader.get("/ready").map_err(|error| error.to_string()));
    node.sees(1);
    for _ in 0..2000 {
        assert_eq!(reader.get("/health").unwrap().status, 200);
    }
    assert_eq!(node.metric("noex_connected_nodes"), 1);
    assert_eq!(node.metric_sum("noex_node_down_total"), 0);
}

#[track_caller]
fn assert_rfc3339(text: &str) {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(shape.starts_with("0000-00-00T00:00:00"), "{text}");
    assert!(shape.ends_with('Z') || shape.ends_with("+00:00"), "{text}");
}

/// An address of this machine that is not loopback.
fn other_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: it only chooses the address.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

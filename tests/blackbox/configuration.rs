//! What the environment may say: anything wrong ends the node with 2 and one line that names it.

use std::net::TcpListener;

use crate::lab::{Lab, SOON, Setup};

/// Runs a node that must not start; its one line.
#[track_caller]
pub(crate) fn refused(setup: &Setup) -> String {
    let mut node = setup.spawn();
    let code = node.exit_code(SOON);
    let (out, err) = (node.out.text(), node.err.text());
    assert_eq!(code, Some(2), "{out}{err}");
    assert_eq!(err.lines().count(), 1, "one line, not: {err}");
    assert!(!out.contains("\"level\":\"error\""), "nothing ran: {out}");
    err.trim_end().to_owned()
}

#[test]
fn a_bad_value_ends_with_2_and_names_variable_value_and_rule() {
    let lab = Lab::new();
    let setup = lab.node("a");
    for (var, value, rule) in [
        ("NODE_NAME", "1a", "letter"),
        ("NODE_NAME", "", ""),
        ("HOST", "no host", ""),
        ("ADVERTISE_HOST", "0.0.0.0", ""),
        ("CLUSTER_PORT", "0", "1 to 65535"),
        ("CLUSTER_PORT", "65536", "1 to 65535"),
        ("CLUSTER_PORT", "http", "1 to 65535"),
        ("HEALTH_PORT", "0", "1 to 65535"),
        ("HEALTH_PORT", "", "1 to 65535"),
        ("HEALTH_PORT", "+80", "1 to 65535"),
        ("CLUSTER_SEEDS", "a@b@c:1", ""),
        ("CLUSTER_SEEDS", "host", ""),
        ("HEARTBEAT_INTERVAL_MS", "99", "100 to 600000"),
        ("HEARTBEAT_INTERVAL_MS", "600001", "100 to 600000"),
        ("HEARTBEAT_INTERVAL_MS", "5s", "100 to 600000"),
        ("HEARTBEAT_MISS_THRESHOLD", "0", "1 to 100"),
        ("HEARTBEAT_MISS_THRESHOLD", "101", "1 to 100"),
        ("RECONNECT_BASE_DELAY_MS", "9", "10 to 3600000"),
        ("RECONNECT_MAX_DELAY_MS", "3600001", "10 to 3600000"),
        ("RECONNECT_BASE_DELAY_MS", "60000", ""),
        ("LOG_FORMAT", "xml", "json or pretty"),
        ("WORKERS", "-1", "0 to 100000"),
        ("WORKERS", "many", "0 to 100000"),
        ("MIN_NODES", "0", "1 to 65535"),
        ("MAX_RESTARTS", "x", "0 to 1000000"),
        ("WITHIN_MS", "0", "1 to 86400000"),
        ("NODE_SELECTOR", "fastest", "least_loaded"),
        ("NODE_SELECTOR", "Round_Robin", "round_robin"),
        ("ORPHAN_POLICY", "stop", "stop_after:<milliseconds>"),
        ("STRATEGY", "one-for-one", "one_for_all"),
        ("STRATEGY", "simple_one_for_one", "one_for_one, one_for_all, rest_for_one"),
        ("PARTITION_POLICY", "none", "failover"),
        ("WITNESS_DIR", "/proc/no/such", "directory"),
    ] {
        let line = refused(&setup.clone().var(var, value));
        assert!(line.starts_with(&format!("{var} is \"{value}")), "{var}={value}: {line}");
        assert!(line.contains(rule), "{var}={value} should say {rule:?}: {line}");
    }
}

#[test]
fn bad_secrets_end_with_2_and_are_named_by_variable_and_rule_without_being_shown() {
    let lab = Lab::new();
    let setup = lab.node("a").without("CLUSTER_SECRET");
    let file = |name: &str, text: &str| {
        let path = lab.dir.join(format!("{name}-hush"));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for (var, value, rule) in [
        ("CLUSTER_SECRETS", "hush".to_owned(), "must hold id:secret, and entry 1 does not"),
        ("CLUSTER_SECRETS", "a:hush,b".to_owned(), "must hold id:secret, and entry 2 does not"),
        ("CLUSTER_SECRETS", ":hush".to_owned(), "an id has 1 to 64"),
        ("CLUSTER_SECRETS", "hush hush:x".to_owned(), "an id has 1 to 64"),
        ("CLUSTER_SECRETS", "a:hush,b:".to_owned(), "a secret must not be empty (entry 2)"),
        ("CLUSTER_SECRETS", "a:hush,a:hush".to_owned(), "\"a\" already (entry 2)"),
        ("CLUSTER_SECRETS", "a: hush".to_owned(), "white space"),
        ("CLUSTER_SECRET_FILE", "/no/such/hush".to_owned(), "must name a file that can be read"),
        ("CLUSTER_SECRET_FILE", file("empty", "\n# hush\n"), "at least one id:secret"),
        ("CLUSTER_SECRET_FILE", file("bad", "# hush\na:hush\nhush\n"), "line 3"),
    ] {
        let line = refused(&setup.clone().var(var, value));
        assert!(line.starts_with(&format!("{var} is \"***\": ")), "{line}");
        assert!(line.contains(rule) && !line.contains("hush"), "{line} should say {rule:?}");
    }
    let good = file("good", "a:hush");
    for (first, second) in [
        (("CLUSTER_SECRET", "hush"), ("CLUSTER_SECRETS", "a:hush")),
        (("CLUSTER_SECRET", "hush"), ("CLUSTER_SECRET_FILE", &*good)),
        (("CLUSTER_SECRETS", "a:hush"), ("CLUSTER_SECRET_FILE", &*good)),
    ] {
        let line = refused(&setup.clone().var(first.0, first.1).var(second.0, second.1));
        let rule = format!("{} is \"***\": must not be set together with {}", second.0, first.0);
        assert_eq!(line, rule);
    }
}

#[test]
fn a_port_in_use_is_named_and_ends_with_2() {
    let lab = Lab::new();
    let setup = lab.node("a");
    for (var, port) in [("CLUSTER_PORT", setup.cluster), ("HEALTH_PORT", setup.health)] {
        let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let line = refused(&setup);
        assert!(line.starts_with(&format!("{var} is \"{port}\": ")), "{line}");
        assert!(line.contains("in use"), "{line}");
    }
}

#[test]
fn an_empty_secret_and_no_seeds_may_be_written_as_an_empty_text() {
    let lab = Lab::new();
    let node = lab.node("a").var("CLUSTER_SECRET", "").var("CLUSTER_SEEDS", "").start();
    assert_eq!(node.get("/ready").unwrap().status, 200);
}

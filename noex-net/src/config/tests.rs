use super::*;

/// A secret no error or dump may show.
const SECRET: &str = "correct horse battery staple";

fn from(vars: &[(&str, &str)]) -> Result<ClusterConfig, InvalidClusterConfig> {
    ClusterConfig::from_vars(|name| {
        vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn the_defaults_are_those_of_the_documents() {
    let config = ClusterConfig::builder("a").build().unwrap();
    let secs = Duration::from_secs;
    assert_eq!(
        (config.node_name(), config.host(), config.advertise_host(), config.port()),
        ("a", "0.0.0.0", None, 4369)
    );
    assert!(config.seeds().is_empty() && config.secrets().is_empty() && config.binds_wildcard());
    assert_eq!((config.heartbeat_interval(), config.heartbeat_miss_threshold()), (secs(5), 3));
    assert_eq!(config.detection_time(), secs(15));
    assert_eq!((config.reconnect_base_delay(), config.reconnect_max_delay()), (secs(1), secs(30)));
    assert_eq!(
        (config.connect_timeout(), config.handshake_timeout(), config.forget_after()),
        (secs(10), secs(5), secs(600))
    );
    assert_eq!(
        (config.outbox_bytes(), config.max_message_bytes(), config.max_unauthenticated()),
        (16 << 20, 16 << 20, 256)
    );
    assert_eq!(config.credit_bytes(), 16 << 20);
    assert_eq!(
        (config.insecure_peers(), config.failure_detector()),
        (InsecurePeers::Loopback, Detector::Deadline)
    );
    assert_eq!(ClusterConfig::lan("a").build().unwrap(), config);
    assert_eq!(ClusterConfig::wan("a").build().unwrap().detection_time(), secs(45));
    let test = ClusterConfig::test("a").build().unwrap();
    assert_eq!(
        (test.host(), test.port(), test.detection_time()),
        ("127.0.0.1", 0, Duration::from_millis(600))
    );
}

#[test]
fn every_rule_is_checked_by_the_builder() {
    let (ms, b) = (Duration::from_millis, || ClusterConfig::builder("a"));
    for (builder, field, value) in [
        (ClusterConfig::builder("123invalid"), "node_name", "123invalid"),
        (ClusterConfig::builder(""), "node_name", ""),
        (ClusterConfig::builder("x".repeat(65)), "node_name", &*"x".repeat(65)),
        (b().host("not a host"), "host", "not a host"),
        (b().host(""), "host", ""),
        (b().advertise_host("0.0.0.0"), "advertise_host", "0.0.0.0"),
        (b().advertise_host("[::]"), "advertise_host", "[::]"),
        (b().advertise_host("::ffff:0.0.0.0"), "advertise_host", "::ffff:0.0.0.0"),
        (b().advertise_host("h_x"), "advertise_host", "h_x"),
        (b().seed("nowhere"), "seeds", "nowhere"),
        (b().seeds(["a@h:1", "1x@h:1"]), "seeds", "1x@h:1"),
        (b().heartbeat_interval(ms(99)), "heartbeat_interval", "99 ms"),
        (b().heartbeat_miss_threshold(0), "heartbeat_miss_threshold", "0"),
        (b().reconnect_base_delay(ms(0)), "reconnect_base_delay", "0 ms"),
        (b().reconnect_max_delay(ms(0)), "reconnect_max_delay", "0 ms"),
        (b().reconnect_base_delay(ms(31_000)), "reconnect_base_delay", "31000 ms"),
        (b().connect_timeout(ms(0)), "connect_timeout", "0 ms"),
        (b().handshake_timeout(ms(0)), "handshake_timeout", "0 ms"),
        (b().forget_after(ms(0)), "forget_after", "0 ms"),
        (b().outbox_bytes(65_535), "outbox_bytes", "65535"),
        (b().credit_bytes(65_535), "credit_bytes", "65535"),
        (b().max_message_bytes(1), "max_message_bytes", "1"),
        (b().max_unauthenticated(0), "max_unauthenticated", "0"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!((error.field.as_str(), error.value.as_str()), (field, value), "{error}");
        assert!(!error.rule.is_empty() && !error.to_string().contains('\n'));
    }
}

#[test]
fn every_bound_is_allowed_itself() {
    let (ms, b) = (Duration::from_millis, || ClusterConfig::builder("a"));
    for builder in [
        ClusterConfig::builder("x".repeat(64)),
        b().port(0),
        b().heartbeat_interval(ms(100)).heartbeat_miss_threshold(1),
        b().reconnect_base_delay(ms(30_000)),
        b().outbox_bytes(65_536).credit_bytes(65_536).max_message_bytes(65_536).max_unauthenticated(1),
        b().heartbeat_interval(Duration::MAX).heartbeat_miss_threshold(u32::MAX),
    ] {
        assert!(builder.build().is_ok_and(|config| config.detection_time() > Duration::ZERO));
    }
}

#[test]
fn hosts_and_seeds_become_canonical() {
    let config = ClusterConfig::builder("a")
        .host("[::]")
        .advertise_host("Node.Example")
        .seeds(["B@H:1", "[0::1]:5"])
        .seed("b@h:2")
        .seed("B@h:1") // the same as the first
        .build()
        .unwrap();
    assert_eq!(
        (config.host(), config.advertise_host(), config.binds_wildcard()),
        ("::", Some("node.example"), true)
    );
    let seeds: Vec<String> = config.seeds().iter().map(ToString::to_string).collect();
    assert_eq!(seeds, ["B@h:1", "[::1]:5", "b@h:2"]);
}

#[test]
fn the_environment_has_a_variable_for_each() {
    let config = from(&[
        ("NODE_NAME", "n1"),
        ("HOST", "127.0.0.1"),
        ("ADVERTISE_HOST", "10.0.0.1"),
        ("CLUSTER_PORT", "5000"),
        ("CLUSTER_SEEDS", " a@h:1 ,, b@h:2,host.example:3 ,"),
        ("CLUSTER_SECRET", SECRET),
        ("CLUSTER_INSECURE_PEERS", "any"),
        ("CLUSTER_TAGS", "hmac-sha256-128, blake3-128"),
        ("CLUSTER_COMPRESSION", "lz4"),
        ("HEARTBEAT_INTERVAL_MS", "200"),
        ("HEARTBEAT_MISS_THRESHOLD", "4"),
        ("RECONNECT_BASE_DELAY_MS", "10"),
        ("RECONNECT_MAX_DELAY_MS", "20"),
    ])
    .unwrap();
    let ms = Duration::from_millis;
    let expected = ClusterConfig::builder("n1")
        .host("127.0.0.1")
        .advertise_host("10.0.0.1")
        .port(5000)
        .seeds(["a@h:1", "b@h:2", "host.example:3"])
        .secret(SECRET)
        .insecure_peers(InsecurePeers::Any)
        .tags([TagAlgorithm::HmacSha256, TagAlgorithm::Blake3])
        .compression(Compression::Lz4)
        .heartbeat_interval(ms(200))
        .heartbeat_miss_threshold(4)
        .reconnect_base_delay(ms(10))
        .reconnect_max_delay(ms(20));
    assert_eq!(config, expected.build().unwrap());
}

#[test]
fn an_empty_environment_is_a_node_named_after_its_process() {
    let config = from(&[]).unwrap();
    assert_eq!(config.node_name(), format!("worker-{}", std::process::id()));
    let config = from(&[("CLUSTER_SEEDS", ""), ("CLUSTER_SECRET", ""), ("CLUSTER_SECRETS", "")]).unwrap();
    assert!(config.seeds().is_empty() && config.secrets().is_empty());
}

#[test]
fn a_bad_variable_is_named_with_its_value_and_rule() {
    for (variable, value) in [
        ("NODE_NAME", "1x"),
        ("NODE_NAME", ""),
        ("HOST", "a b"),
        ("ADVERTISE_HOST", "0.0.0.0"),
        ("CLUSTER_PORT", "0"),
        ("CLUSTER_PORT", "65536"),
        ("CLUSTER_PORT", "eighty"),
        ("CLUSTER_PORT", "+80"),
        ("CLUSTER_PORT", ""),
        ("CLUSTER_SEEDS", "here"),
        ("CLUSTER_INSECURE_PEERS", "all"),
        ("CLUSTER_TAGS", "none"),
        ("CLUSTER_TAGS", "blake3-128,"),
        ("CLUSTER_TAGS", "blake3-128,blake3-128"),
        ("CLUSTER_TAGS", ""),
        ("CLUSTER_COMPRESSION", "gzip"),
        ("CLUSTER_COMPRESSION", ""),
        ("HEARTBEAT_INTERVAL_MS", "99"),
        ("HEARTBEAT_INTERVAL_MS", "600001"),
        ("HEARTBEAT_INTERVAL_MS", "-5"),
        ("HEARTBEAT_INTERVAL_MS", "5s"),
        ("HEARTBEAT_INTERVAL_MS", "99999999999999999999999"),
        ("HEARTBEAT_MISS_THRESHOLD", "0"),
        ("HEARTBEAT_MISS_THRESHOLD", "101"),
        ("RECONNECT_BASE_DELAY_MS", "9"),
        ("RECONNECT_MAX_DELAY_MS", "3600001"),
    ] {
        let error = from(&[(variable, value)]).unwrap_err();
        assert_eq!((error.field.as_str(), error.value.as_str()), (variable, value), "{error}");
    }
    for (good, value) in [("HEARTBEAT_INTERVAL_MS", "600000"), ("HEARTBEAT_MISS_THRESHOLD", "100")] {
        assert!(from(&[(good, value)]).is_ok());
    }
    let error = from(&[("RECONNECT_BASE_DELAY_MS", "60000")]).unwrap_err();
    assert_eq!(error.field, "RECONNECT_BASE_DELAY_MS");
    let error = from(&[("CLUSTER_TAGS", "md5")]).unwrap_err();
    assert!(TagAlgorithm::ALL.iter().all(|tag| error.rule.contains(tag.as_str())), "{error}");
    let error = from(&[("NODE_NAME", "a\nb")]).unwrap_err();
    assert_eq!(error.value, "a\\nb", "errors stay on one line");
    assert_eq!(
        from(&[("CLUSTER_PORT", "0")]).unwrap_err().to_string(),
        r#"CLUSTER_PORT is "0": must be a whole number from 1 to 65535"#
    );
}

#[test]
fn the_three_variables_for_secrets_read_as_one_would_make_them() {
    let ring = Secrets::several([("new", "the new one"), ("old", SECRET)]).unwrap();
    let config = from(&[("CLUSTER_SECRETS", &format!("new:the new one,old:{SECRET}"))]).unwrap();
    assert_eq!(config.secrets(), &ring);
    let path = std::env::temp_dir().join(format!("noex-net-secrets.{}", std::process::id()));
    std::fs::write(&path, format!("# ours\nnew:the new one\nold:{SECRET}\n")).unwrap();
    let file = path.to_str().unwrap();
    let config = from(&[("CLUSTER_SECRET_FILE", file), ("CLUSTER_SECRET", "")]).unwrap();
    assert_eq!(config.secrets(), &ring);
    let config = ClusterConfig::builder("a").secret(ring.clone()).build().unwrap();
    assert_eq!(config.secrets(), &ring);

    let set = [("CLUSTER_SECRET", SECRET), ("CLUSTER_SECRETS", "a:x"), ("CLUSTER_SECRET_FILE", file)];
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        let error = from(&[set[first], set[second]]).unwrap_err();
        let rule = format!("must not be set together with {}", set[first].0);
        assert_eq!((error.field.as_str(), error.value.as_str(), error.rule), (set[second].0, "***", rule));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(from(&[("CLUSTER_SECRET_FILE", file)]).is_err(), "it is gone");
}

#[test]
fn wrong_secrets_are_named_by_their_variable_and_never_shown() {
    for (variable, value, rule) in [
        ("CLUSTER_SECRETS", SECRET.to_owned(), "must hold id:secret, and entry 1 does not"),
        ("CLUSTER_SECRETS", format!("a:{SECRET},a:{SECRET}"), "\"a\" already (entry 2)"),
        ("CLUSTER_SECRETS", format!("{SECRET}:x"), "an id has 1 to 64"),
        ("CLUSTER_SECRETS", format!("a:{SECRET},b:"), "a secret must not be empty (entry 2)"),
        ("CLUSTER_SECRET_FILE", format!("/no/such/{SECRET}"), "must name a file that can be read"),
    ] {
        let error = from(&[(variable, &value)]).unwrap_err();
        assert_eq!((error.field.as_str(), error.value.as_str()), (variable, "***"));
        assert!(error.rule.contains(rule) && !error.to_string().contains(SECRET), "{error}");
        assert!(!format!("{error:?}").contains(SECRET));
    }
}

#[test]
fn json_reads_the_secret_and_never_writes_it() {
    let json = format!(
        r#"{{"nodeName":"a","port":5,"clusterSecret":"{SECRET}","seeds":["b@h:1"],"heartbeatIntervalMs":250}}"#
    );
    let config: ClusterConfig = serde_json::from_str(&json).unwrap();
    assert_eq!(config.secrets(), &Secrets::from(SECRET));
    assert_eq!(config.heartbeat_interval(), Duration::from_millis(250));
    let written = serde_json::to_string(&config).unwrap();
    assert!(
        !written.contains(SECRET)
            && !written.contains("lusterSecret")
            && !format!("{config:?}").contains(SECRET)
    );
    assert!(
        written.contains(r#""failureDetector":"deadline""#) && written.contains(r#""forgetAfterMs":600000"#)
    );
    let again: ClusterConfig = serde_json::from_str(&written).unwrap();
    assert!(again.secrets().is_empty() && again.seeds() == config.seeds());
}

#[test]
fn json_is_checked_like_everything_else() {
    for (json, word) in [
        (r#"{}"#, "nodeName"),
        (r#"{"nodeName":"a","colour":"red"}"#, "colour"),
        (r#"{"nodeName":"a","port":0}"#, "port"),
        (r#"{"nodeName":"a","port":65536}"#, "65536"),
        (r#"{"nodeName":"a","seeds":["x"]}"#, "seeds"),
        (r#"{"nodeName":"a","heartbeatIntervalMs":5}"#, "heartbeatIntervalMs"),
        (r#"{"nodeName":"a","failureDetector":"swim"}"#, "swim"),
        (r#"{"nodeName":"a","tags":[]}"#, "tags"),
        (r#"{"nodeName":"a","tags":["none"]}"#, "none"),
        (r#"{"nodeName":"a","reconnectBaseDelayMs":50000}"#, "reconnectBaseDelayMs"),
    ] {
        let error = serde_json::from_str::<ClusterConfig>(json).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

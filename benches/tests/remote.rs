//! Runs the program as a person or a script does.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::Value;

fn remote(args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_noex-bench");
    Command::new(program)
        .arg("remote")
        .args(["--quick", "--rounds", "1"])
        .args(args)
        .output()
        .expect("the program starts")
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A CPU this process may use.
fn some_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    allowed.trim().chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn json_is_one_object_with_a_row_of_figures_for_each_baseline() {
    let run = remote(&["--json", "--rows", "mux-mp,bare,bare-mp"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(keys(&report), ["cores", "kind", "pinned", "rows"]);
    assert_eq!(report["kind"], "remote");
    assert_eq!(report["pinned"], false);
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["bare", "bare-mp", "mux-mp"]);
    for row in rows {
        let figures = [
            "calls512PerS",
            "calls64PerS",
            "castsPerS",
            "cpuUsPerCall512",
            "mib1MbPerS",
            "rttP50Us",
            "rttP99Us",
        ];
        for figure in figures {
            assert!(row[figure].as_f64().unwrap() > 0.0, "{figure} of {row}");
        }
        assert_eq!(row["payload"], 64);
        let peaks = row["rssPeakBytes"].as_array().unwrap();
        assert_eq!(peaks.len(), 2);
        assert!(peaks.iter().all(|peak| peak.as_u64().unwrap() > 100_000), "{row}");
        assert!(row["figures"]["CastGrowthServerMib"].as_f64().is_some(), "{row}");
        assert_eq!(keys(row).len(), figures.len() + 4);
    }
}

#[test]
fn a_pinned_run_says_so_and_tables_name_the_rows() {
    let pinned = remote(&["--json", "--rows", "bare", "--phases", "seq", "--pin", &some_cpu()]);
    let report: Value = serde_json::from_slice(&pinned.stdout).unwrap();
    assert_eq!(report["pinned"], true);
    assert_eq!(report["rows"][0]["castsPerS"], Value::Null);
    let table = remote(&["--rows", "bare", "--phases", "seq,cast"]);
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.lines().any(|line| line.starts_with("bare ")), "{text}");
    assert!(text.contains("x bare"), "{text}");
}

#[test]
fn a_child_that_fails_ends_the_run_without_a_report() {
    let run = remote(&["--json", "--rows", "bare", "--pin", "100000"]);
    assert!(!run.status.success());
    assert!(run.stdout.is_empty());
    assert!(String::from_utf8_lossy(&run.stderr).contains("CPU 100000"));
}

/// The one report of a run with these rows and phases, which ends well.
fn report(rows: &str, phases: &str, more: &[&str]) -> Value {
    let run = remote(&[&["--json", "--rows", rows, "--phases", phases], more].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).expect("one object")
}

fn assert_measured(report: &Value, metrics: &[&str]) {
    for row in report["rows"].as_array().expect("rows") {
        for metric in metrics {
            assert!(row["figures"][metric].as_f64().is_some_and(|figure| figure > 0.0), "{metric} of {row}");
        }
    }
}

#[test]
fn noex_is_measured_with_each_tag_and_across_arbiters() {
    let report = report("noex-blake3,noex-hmac,noex-cross,noex-one,noex-two", "seq,p8,p64", &[]);
    assert_eq!(report["rows"].as_array().unwrap().len(), 5);
    assert_measured(&report, &["RttP50Us", "Calls8PerS", "CpuUsPerCall8", "Calls64PerS"]);
}

#[test]
fn payloads_up_to_8_mib_are_measured_and_pings_beside_them() {
    let report = report("noex", "kib4,kib64,big,mib8,ping", &[]);
    let sizes = ["Kib4MbPerS", "Kib64MbPerS", "Mib1MbPerS", "Mib8MbPerS", "CpuUsPerMib1"];
    assert_measured(&report, &sizes);
    assert_measured(&report, &["PingQuietP99Us", "PingBulkP99Us", "PingBulkMbPerS"]);
}

#[test]
fn digests_are_made_of_large_calls_only() {
    let report = report("sha256", "seq,cast,big", &[]);
    let figures = &report["rows"][0]["figures"];
    assert_eq!(keys(figures), ["CpuUsPerMib1", "Mib1MbPerS"]);
}

#[test]
fn a_gate_prints_what_must_hold_and_fails_on_a_miss() {
    // The same program in two rows: none of the lines of a debug build is sure, but that they are printed is.
    let run = remote(&["--rows", "noex,mux-mp", "--phases", "p64", "--gate"]);
    let text = String::from_utf8(run.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("noex: Calls64PerS x mux-mp")).expect("a line");
    assert!(line.contains(">=     1.000"), "{line}");
    assert!(line.ends_with("PASS") || line.ends_with("MISS"), "{line}");
    // What was left out has not been shown.
    assert!(!run.status.success(), "{text}");
    let line = text.lines().find(|line| line.contains("noex: CastsPerS x mux-mp")).expect("a line");
    assert!(line.ends_with("none  MISS"), "{line}");
}

#[test]
fn a_plot_has_a_bar_for_each_row() {
    let file = std::env::temp_dir().join(format!("noex-bench-{}.svg", std::process::id()));
    report("bare,bare-mp", "seq", &["--plot", file.to_str().unwrap()]);
    let plot = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(plot.contains(">bare<") && plot.contains(">bare-mp<"), "{plot}");
}

#[test]
fn erlang_is_measured_where_it_is_installed() {
    if Command::new("erl").arg("-version").output().is_err() {
        let run = remote(&["--rows", "erlang"]);
        assert!(!run.status.success());
        assert!(String::from_utf8_lossy(&run.stderr).contains("erlang-base"));
        return;
    }
    let report = report("erlang", "seq,p64,cast,big", &[]);
    let figures = ["RttP50Us", "CpuUsPerRtt", "Calls64PerS", "CpuUsPerCall64", "CastsPerS", "Mib1MbPerS"];
    assert_measured(&report, &figures);
    assert_eq!(report["rows"][0]["figures"]["CastsLost"], 0.0);
}

#[test]
fn a_peer_that_is_not_built_says_how_to_build_it() {
    let run = Command::new(env!("CARGO_BIN_EXE_noex-bench"))
        .args(["remote", "--quick", "--rounds", "1", "--rows", "elfo,bare"])
        .env("NOEX_BENCH_PEERS", "/nowhere")
        .output()
        .expect("the program starts");
    assert!(!run.status.success() && run.stdout.is_empty());
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(told.contains("cargo build --release --manifest-path benches/peers/Cargo.toml"), "{told}");
}

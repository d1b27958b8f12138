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
        assert_eq!(keys(row).len(), figures.len() + 3);
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

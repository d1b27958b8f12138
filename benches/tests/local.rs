//! Runs `local` and `idle` as a person or a script does. No time is checked, only that there is one.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_noex-bench")).args(args).output().expect("the program starts")
}

fn quick(processes: &str, args: &[&str]) -> Output {
    let quick = ["local", "--quick", "--rounds", "1", "--processes", processes];
    bench(&[&quick, args].concat())
}

fn report(run: &Output) -> Value {
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    // One object and nothing else.
    serde_json::from_slice(&run.stdout).expect("one object")
}

#[test]
fn json_is_one_object_with_a_row_of_figures_for_each_way_to_run_processes() {
    let report = report(&quick("2000", &["--json"]));
    assert_eq!(report["kind"], "local");
    assert_eq!(report["pinned"], false);
    assert!(report["cores"].as_u64().unwrap() >= 1);
    assert_eq!(report.as_object().unwrap().len(), 4);
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["tokio", "actix", "noex"]);
    for row in rows {
        let figures = [
            "callNs",
            "castNs",
            "spawnNs",
            "bytesPerProcess",
            "callTimeoutNs",
            "largeBurstCastNs",
            "warmSpawnNs",
            "crossCallNs",
            "crossCastNs",
            "quietCallNs",
            "floodCallNs",
            "floodRatio",
        ];
        for figure in figures {
            assert!(row[figure].as_f64().unwrap() > 0.0, "{figure} of {row}");
        }
        assert_eq!(row.as_object().unwrap().len(), figures.len() + 1);
    }
}

#[test]
fn a_choice_of_rows_and_phases_is_kept_and_the_table_has_ratios_to_actix() {
    let chosen = ["--rows", "noex,actix", "--phases", "call,cast"];
    let table = String::from_utf8(quick("2000", &chosen).stdout).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("medians") && !lines[0].contains("flood"), "{table}");
    assert!(lines[1].starts_with("actix ") && lines[2].starts_with("noex "), "{table}");
    assert!(lines[4].starts_with("x actix"), "{table}");
    let json = report(&quick("0", &[&chosen[..], &["--json"]].concat()));
    assert!(json["rows"][0]["callNs"].as_f64().unwrap() > 0.0);
    assert_eq!(json["rows"][0]["bytesPerProcess"], Value::Null);
}

#[test]
fn idle_processes_are_counted_with_their_time_and_memory() {
    let idle = report(&bench(&["idle", "3000", "--json"]));
    assert_eq!((&idle["kind"], idle["processes"].as_u64()), (&"idle".into(), Some(3000)));
    for figure in ["seconds", "nanosPerStart", "rssBytes", "bytesPerProcess"] {
        assert!(idle[figure].as_f64().unwrap() > 0.0, "{figure} of {idle}");
    }
    let text = String::from_utf8(bench(&["idle", "1000"]).stdout).unwrap();
    assert!(text.starts_with("1000 idle processes of noex: started"), "{text}");
}

#[test]
fn a_cpu_that_is_not_there_ends_the_run_without_a_report() {
    let run = quick("0", &["--json", "--pin", "100000"]);
    assert!(!run.status.success() && run.stdout.is_empty());
    assert!(String::from_utf8_lossy(&run.stderr).contains("CPU 100000"));
}

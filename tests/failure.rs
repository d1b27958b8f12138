//! A program whose node fails ends with code 1 and says why, once. It is this program itself, run once more, and does what
//! `examples/node.rs` does.

#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::{
    env,
    process::{Command, ExitCode, Output},
};

use noex::{BoxError, Cluster, ClusterConfig, ClusterEvent, logging};

/// Set in the program that fails: whether its panics end it by the hook as well.
const ROLE: &str = "NOEX_TEST_FAILS";
const PART: &str = "the heartbeat timer";

fn main() -> ExitCode {
    if let Ok(role) = env::var(ROLE) {
        return noex::exit_code(actix_rt::System::new().block_on(fails(role == "hook")));
    }
    a_node_that_fails_is_one_line_and_code_1();
    a_panic_of_noex_ends_a_program_that_wants_it_at_once();
    println!("ok");
    ExitCode::SUCCESS
}

async fn fails(hook: bool) -> Result<(), BoxError> {
    let logging = logging::init(logging::LogFormat::Json);
    if hook {
        logging.end_on_noex_panic();
    } else {
        std::panic::set_hook(Box::new(|_| ()));
    }
    let cluster = Cluster::start(ClusterConfig::test("a").build()?).await?;
    let mut events = cluster.events();
    cluster.sabotage(PART);
    while let Some(event) = events.recv().await {
        if let ClusterEvent::Failed(failure) = event {
            cluster.stop().await;
            return Err(failure.into());
        }
    }
    Ok(())
}

fn run(role: &str) -> Output {
    Command::new(env::current_exe().unwrap()).env(ROLE, role).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn a_node_that_fails_is_one_line_and_code_1() {
    let output = run("node");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stderr), format!("noex itself panicked, in {PART}: sabotage\n"));
    let errors: Vec<_> = text(&output.stdout).lines().filter(|line| line.contains("\"error\"")).collect();
    assert!(matches!(errors[..], [line] if line.contains(PART) && line.contains("sabotage")), "{errors:?}");
}

fn a_panic_of_noex_ends_a_program_that_wants_it_at_once() {
    let output = run("hook");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), ""), "{output:?}");
    let errors: Vec<_> = text(&output.stdout).lines().filter(|line| line.contains("\"error\"")).collect();
    assert!(
        matches!(errors[..], [line] if line.contains("sabotage") && line.contains("vital.rs")),
        "{errors:?}"
    );
}

//! Three nodes as three OS processes, children under a `DistributedSupervisor`, calls without pause, and one SIGKILL.
//!
//! ```text
//! this process ── stdin: requests, stdout: events, one JSON line each ──┬── n1  seed, runs the supervisor
//!                                                                      ├── n2  calls every child, all the time
//!                                                                      └── nk  is killed
//! ```
//!
//! The program starts itself again for each node. It tells what happens as it happens, and exits with 0 only if at the
//! end every child runs exactly once, on a living node (counted in the nodes' process tables, not in the supervisor's),
//! nothing that was alive elsewhere was restarted, and a call to each child is answered. With `--by-hand` whoever watches says which
//! node is killed, and when; every node would have the supervisor then, so that none is needed.
//!
//! | File | Holds |
//! |---|---|
//! | `node` | what a node process does; the counter |
//! | `load` | the calls, and their tally |
//! | `run` | the course of events, from the first process to the last |
//! | `run/by_hand` | the course that is typed |
//! | `members` | the node processes: start, ask, kill |
//! | `facts` | what is known from the events |
//! | `verdict` | whether it went as it must |
//! | `story`, `timeline`, `table` | what a person sees |
//! | `args`, `protocol` | the command line; the lines between the processes |

mod args;
mod facts;
mod load;
mod members;
mod node;
mod protocol;
mod run;
mod story;
mod table;
mod timeline;
mod verdict;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use args::{Asked, HELP};

fn main() -> ExitCode {
    match args::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(plan)) => run::run(&plan),
        Ok(Asked::Node) => node::main(),
        Ok(Asked::Help) => {
            let _ = write!(io::stdout(), "{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "failover: {error}");
            ExitCode::from(2)
        }
    }
}

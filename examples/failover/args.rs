//! The command line.

use std::{fmt, ops::RangeInclusive, time::Duration};

/// What `--help` says.
pub(crate) const HELP: &str = "\
Starts a cluster of OS processes, kills one of them, and shows what becomes of its children.

Usage: failover [--nodes N] [--children N] [--seconds N]
       failover --by-hand [--nodes N] [--children N]

  --nodes N      processes in the cluster, 3 to 8 (default 3); the last one is killed
  --children N   supervised counters, 1 to 1000 (default 12)
  --seconds N    how long calls go on after the kill, 3 to 600 (default 6)
  --by-hand      you kill the nodes, and watch: it says how
  --help         this text

Exits with 0 if at the end every child runs exactly once on a living node and answers, with 1 if not,
and with 2 if an argument is wrong.
";

/// What the program was asked to do.
pub(crate) enum Asked {
    Run(Plan),
    /// To be one of the nodes of another instance of this program.
    Node,
    Help,
}

/// How large the demonstration is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) children: usize,
    /// How long the load goes on after the kill.
    pub(crate) seconds: Duration,
    /// A person, or a script, says what happens.
    pub(crate) by_hand: bool,
}

/// An argument that cannot be used.
#[derive(Debug)]
pub(crate) enum ArgError {
    Unknown(String),
    NoValue(&'static str),
    OutOfRange { option: &'static str, value: String, range: RangeInclusive<u64> },
}

impl fmt::Display for ArgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(argument) => {
                let shown: String = argument.chars().take(80).flat_map(char::escape_debug).collect();
                write!(
                    f,
                    "unknown argument \"{shown}\"; there are --nodes, --children, --seconds, --by-hand and --help"
                )
            }
            Self::NoValue(option) => write!(f, "{option} needs a number after it"),
            Self::OutOfRange { option, value, range } => {
                let shown: String = value.chars().take(80).flat_map(char::escape_debug).collect();
                let (least, most) = range.clone().into_inner();
                write!(f, "{option} is \"{shown}\": must be a whole number from {least} to {most}")
            }
        }
    }
}

/// Reads the arguments, the program's name left out.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Asked, ArgError> {
    let (mut nodes, mut children, mut seconds, mut by_hand) = (3, 12, 6, false);
    let mut args = args.into_iter();
    while let Some(argument) = args.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let (option, target, range) = match name {
            "--nodes" => ("--nodes", &mut nodes, 3..=8),
            "--children" => ("--children", &mut children, 1..=1000),
            "--seconds" => ("--seconds", &mut seconds, 3..=600),
            "--by-hand" if value.is_none() => {
                by_hand = true;
                continue;
            }
            "--help" | "-h" if value.is_none() => return Ok(Asked::Help),
            "--role" if value.as_deref() == Some("node") => return Ok(Asked::Node),
            _ => return Err(ArgError::Unknown(argument)),
        };
        let value = value.or_else(|| args.next()).ok_or(ArgError::NoValue(option))?;
        match value.parse() {
            Ok(number) if range.contains(&number) => *target = number,
            _ => return Err(ArgError::OutOfRange { option, value, range }),
        }
    }
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Asked::Run(Plan {
        nodes: size(nodes),
        children: size(children),
        seconds: Duration::from_secs(seconds),
        by_hand,
    }))
}

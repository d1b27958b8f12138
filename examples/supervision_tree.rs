//! A tree of supervisors on a space station, drawn as it changes.
//!
//! ```text
//! cargo run --example supervision_tree
//! ```
//! Three things break. The radio alone is restarted, because the station is `one_for_one`. The door takes the lamp along, which
//! was started after it, because the airlock is `rest_for_one`; the pump runs on. The laser breaks twice, which is once more than
//! the lab allows itself: the lab ends, and to the station that is the crash of one child, so it starts another lab.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use noex::{Events, prelude::*};

const SECOND: Duration = Duration::from_secs(1);

/// Something on board. It has no state worth mentioning; what comes back after a crash is always a fresh one.
struct Part(String);

#[behavior]
impl Part {
    #[init]
    fn new(name: String) -> Result<Self, ExitReason> {
        println!("      {name} starts");
        Ok(Part(name))
    }
    #[cast]
    fn breaks(&mut self) -> Result<(), ExitReason> {
        Err(ExitReason::error("broken"))
    }
    #[terminate]
    fn bye(&mut self, reason: &ExitReason) {
        println!("      {} ends: {reason}", self.0);
    }
}

fn parts(names: &[&str]) -> Vec<ChildSpec> {
    names.iter().map(|name| ChildSpec::new::<Part>(*name, (*name).to_owned())).collect()
}

/// The tree, as it stands: children start from top to bottom and stop from bottom to top.
fn station() -> SupervisorBuilder {
    let airlock =
        Supervisor::builder().strategy(Strategy::RestForOne).children(parts(&["pump", "door", "lamp"]));
    let lab = Supervisor::builder()
        .strategy(Strategy::OneForAll)
        .restart_intensity(1, 5 * SECOND)
        .children(parts(&["laser", "camera"]));
    Supervisor::builder().children(parts(&["radio"])).supervisor("airlock", airlock).supervisor("lab", lab)
}

#[actix::main]
async fn main() -> ExitCode {
    noex::exit_code(mission().await)
}

async fn mission() -> Result<(), noex::BoxError> {
    let node = Node::start().await?;
    println!("  the station is built");
    let station = station().start(&node).await?;
    let mut picture = Picture::default();
    picture.draw(&station).await?;

    println!("\n  the radio breaks");
    let mut events = station.events();
    station.child::<Part>("radio").await?.breaks()?;
    restarted(&mut events, "radio").await?;
    picture.draw(&station).await?;

    println!("\n  the door breaks");
    let airlock = station.supervisor("airlock").await?;
    let mut inside = airlock.events();
    airlock.child::<Part>("door").await?.breaks()?;
    restarted(&mut inside, "lamp").await?;
    picture.draw(&station).await?;

    println!("\n  the laser breaks: the lab bears that once in 5 s");
    let lab = station.supervisor("lab").await?;
    let mut inside = lab.events();
    lab.child::<Part>("laser").await?.breaks()?;
    restarted(&mut inside, "camera").await?;
    picture.draw(&station).await?;

    println!("\n  and again: too much for the lab, but not for the station");
    lab.child::<Part>("laser").await?.breaks()?;
    restarted(&mut events, "lab").await?;
    println!("      (the lab had ended: {})", lab.wait().await);
    picture.draw(&station).await?;

    let lives =
        ["radio", "airlock", "pump", "door", "lamp", "lab", "laser", "camera"].map(|id| picture.life(id));
    println!("\n  the station is given up");
    station.stop().await?;
    println!("  {} processes are left", node.process_count());
    if lives != [2, 1, 1, 2, 2, 2, 3, 3] || node.process_count() > 0 {
        return Err(format!("that is not the station we know: {lives:?}").into());
    }
    node.stop().await;
    Ok(())
}

/// Waits until another instance of that child runs.
async fn restarted(events: &mut Events<SupervisorEvent>, child: &str) -> Result<(), noex::BoxError> {
    let told = async {
        while let Some(event) = events.recv().await {
            match event {
                SupervisorEvent::ChildRestarted { child_id, .. } if child_id == child => return Ok(()),
                _ => {}
            }
        }
        Err(format!("nobody will restart the {child} any more").into())
    };
    tokio::time::timeout(5 * SECOND, told).await?
}

/// Remembers which instance of each child it saw, to tell what is new.
#[derive(Default)]
struct Picture(BTreeMap<String, (Pid, u32)>);

impl Picture {
    fn life(&self, id: &str) -> u32 {
        self.0.get(id).map_or(0, |(_, life)| *life)
    }

    async fn draw(&mut self, station: &Supervisor) -> Result<(), noex::BoxError> {
        println!("\n    station         {}", station.stats().await?.strategy);
        let children = station.children().await?;
        for (at, child) in children.iter().enumerate() {
            let last = at + 1 == children.len();
            let (branch, trunk) = if last { ("└──", "   ") } else { ("├──", "│  ") };
            let inner = station.supervisor(&child.id).await.ok();
            let strategy = match &inner {
                Some(inner) => inner.stats().await?.strategy.to_string(),
                None => String::new(),
            };
            self.line(branch, child, &strategy);
            let Some(inner) = inner else { continue };
            let leaves = inner.children().await?;
            for (at, leaf) in leaves.iter().enumerate() {
                let branch = if at + 1 == leaves.len() { "└──" } else { "├──" };
                self.line(&format!("{trunk} {branch}"), leaf, "");
            }
        }
        Ok(())
    }

    fn line(&mut self, branch: &str, child: &ChildInfo, strategy: &str) {
        let Some(pid) = child.pid.clone() else {
            return println!("    {branch} {} ({})", child.id, child.state);
        };
        let (seen, life) = self.0.entry(child.id.clone()).or_insert((pid.clone(), 1));
        let fresh = if *seen == pid { "" } else { "  ← new" };
        *life += u32::from(*seen != pid);
        *seen = pid;
        println!("    {:<15} {strategy:<13} life {life}{fresh}", format!("{branch} {}", child.id));
    }
}

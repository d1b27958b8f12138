//! A carillon: an application that plays one tune and then ends, or earlier at Ctrl-C.
//!
//! ```text
//! cargo run --example application
//! ```
//! The ringer finds each bell by its note in a registry. A bell that cracks takes its entry with it, and the supervisor hangs
//! another under the same note. After the last stroke the ringer asks the application to stop; when no process is
//! left, the application says good night.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{process::ExitCode, time::Duration};

use noex::prelude::*;

/// Deepest first: it is where a note stands on the line.
const NOTES: [&str; 4] = ["B", "E", "F♯", "G♯"];
/// The Westminster quarters; a dash is a rest.
const TUNE: &str = "G♯ F♯ E B - E G♯ F♯ B - E F♯ G♯ E - G♯ E F♯ B -";
const BEAT: Duration = Duration::from_millis(150);
/// How many strokes a bell of this foundry takes.
const STROKES: u32 = 4;

type Bells = UniqueRegistry<Bell>;

struct Bell(u32);

#[behavior]
impl Bell {
    #[init]
    fn new(bells: Bells, note: String, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        bells.register(&note, cx.me(), ())?;
        Ok(Bell(0))
    }
    /// Whether it survived.
    #[call]
    fn strike(&mut self, cx: &mut Context<Self>) -> bool {
        self.0 += 1;
        if self.0 == STROKES {
            cx.stop(ExitReason::error("cracked"));
        }
        self.0 < STROKES
    }
}

struct Ringer {
    bells: Bells,
    next: std::str::Split<'static, char>,
}

#[behavior]
impl Ringer {
    #[init]
    fn new(bells: Bells, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.continue_with(());
        Ok(Ringer { bells, next: TUNE.split(' ') })
    }
    #[continued]
    async fn ring(&mut self, (): (), cx: &mut Context<Self>) {
        actix::clock::sleep(BEAT).await;
        let Some(note) = self.next.next() else {
            println!("  the tune is over");
            return AppHandle::of(cx.node()).iter().for_each(AppHandle::stop);
        };
        if let Some(at) = NOTES.iter().position(|held| *held == note) {
            let (indent, bell) = (4 + 8 * at, self.bells.via(note));
            match bell.strike().await {
                Ok(true) => println!("{:indent$}● {note}", ""),
                Ok(false) => println!("{:indent$}✗ {note}   cracked: another is hung", ""),
                Err(error) => println!("{:indent$}  {note}   {error}", ""),
            }
        } else {
            println!();
        }
        cx.continue_with(());
    }
}

struct Carillon {
    bells: Bells,
}

impl Application for Carillon {
    type Config = &'static str;

    async fn start(tower: &'static str, node: &Node) -> Result<Self, ExitReason> {
        let bells = Bells::new(node);
        let hung = NOTES.map(|note| ChildSpec::new::<Bell>(note, (bells.clone(), note.to_owned())));
        Supervisor::builder()
            .children(hung)
            .child(ChildSpec::new::<Ringer>("ringer", bells.clone()))
            .start(node)
            .await?;
        println!("  {tower}: {} bells hang", bells.len());
        Ok(Carillon { bells })
    }
    async fn prep_stop(&mut self) {
        println!("  {} bells fall silent", self.bells.len());
    }
    async fn stop(self) {
        println!("  good night, with {} bells left", self.bells.len());
    }
}

#[actix::main]
async fn main() -> ExitCode {
    noex::exit_code(carillon().await)
}

async fn carillon() -> Result<(), noex::BoxError> {
    let node = Node::start().await?;
    Ok(noex::run::<Carillon>("the tower", &node).await?)
}

//! What `#[info]`, `#[continued]`, `#[terminate]` and `#[options]` take.
use noex_actors::{Context, ExitReason, Info, SpawnOptions, behavior};

struct Shapes;

#[behavior]
impl Shapes {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Shapes)
    }
    #[info]
    fn info(&mut self, tick: u8) {
        let _ = tick;
    }
    #[continued]
    fn continued(&mut self, cx: &mut Context<Self>) {
        let _ = cx;
    }
    #[terminate]
    fn terminate(&mut self, reason: ExitReason) {
        drop(reason);
    }
    #[options]
    async fn options(name: String) -> SpawnOptions {
        SpawnOptions::new().name(name)
    }
}

struct Differ;

#[behavior]
impl Differ {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Differ)
    }
    #[info]
    fn info(&mut self, info: Info<u8>) {
        drop(info);
    }
    #[continued]
    fn continued(&mut self, next: u16) {
        let _ = next;
    }
}

struct Unused;

#[behavior]
impl Unused {
    #[init]
    fn new() -> Result<Self, ExitReason> {
        Ok(Unused)
    }
    #[info]
    fn info(&mut self, info: Info) {
        drop(info);
    }
    #[continued]
    fn continued(&mut self, next: u16) {
        let _ = next;
    }
}

fn main() {}

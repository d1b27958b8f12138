//! Processes that are parts of noex, as supervisors are: a panic of one stops its node, a panic of any other does not.

#![allow(clippy::panic, reason = "processes that must panic")]

use std::time::Duration;

use noex_actors::{Context, ExitReason, Node, Ref, SpawnOptions, StartError, behavior};

/// Panics where it is told to.
struct Bomb(bool);

#[behavior]
impl Bomb {
    #[init]
    fn new(in_init: bool, in_terminate: bool) -> Result<Self, ExitReason> {
        assert!(!in_init, "in init");
        Ok(Bomb(in_terminate))
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
    #[cast]
    fn leave(&mut self, cx: &mut Context<Self>) {
        cx.stop(ExitReason::error("its own reason"));
    }
    #[terminate]
    fn bye(&mut self, _reason: &ExitReason) {
        assert!(!self.0, "in terminate");
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes within 20 s")
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Init,
    Cast,
    Terminate,
}

/// One panics beside another process. What its node says of it.
async fn panics(at: Where, options: SpawnOptions) -> (Node, Ref<Bomb>, Option<String>) {
    let node = Node::builder().arbiters(1).start().await.expect("a node");
    let other = node.spawn::<Bomb>((false, false)).await.expect("it starts");
    let args = (at == Where::Init, at == Where::Terminate);
    match node.spawn::<Bomb>(args).options(options).await {
        Ok(bomb) => {
            let monitor = bomb.monitor();
            if at == Where::Cast { bomb.explode() } else { bomb.leave() }.expect("it is told");
            soon(monitor).await;
        }
        Err(error) => assert!(at == Where::Init && matches!(error, StartError::Init(_)), "{error}"),
    }
    let failure = node.failure().map(ToString::to_string);
    (node, other, failure)
}

#[actix_rt::test]
async fn a_panic_of_a_part_of_noex_stops_its_node() {
    for (at, text) in [(Where::Init, "in init"), (Where::Cast, "boom"), (Where::Terminate, "in terminate")] {
        let (node, other, failure) = panics(at, SpawnOptions::new().vital()).await;
        assert_eq!(failure, Some(format!("noex itself panicked, in Bomb: {text}")), "{at:?}");
        assert_eq!(soon(other.monitor()).await.pid, *other.pid());
        assert!(matches!(node.spawn::<Bomb>((false, false)).await, Err(StartError::NotRunning)));
        soon(node.stop()).await;
        assert_eq!(node.process_count(), 0, "{at:?}");
    }
}

#[actix_rt::test]
async fn a_panic_of_any_other_process_stops_nothing_else() {
    for at in [Where::Init, Where::Cast, Where::Terminate] {
        let (node, other, failure) = panics(at, SpawnOptions::new()).await;
        assert_eq!(failure, None, "{at:?}");
        assert!(soon(other.is_alive()).await.expect("it answers"));
        node.stop().await;
    }
}

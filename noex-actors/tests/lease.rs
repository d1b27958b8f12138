//! An instance whose lease is over takes no further message, whoever has looked at it or not.

use std::time::Duration;

use noex_actors::{
    __private::LeaseTerms, CallError, Context, ExitReason, FencingToken, Generation, Info, Node,
    SpawnOptions, behavior,
};
use tokio::sync::mpsc;

/// Tells of each message that it handles.
struct Worker(mpsc::UnboundedSender<u32>);

#[behavior]
impl Worker {
    #[init]
    fn new(handled: mpsc::UnboundedSender<u32>, _cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Worker(handled))
    }
    #[call]
    fn work(&mut self, n: u32) {
        let _ = self.0.send(n);
    }
    #[cast]
    fn note(&mut self, n: u32) {
        let _ = self.0.send(n);
    }
}

#[actix_rt::test]
async fn an_instance_whose_lease_is_over_takes_no_further_message() -> Result<(), Box<dyn std::error::Error>>
{
    let node = Node::start().await?;
    let (tell, mut handled) = mpsc::unbounded_channel();
    let terms = LeaseTerms { grace_ms: 60_000, supervisor: Some("s".to_owned()), ..LeaseTerms::default() };
    let options =
        SpawnOptions::new().fencing_token(FencingToken::new("s", "c", Generation(1))).lease(terms.clone());
    let worker = node.spawn::<Worker>(tell.clone()).options(options).await?;
    worker.work(1).await?;
    assert_eq!(handled.recv().await, Some(1), "as long as it has time");
    let brief = LeaseTerms { grace_ms: 0, ..terms };
    let options = SpawnOptions::new().fencing_token(FencingToken::new("s", "c", Generation(2))).lease(brief);
    let orphan = node.spawn::<Worker>(tell).options(options).await?;
    let mut over = 0;
    node.for_each_lease(|any, _, lease| {
        over += u32::from(any.pid() == orphan.pid() && lease.over().is_some());
    });
    assert_eq!(over, 1, "it has no time");
    let _ = orphan.note(2);
    let refused = orphan.work(3).await;
    assert!(matches!(&refused, Err(CallError::Exited { .. } | CallError::NoProc(_))), "{refused:?}");
    let down = orphan.monitor().await;
    assert!(matches!(down.reason, ExitReason::Error(_) | ExitReason::NoProc), "{down:?}");
    worker.work(4).await?;
    assert_eq!(handled.recv().await, Some(4), "neither 2 nor 3 was handled");
    node.stop().await;
    Ok(())
}

/// Works without a message: whenever there was none for a while, or in steps of its own.
struct Busy(mpsc::UnboundedSender<String>);

#[behavior]
impl Busy {
    #[init]
    fn new(
        steps: bool,
        told: mpsc::UnboundedSender<String>,
        cx: &mut Context<Self>,
    ) -> Result<Self, ExitReason> {
        if steps {
            cx.continue_with(());
        } else {
            cx.set_idle_timeout(Some(Duration::from_millis(1)));
        }
        Ok(Busy(told))
    }
    #[continued]
    fn step(&mut self, (): (), cx: &mut Context<Self>) {
        let _ = self.0.send("step".to_owned());
        cx.continue_with(());
    }
    #[info]
    fn idle(&mut self, info: Info<()>) {
        let _ = self.0.send(info.kind().to_owned());
    }
}

#[actix_rt::test]
async fn nor_does_it_go_on_by_itself() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::start().await?;
    for steps in [true, false] {
        let terms = LeaseTerms { grace_ms: 0, supervisor: Some("s".to_owned()), ..LeaseTerms::default() };
        let options =
            SpawnOptions::new().fencing_token(FencingToken::new("s", "c", Generation(1))).lease(terms);
        let (tell, mut told) = mpsc::unbounded_channel();
        let orphan = node.spawn::<Busy>((steps, tell)).options(options).await?;
        let down = actix_rt::time::timeout(Duration::from_secs(10), orphan.monitor()).await?;
        assert!(matches!(down.reason, ExitReason::Error(_) | ExitReason::NoProc), "{down:?}");
        assert_eq!(told.recv().await, None, "it did nothing");
    }
    node.stop().await;
    Ok(())
}

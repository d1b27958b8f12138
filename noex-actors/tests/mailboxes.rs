//! What a full mailbox does, by policy; and what is exempt from its bound.

#![allow(clippy::panic, reason = "tests")]

use std::time::Duration;

use noex_actors::{
    CallError, CastError, Context, Delivery, ExitReason, Info, MailboxPolicy, Node, Overload, Ref,
    SpawnOptions, behavior, trace::TraceContext,
};
use tokio::sync::{mpsc, oneshot};

type Res = Result<(), Box<dyn std::error::Error>>;
type Log = mpsc::UnboundedSender<u32>;

/// Logs what it handles; `close` makes it wait until its gate opens.
struct Sink {
    log: Log,
}

#[behavior]
impl Sink {
    #[init]
    fn new(log: Log) -> Result<Self, ExitReason> {
        Ok(Sink { log })
    }
    #[cast]
    async fn close(&mut self, closed: oneshot::Sender<()>, open: oneshot::Receiver<()>) {
        let _ = closed.send(());
        let _ = open.await;
    }
    #[cast]
    fn note(&mut self, n: u32) {
        let _ = self.log.send(n);
    }
    #[call]
    fn ask(&mut self, n: u32) -> u32 {
        let _ = self.log.send(n);
        n
    }
    #[info]
    fn info(&mut self, info: Info<u32>) {
        if let Info::User(n) = info {
            let _ = self.log.send(n);
        }
    }
    #[call]
    fn remind(&mut self, n: u32, cx: &mut Context<Self>) {
        let notifier = cx.notifier();
        actix_rt::spawn(async move { notifier.notify(n) });
    }
}

/// A process whose gate is closed, with room for two.
async fn closed(
    node: &Node,
    policy: MailboxPolicy,
) -> (Ref<Sink>, oneshot::Sender<()>, mpsc::UnboundedReceiver<u32>) {
    let (log, seen) = mpsc::unbounded_channel();
    let options = SpawnOptions::new().mailbox(policy, 2);
    let sink = node.spawn::<Sink>(log).options(options).await.expect("a process");
    let ((tell, is_closed), (open, gate)) = (oneshot::channel(), oneshot::channel());
    sink.close(tell, gate).expect("room for one");
    is_closed.await.expect("the gate closes");
    (sink, open, seen)
}

/// Opens the gate, stops the process behind what it has, and tells what it handled.
async fn handled(
    sink: &Ref<Sink>,
    open: oneshot::Sender<()>,
    mut seen: mpsc::UnboundedReceiver<u32>,
) -> Vec<u32> {
    let stop = sink.stop(ExitReason::Normal);
    let _ = open.send(());
    stop.await.expect("it stops");
    let mut all = Vec::new();
    while let Some(n) = seen.recv().await {
        all.push(n);
    }
    all
}

const FULL: CastError = CastError::Overloaded(Overload::Mailbox);

fn is_full<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> bool {
    matches!(&outcome, Err(error @ CallError::Overloaded(Overload::Mailbox)) if error.delivery() == Delivery::Never)
}

#[actix_rt::test]
async fn reject_refuses_what_is_too_much_and_counts_it() -> Res {
    let node = Node::start().await?;
    let (sink, open, seen) = closed(&node, MailboxPolicy::Reject).await;
    sink.note(1)?;
    sink.note(2)?;
    let unsent = sink.try_cast(SinkCast::Note { n: 3 }).err().ok_or("it is full")?;
    assert!(matches!(unsent.message, SinkCast::Note { n: 3 }), "the message comes back");
    assert_eq!(unsent.error, FULL);
    assert!(is_full(sink.ask(4).await));
    let info = node.process(sink.pid()).ok_or("it lives")?;
    assert_eq!((info.mailbox_len, info.mailbox_high_water, info.dropped, info.message_count), (2, 2, 2, 1));
    assert_eq!(handled(&sink, open, seen).await, [1, 2]);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn drop_newest_takes_casts_without_a_word_and_fails_calls() -> Res {
    let node = Node::start().await?;
    let (sink, open, seen) = closed(&node, MailboxPolicy::DropNewest).await;
    for n in 1..=5 {
        sink.note(n)?;
    }
    assert!(is_full(sink.ask(6).await));
    sink.cast_wait(SinkCast::Note { n: 7 }).await?;
    assert_eq!(node.process(sink.pid()).map(|info| (info.mailbox_len, info.dropped)), Some((2, 5)));
    assert_eq!(handled(&sink, open, seen).await, [1, 2]);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn drop_oldest_keeps_the_latest_and_tells_the_callers_it_drops() -> Res {
    let node = Node::start().await?;
    let (sink, open, seen) = closed(&node, MailboxPolicy::DropOldest).await;
    let asker = sink.clone();
    let asked = actix_rt::spawn(async move { asker.ask(1).await });
    while node.process(sink.pid()).is_some_and(|info| info.mailbox_len == 0) {
        tokio::task::yield_now().await;
    }
    for n in 2..=5 {
        sink.note(n)?;
    }
    assert!(is_full(asked.await?), "the oldest was a call: its caller hears of it at once");
    assert_eq!(node.process(sink.pid()).map(|info| (info.mailbox_len, info.dropped)), Some((2, 3)));
    assert_eq!(handled(&sink, open, seen).await, [4, 5]);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn block_makes_calls_and_cast_wait_wait_in_turn_and_refuses_casts() -> Res {
    let node = Node::start().await?;
    let (sink, open, seen) = closed(&node, MailboxPolicy::Block).await;
    sink.note(1)?;
    sink.note(2)?;
    assert_eq!(sink.note(99), Err(FULL));
    let mut waiting = Vec::new();
    for n in 3..=6 {
        let sink = sink.clone();
        waiting.push(actix_rt::spawn(async move {
            if n % 2 == 0 {
                sink.cast_wait(SinkCast::Note { n }).await.map_err(CallError::from)
            } else {
                sink.ask(n).await.map(drop)
            }
        }));
        tokio::task::yield_now().await;
    }
    assert_eq!(node.process(sink.pid()).map(|info| info.mailbox_len), Some(2));
    let _ = open.send(());
    for waiting in waiting {
        waiting.await??;
    }
    assert_eq!(handled(&sink, oneshot::channel().0, seen).await, [1, 2, 3, 4, 5, 6]);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_call_that_waits_for_room_keeps_its_deadline_and_passes_its_turn_on() -> Res {
    let node = Node::start().await?;
    let (sink, open, seen) = closed(&node, MailboxPolicy::Block).await;
    sink.note(1)?;
    sink.note(2)?;
    let short = sink.ask(3).timeout(Duration::from_millis(20)).await;
    assert!(matches!(&short, Err(error @ CallError::Timeout { .. }) if error.delivery() == Delivery::Never));
    let (given_up, patient) = (sink.clone(), sink.clone());
    let given_up = actix_rt::spawn(async move { given_up.ask(4).await });
    tokio::task::yield_now().await;
    let patient = actix_rt::spawn(async move { patient.ask(5).await });
    tokio::task::yield_now().await;
    given_up.abort();
    let _ = given_up.await;
    let _ = open.send(());
    assert_eq!(patient.await??, 5);
    assert_eq!(handled(&sink, oneshot::channel().0, seen).await, [1, 2, 5]);
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn whoever_waits_for_room_hears_of_the_end() -> Res {
    let node = Node::start().await?;
    let (sink, _open, _seen) = closed(&node, MailboxPolicy::Block).await;
    sink.note(1)?;
    sink.note(2)?;
    let (caller, caster) = (sink.clone(), sink.clone());
    let call = actix_rt::spawn(async move { caller.ask(3).await });
    let cast = actix_rt::spawn(async move { caster.cast_wait(SinkCast::Note { n: 4 }).await });
    tokio::task::yield_now().await;
    sink.kill();
    assert!(matches!(call.await?, Err(CallError::NoProc(_))));
    assert!(matches!(cast.await?, Err(CastError::NoProc(_))));
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn infos_and_stops_find_room_in_a_full_mailbox() -> Res {
    let node = Node::start().await?;
    let (log, seen) = mpsc::unbounded_channel();
    let options = SpawnOptions::new().mailbox(MailboxPolicy::Reject, 1);
    let sink = node.spawn::<Sink>(log).options(options).await?;
    for n in [1, 2, 3] {
        sink.remind(n).await?;
    }
    assert_eq!(sink.ask(4).await?, 4);
    let (open, gate) = oneshot::channel();
    let (tell, is_closed) = oneshot::channel();
    sink.close(tell, gate)?;
    is_closed.await?;
    sink.note(5)?;
    assert_eq!(sink.note(6), Err(FULL));
    let mut all = handled(&sink, open, seen).await;
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4, 5]);
    node.stop().await;
    Ok(())
}

/// Many who wait, few places, from several arbiters: everything arrives, once, and nobody waits for ever.
#[actix_rt::test]
async fn nobody_is_forgotten_in_the_line() -> Res {
    let node = Node::builder().arbiters(2).start().await?;
    let (log, mut seen) = mpsc::unbounded_channel();
    let options =
        SpawnOptions::new().mailbox(MailboxPolicy::Block, 3).placement(noex_actors::Placement::Pinned(0));
    let sink = node.spawn::<Sink>(log).options(options).await?;
    let senders = (0..20_u32).map(|sender| {
        let sink = sink.clone();
        let (done, is_done) = oneshot::channel();
        node.next_arbiter().spawn(async move {
            for n in 0..200 {
                let n = sender * 1000 + n;
                if n % 3 == 0 {
                    sink.ask(n).timeout(Duration::from_secs(60)).await.expect("answered");
                } else {
                    sink.cast_wait(SinkCast::Note { n }).await.expect("sent");
                }
            }
            let _ = done.send(());
        });
        is_done
    });
    for done in futures_util::future::join_all(senders).await {
        done?;
    }
    sink.stop(ExitReason::Normal).await?;
    let mut all = Vec::new();
    while let Some(n) = seen.recv().await {
        all.push(n);
    }
    for sender in 0..20_u32 {
        let own: Vec<u32> = all.iter().copied().filter(|n| n / 1000 == sender).collect();
        assert_eq!(own, (0..200).map(|n| sender * 1000 + n).collect::<Vec<_>>(), "in order, each once");
    }
    node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn what_belongs_to_a_trace_has_the_same_bounds() -> Res {
    let context = TraceContext::new(1, 2, 1)?;
    let node = Node::start().await?;
    let traced = async {
        let (sink, open, seen) = closed(&node, MailboxPolicy::Reject).await;
        sink.note(1)?;
        sink.note(2)?;
        let unsent = sink.try_cast(SinkCast::Note { n: 3 }).err().ok_or("it is full")?;
        assert!(matches!(unsent.message, SinkCast::Note { n: 3 }), "the message comes back");
        assert!(is_full(sink.ask(4).await));
        assert_eq!(handled(&sink, open, seen).await, [1, 2]);
        assert!(matches!(sink.note(5), Err(CastError::NoProc(_))));
        assert!(matches!(sink.ask(5).await, Err(CallError::NoProc(_))));

        let (sink, open, seen) = closed(&node, MailboxPolicy::DropNewest).await;
        for n in 1..=3 {
            sink.note(n)?;
        }
        assert!(is_full(sink.ask(6).await), "a call is not dropped without a word");
        assert_eq!(handled(&sink, open, seen).await, [1, 2]);

        let (sink, open, seen) = closed(&node, MailboxPolicy::DropOldest).await;
        let asker = sink.clone();
        let asked = actix_rt::spawn(context.clone().scope(async move { asker.ask(1).await }));
        while node.process(sink.pid()).is_some_and(|info| info.mailbox_len == 0) {
            tokio::task::yield_now().await;
        }
        for n in 2..=4 {
            sink.note(n)?;
        }
        assert!(is_full(asked.await?), "its caller hears of it");
        assert_eq!(handled(&sink, open, seen).await, [3, 4]);

        let (sink, open, seen) = closed(&node, MailboxPolicy::Block).await;
        sink.note(1)?;
        sink.note(2)?;
        let asker = sink.clone();
        let asked = actix_rt::spawn(context.clone().scope(async move { asker.ask(3).await }));
        let late = sink.ask(4).timeout(Duration::from_millis(1)).await;
        assert!(matches!(late, Err(CallError::Timeout { .. })), "{late:?}");
        let _ = open.send(());
        assert_eq!(asked.await??, 3, "it waited for room");
        drop(seen);
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    context.clone().scope(traced).await?;
    node.stop().await;
    Ok(())
}

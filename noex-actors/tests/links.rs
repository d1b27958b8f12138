//! Links, exit signals and trapping, between real processes: OTP's table, driven.

#![allow(clippy::panic, reason = "tests, and processes that must panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use noex_actors::{
    CallError, Context, Down, Exit, ExitReason, Info, Node, Pid, Placement, ProcessEvent, Ref, SpawnOptions,
    StartError, behavior,
};
use tokio::sync::mpsc;

type Res = Result<(), Box<dyn std::error::Error>>;
type Seen = mpsc::UnboundedSender<Told>;

/// What a process lets its test know.
#[derive(Debug, PartialEq)]
enum Told {
    Exit(Pid, ExitReason),
    Down(ExitReason),
    Cast(u32),
    Terminated(ExitReason),
}

/// Tells what reaches it.
struct Member {
    tell: Seen,
}

#[behavior]
impl Member {
    #[init]
    fn new(tell: Seen) -> Result<Self, ExitReason> {
        Ok(Member { tell })
    }
    #[cast]
    fn note(&mut self, n: u32) {
        let _ = self.tell.send(Told::Cast(n));
    }
    #[cast]
    fn leave(&mut self, reason: ExitReason, cx: &mut Context<Self>) {
        cx.stop(reason);
    }
    #[cast]
    fn explode(&mut self) {
        panic!("boom");
    }
    #[cast]
    async fn hang(&mut self) {
        std::future::pending::<()>().await;
    }
    #[call]
    fn tie(&mut self, to: Pid, cx: &mut Context<Self>) -> bool {
        let me = cx.pid().clone();
        let link = cx.link(&to);
        link.ends() == (&me, &to)
    }
    #[call]
    fn untie(&mut self, from: Pid, cx: &mut Context<Self>) {
        cx.unlink(&from);
    }
    #[call]
    fn watch(&mut self, pid: Pid, cx: &mut Context<Self>) {
        cx.monitor(&pid);
    }
    #[call]
    fn trap(&mut self, on: bool, cx: &mut Context<Self>) {
        if on { cx.trap_exit() } else { cx.untrap_exit() }
    }
    #[call]
    fn signal(&mut self, to: Pid, reason: ExitReason, cx: &mut Context<Self>) {
        cx.exit(&to, reason);
    }
    #[call]
    async fn child(
        &mut self,
        fails: bool,
        tell: Seen,
        cx: &mut Context<Self>,
    ) -> Result<Ref<Child>, StartError> {
        cx.spawn_link::<Child>((fails, tell)).await
    }
    #[info]
    fn info(&mut self, info: Info) {
        let _ = match info {
            Info::Exit(Exit { from, reason, .. }) => self.tell.send(Told::Exit(from, reason)),
            Info::Down(Down { reason, .. }) => self.tell.send(Told::Down(reason)),
            other => panic!("{other:?}"),
        };
    }
    #[terminate]
    fn bye(&mut self, reason: &ExitReason) {
        let _ = self.tell.send(Told::Terminated(reason.clone()));
    }
}

struct Child(Seen);

#[behavior]
impl Child {
    #[init]
    fn new(fails: bool, tell: Seen, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit();
        if fails { Err(ExitReason::error("no")) } else { Ok(Child(tell)) }
    }
    #[terminate]
    fn bye(&mut self, reason: &ExitReason) {
        let _ = self.0.send(Told::Terminated(reason.clone()));
    }
}

struct Lab {
    node: Node,
}

impl Lab {
    async fn new() -> Lab {
        Lab { node: Node::builder().arbiters(2).start().await.expect("a node") }
    }
    async fn member(&self, trapping: bool) -> (Ref<Member>, mpsc::UnboundedReceiver<Told>) {
        let (tell, told) = mpsc::unbounded_channel();
        let options = SpawnOptions::new().placement(Placement::RoundRobin);
        let options = if trapping { options.trap_exit() } else { options };
        (self.node.spawn::<Member>(tell).options(options).await.expect("a member"), told)
    }
}

async fn next(told: &mut mpsc::UnboundedReceiver<Told>) -> Option<Told> {
    tokio::time::timeout(Duration::from_secs(10), told.recv()).await.expect("told within 10 s")
}

fn reasons() -> [ExitReason; 3] {
    [ExitReason::Shutdown, ExitReason::error("broken"), ExitReason::Normal]
}

#[actix_rt::test]
async fn an_abnormal_end_takes_a_linked_process_along_and_a_normal_one_does_not() -> Res {
    let lab = Lab::new().await;
    for reason in reasons() {
        let ((a, _), (b, mut b_told)) = (lab.member(false).await, lab.member(false).await);
        assert!(a.tie(b.pid().clone()).await?);
        let down = b.monitor();
        a.leave(reason.clone())?;
        a.monitor().await;
        if reason == ExitReason::Normal {
            b.note(1)?;
            assert_eq!(next(&mut b_told).await, Some(Told::Cast(1)), "it lives");
            assert_eq!(
                lab.node.process(b.pid()).map(|info| info.links),
                Some(0),
                "and is not linked any more"
            );
        } else {
            assert_eq!(down.await.reason, reason);
            assert_eq!(next(&mut b_told).await, Some(Told::Terminated(reason)), "its terminate ran");
        }
    }
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn whoever_traps_gets_a_message_for_every_reason_in_order_with_its_messages() -> Res {
    let lab = Lab::new().await;
    for reason in reasons() {
        let ((a, _), (b, mut told)) = (lab.member(false).await, lab.member(true).await);
        a.tie(b.pid().clone()).await?;
        b.note(1)?;
        a.leave(reason.clone())?;
        a.monitor().await;
        b.note(2)?;
        let got = [next(&mut told).await, next(&mut told).await, next(&mut told).await];
        let expected = [Told::Cast(1), Told::Exit(a.pid().clone(), reason), Told::Cast(2)];
        assert_eq!(got, expected.map(Some));
    }
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_chain_falls_from_any_place_and_stops_at_who_traps() -> Res {
    let lab = Lab::new().await;
    let mut members = Vec::new();
    for n in 0..9 {
        members.push(lab.member(n == 6).await);
    }
    for pair in members.windows(2) {
        pair[0].0.tie(pair[1].0.pid().clone()).await?;
    }
    let downs: Vec<_> = members.iter().map(|(member, _)| member.monitor()).collect();
    members[3].0.explode()?;
    for (n, down) in downs.into_iter().enumerate() {
        if n < 6 {
            assert_eq!(down.await.reason, ExitReason::Panic("boom".into()), "member {n}");
        }
    }
    let from = members[5].0.pid().clone();
    let trapped = next(&mut members[6].1).await;
    assert_eq!(trapped, Some(Told::Exit(from, ExitReason::Panic("boom".into()))));
    assert_eq!(lab.node.process_count(), 3);
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_kill_is_never_trapped_but_the_killed_reason_of_a_link_is() -> Res {
    let lab = Lab::new().await;
    let ((a, mut a_told), (b, mut told)) = (lab.member(true).await, lab.member(true).await);
    a.tie(b.pid().clone()).await?;
    b.signal(a.pid().clone(), ExitReason::Killed).await?;
    assert_eq!(next(&mut told).await, Some(Told::Exit(a.pid().clone(), ExitReason::Killed)));
    assert_eq!(next(&mut a_told).await, None, "nothing of it ran any more: no terminate");
    // Not trapping, the same reason ends it.
    let (c, _) = lab.member(false).await;
    let (d, _) = lab.member(false).await;
    c.tie(d.pid().clone()).await?;
    let down = d.monitor();
    c.kill();
    assert_eq!(down.await.reason, ExitReason::Killed);
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn exit_signals_by_hand_follow_the_table() -> Res {
    let lab = Lab::new().await;
    let (sender, _) = lab.member(false).await;
    for reason in reasons() {
        let (plain, mut plain_told) = lab.member(false).await;
        let (trapping, mut told) = lab.member(true).await;
        let down = plain.monitor();
        sender.signal(plain.pid().clone(), reason.clone()).await?;
        sender.signal(trapping.pid().clone(), reason.clone()).await?;
        assert_eq!(next(&mut told).await, Some(Told::Exit(sender.pid().clone(), reason.clone())));
        if reason == ExitReason::Normal {
            plain.note(7)?;
            assert_eq!(next(&mut plain_told).await, Some(Told::Cast(7)), "normal ends nobody else");
            plain.signal(plain.pid().clone(), ExitReason::Normal).await.ok();
            assert_eq!(down.await.reason, ExitReason::Normal, "but whoever sends it to itself");
        } else {
            assert_eq!(down.await.reason, reason);
        }
    }
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn an_exit_signal_interrupts_a_handler_and_passes_by_the_queue() -> Res {
    let lab = Lab::new().await;
    let (a, mut told) = lab.member(false).await;
    a.hang()?;
    a.note(1)?;
    let queued = a.trap(true);
    lab.node.exit(&a, ExitReason::error("enough"));
    let down = a.monitor().await;
    assert!(matches!(down.reason, ExitReason::Error(_) | ExitReason::NoProc));
    assert_eq!(next(&mut told).await, Some(Told::Terminated(ExitReason::error("enough"))));
    assert_eq!(next(&mut told).await, None, "what was queued did not run");
    assert!(matches!(queued.await, Err(CallError::NoProc(_))));
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_link_to_who_is_not_there_breaks_at_once() -> Res {
    let lab = Lab::new().await;
    let (gone, _) = lab.member(false).await;
    gone.stop(ExitReason::Normal).await?;
    let (trapping, mut told) = lab.member(true).await;
    trapping.tie(gone.pid().clone()).await?;
    assert_eq!(next(&mut told).await, Some(Told::Exit(gone.pid().clone(), ExitReason::NoProc)));
    let (plain, _) = lab.member(false).await;
    let down = plain.monitor();
    plain.tie(gone.pid().clone()).await.ok();
    assert_eq!(down.await.reason, ExitReason::NoProc);
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn after_unlink_neither_hears_of_the_other_and_twice_linked_is_linked_once() -> Res {
    let lab = Lab::new().await;
    let ((a, _), (b, mut told)) = (lab.member(false).await, lab.member(true).await);
    a.tie(b.pid().clone()).await?;
    b.tie(a.pid().clone()).await?;
    a.tie(a.pid().clone()).await?;
    assert_eq!(
        lab.node.process(a.pid()).map(|info| info.links),
        Some(1),
        "one link per pair, none to oneself"
    );
    b.untie(a.pid().clone()).await?;
    b.untie(a.pid().clone()).await?;
    a.explode()?;
    a.monitor().await;
    b.note(1)?;
    assert_eq!(next(&mut told).await, Some(Told::Cast(1)));
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn several_monitors_of_one_pair_each_fire_once_beside_a_link() -> Res {
    let lab = Lab::new().await;
    let ((a, _), (b, mut told)) = (lab.member(false).await, lab.member(true).await);
    for _ in 0..3 {
        b.watch(a.pid().clone()).await?;
    }
    b.watch(b.pid().clone()).await?;
    b.tie(a.pid().clone()).await?;
    a.leave(ExitReason::error("x"))?;
    let mut got = Vec::new();
    for _ in 0..4 {
        got.extend(next(&mut told).await);
    }
    let down = || Told::Down(ExitReason::error("x"));
    assert_eq!(got, [Told::Exit(a.pid().clone(), ExitReason::error("x")), down(), down(), down()]);
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn untrapping_makes_a_process_mortal_again() -> Res {
    let lab = Lab::new().await;
    let ((a, _), (b, _)) = (lab.member(false).await, lab.member(true).await);
    b.trap(false).await?;
    a.tie(b.pid().clone()).await?;
    let down = b.monitor();
    a.leave(ExitReason::error("x"))?;
    assert_eq!(down.await.reason, ExitReason::error("x"));
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_linked_child_ends_with_its_parent_even_if_it_traps() -> Res {
    let lab = Lab::new().await;
    let (parent, _) = lab.member(false).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let child = parent.child(false, tell).await??;
    assert_eq!(lab.node.process(child.pid()).map(|info| info.links), Some(1));
    parent.leave(ExitReason::Normal)?;
    assert_eq!(next(&mut told).await, Some(Told::Terminated(ExitReason::Normal)));
    child.monitor().await;
    assert_eq!(lab.node.process_count(), 0);
    lab.node.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_linked_child_whose_init_fails_is_an_error_and_nothing_else() -> Res {
    let lab = Lab::new().await;
    let (parent, mut told) = lab.member(false).await;
    let (tell, _) = mpsc::unbounded_channel();
    let failed = parent.child(true, tell).await?;
    assert_eq!(failed.err(), Some(StartError::Init(ExitReason::error("no"))));
    parent.note(1)?;
    assert_eq!(next(&mut told).await, Some(Told::Cast(1)), "the parent lives");
    assert_eq!(lab.node.process(parent.pid()).map(|info| info.links), Some(0));
    lab.node.stop().await;
    Ok(())
}

/// Both ends of many links end at the same time, on different arbiters, while others link and unlink: nothing hangs, and
/// at the end nothing is left.
#[actix_rt::test]
async fn races_of_link_unlink_and_ends_leave_nothing_behind() -> Res {
    let lab = Lab::new().await;
    let exits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&exits);
    let subscription = lab.node.on_process_event(move |event| {
        if let ProcessEvent::Exited { .. } = event {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut all = 0;
    for round in 0..50_usize {
        let mut members = Vec::new();
        for _ in 0..8 {
            members.push(lab.member(false).await.0);
        }
        all += members.len();
        let ends: Vec<_> = members.iter().map(|member| member.monitor()).collect();
        let link = |from: usize, to: usize| members[from % 8].tie(members[to % 8].pid().clone());
        let unlink = |from: usize, to: usize| members[from % 8].untie(members[to % 8].pid().clone());
        let churn = futures_util::future::join_all((0..16).map(|n| async move {
            let _ = link(n, n * 3 + round).await;
            if n % 4 == 0 {
                let _ = unlink(n, n * 3 + round).await;
            }
        }));
        let crash = async {
            members[round % 8].explode().ok();
            members[(round + 1) % 8].kill();
        };
        tokio::join!(churn, crash);
        members.iter().for_each(|member| lab.node.exit(member, ExitReason::Shutdown));
        for end in ends {
            end.await;
        }
    }
    assert_eq!(lab.node.process_count(), 0);
    lab.node.stop().await;
    assert_eq!(exits.load(Ordering::SeqCst), all);
    drop(subscription);
    Ok(())
}

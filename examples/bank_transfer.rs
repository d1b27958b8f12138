//! Two accounts and many transfers, most of which die on the way: no money is lost, and none is made.
//!
//! ```text
//! cargo run --example bank_transfer
//! ```
//! Each transfer is a process that lives for one transfer. Before an account does its part it links itself to the transfer, and
//! it traps exits: so it hears how the transfer ended, however that was. An exit with `normal` means that both parts are done,
//! and each account makes its own final; any other reason, a panic or a kill among them, and each undoes its own. Nobody
//! cleans up after the dead, and nobody waits for a timeout. Amounts and deaths come from a seed.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{collections::BTreeMap, process::ExitCode};

use noex::prelude::*;

const SEED: u64 = 7;
const ROUNDS: u32 = 300;
const AT_FIRST: u64 = 1_000;

#[derive(Clone, Copy)]
enum Part {
    Out(u64),
    In(u64),
}

struct Account {
    balance: u64,
    /// What is not final yet, by the transfer that it is a part of.
    open: BTreeMap<Pid, Part>,
}

#[behavior]
impl Account {
    #[init]
    fn new(balance: u64, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit();
        Ok(Account { balance, open: BTreeMap::new() })
    }
    #[call]
    fn balance(&self) -> u64 {
        self.balance
    }
    /// Puts an amount aside, if it is there.
    #[call]
    fn take(&mut self, amount: u64, transfer: Pid, cx: &mut Context<Self>) -> bool {
        let Some(rest) = self.balance.checked_sub(amount) else { return false };
        self.balance = rest;
        self.open.insert(transfer.clone(), Part::Out(amount));
        cx.link(&transfer); // if it is dead already, the link breaks at once, and that undoes this
        true
    }
    /// Expects an amount. It cannot be spent before the transfer has ended.
    #[call]
    fn give(&mut self, amount: u64, transfer: Pid, cx: &mut Context<Self>) {
        self.open.insert(transfer.clone(), Part::In(amount));
        cx.link(&transfer);
    }
    #[info]
    fn transfer_ended(&mut self, info: Info) {
        let Info::Exit(Exit { from, reason, .. }) = info else { return };
        match (self.open.remove(&from), reason) {
            (Some(Part::In(amount)), ExitReason::Normal) => self.balance += amount,
            (Some(Part::Out(amount)), reason) if reason != ExitReason::Normal => self.balance += amount,
            _ => {}
        }
    }
}

/// What goes wrong with a transfer, after which of its steps.
type Mishap = (u64, ExitReason);

struct Transfer([Ref<Account>; 2], u64, Mishap);

#[behavior]
impl Transfer {
    #[init]
    fn new(accounts: [Ref<Account>; 2], amount: u64, mishap: Mishap) -> Result<Self, ExitReason> {
        Ok(Transfer(accounts, amount, mishap))
    }
    #[cast]
    async fn go(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let Transfer([payer, payee], amount, mishap) = self;
        let me = cx.pid().clone();
        survive(mishap, 0, cx).await;
        if !payer.take(*amount, me.clone()).await? {
            return Err(ExitReason::error("not enough money"));
        }
        survive(mishap, 1, cx).await;
        payee.give(*amount, me).await?;
        survive(mishap, 2, cx).await;
        cx.stop(ExitReason::Normal);
        Ok(())
    }
}

#[expect(clippy::panic, reason = "a bug, as far as the accounts can tell")]
async fn survive((at, how): &Mishap, step: u64, cx: &Context<Transfer>) {
    match how {
        ExitReason::Panic(text) if *at == step => panic!("{text}"),
        ExitReason::Killed if *at == step => {
            cx.exit(cx.pid(), ExitReason::Killed);
            std::future::pending::<()>().await;
        }
        _ => {}
    }
}

/// Numbers below `limit` that look as if they were drawn (Knuth's MMIX generator).
fn draw(seed: &mut u64, limit: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % limit
}

#[actix::main]
async fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| ())); // who dies, and of what, is told below
    noex::exit_code(bank().await)
}

async fn bank() -> Result<(), noex::BoxError> {
    let node = Node::start().await?;
    let spread = || SpawnOptions::new().placement(Placement::RoundRobin);
    let ada = node.spawn::<Account>(AT_FIRST).options(spread()).await?;
    let bob = node.spawn::<Account>(AT_FIRST).options(spread()).await?;
    let (mut seed, mut ends) = (SEED, BTreeMap::<String, u32>::new());
    println!("  ada and bob have {AT_FIRST} each; the first of {} transfers:", 10 * ROUNDS);
    for round in 1..=ROUNDS {
        let mut under_way = Vec::new(); // ten at once, in both directions
        for _ in 0..10 {
            let (amount, to_ada) = (1 + draw(&mut seed, 400), draw(&mut seed, 2) == 1);
            let accounts = if to_ada { [bob.clone(), ada.clone()] } else { [ada.clone(), bob.clone()] };
            let hows = [ExitReason::Normal, ExitReason::Killed, ExitReason::Panic("tripped".to_owned())];
            let mishap = (draw(&mut seed, 3), hows[draw(&mut seed, 3) as usize].clone());
            let transfer = node.spawn::<Transfer>((accounts, amount, mishap)).options(spread()).await?;
            let end = transfer.monitor();
            transfer.go()?;
            under_way.push((to_ada, amount, end));
        }
        for (to_ada, amount, end) in under_way {
            let reason = end.await.reason.to_string();
            if round == 1 {
                println!("    {} {amount:>3}   {reason}", if to_ada { "bob → ada" } else { "ada → bob" });
            }
            *ends.entry(reason).or_default() += 1;
        }
        // Whoever knows of an end finds what it took along on its way: in both mailboxes these calls come behind it.
        let (of_ada, of_bob) = (ada.balance().await?, bob.balance().await?);
        if round == 1 || round % 60 == 0 {
            println!(
                "  after {:>4}: ada {of_ada:>4}, bob {of_bob:>4}, together {}",
                10 * round,
                of_ada + of_bob
            );
        }
        if of_ada + of_bob != 2 * AT_FIRST {
            return Err(format!("after {round} rounds ada has {of_ada} and bob has {of_bob}").into());
        }
    }
    println!("  how they ended:");
    ends.iter().for_each(|(reason, times)| println!("    {times:>5} × {reason}"));
    println!("  and at every look there were {} together", 2 * AT_FIRST);
    if ends.len() != 4 {
        return Err("transfers should end in four ways".into());
    }
    node.stop().await;
    Ok(())
}

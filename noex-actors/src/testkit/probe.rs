//! A process that records what reaches it.

use std::{collections::VecDeque, convert::Infallible, future::pending, time::Duration};

use tokio::sync::mpsc;

use crate::{
    Behavior, Caller, Context, Down, Exit, ExitReason, Info, LinkRef, Node, Notifier, Pid, RawRef, Ref,
    machine::signals::Trap, process::Process, route::Watcher,
};

/// The process of a [`Probe`].
struct ProbeProcess(mpsc::UnboundedSender<Info>);

impl Behavior for ProbeProcess {
    type Args = (mpsc::UnboundedSender<Info>, mpsc::UnboundedSender<Notifier<Down>>);
    type Call = Infallible;
    type Reply = Infallible;
    type Cast = Infallible;
    type Info = Down;
    type Client = RawRef<Self>;

    async fn init((seen, tell): Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        tell.send(cx.notifier())?;
        Ok(Self(seen))
    }

    async fn handle_call(&mut self, call: Infallible, _: Caller<Infallible>, _: &mut Context<Self>) {
        match call {}
    }

    async fn handle_cast(&mut self, cast: Infallible, _: &mut Context<Self>) {
        match cast {}
    }

    async fn handle_info(&mut self, info: Info<Down>, _: &mut Context<Self>) {
        let info = match info {
            Info::Down(down) | Info::User(down) => Info::Down(down),
            Info::Exit(exit) => Info::Exit(exit),
            Info::Timeout => Info::Timeout,
            Info::NodeUp(node) => Info::NodeUp(node),
            Info::NodeDown { node, reason } => Info::NodeDown { node, reason },
            Info::NameLost { name, winner } => Info::NameLost { name, winner },
        };
        let _gone = self.0.send(info);
    }
}

/// Watches processes, and says what it heard of them. Dropping it leaves its process alive, until its node stops.
#[derive(Debug)]
pub struct Probe {
    node: Node,
    process: Ref<ProbeProcess>,
    notifier: Notifier<Down>,
    seen: mpsc::UnboundedReceiver<Info>,
    /// What arrived and was not asked for yet.
    kept: VecDeque<Info>,
}

impl Probe {
    /// Starts one.
    ///
    /// # Panics
    /// When the node is stopping.
    pub async fn start(node: &Node) -> Self {
        let (tell, seen) = mpsc::unbounded_channel();
        let (lend, mut lent) = mpsc::unbounded_channel();
        let process = node.spawn::<ProbeProcess>((tell, lend)).await.expect("a probe starts");
        let notifier = lent.try_recv().expect("its init has run");
        Self { node: node.clone(), process, notifier, seen, kept: VecDeque::new() }
    }

    /// The address of its process.
    #[must_use]
    pub fn pid(&self) -> &Pid {
        self.process.pid()
    }

    /// Watches a process: its `Down` arrives once.
    pub fn monitor(&self, process: &impl AsRef<Pid>) {
        let notifier = self.notifier.clone();
        let tell = move |down| {
            let _gone = notifier.notify(down);
        };
        self.node.monitor(process.as_ref(), Watcher::Callback(Box::new(tell)), |_| ());
    }

    /// Links its process and another. Unless it [traps exits](Self::trap_exit) it ends with the other.
    pub fn link(&self, process: &impl AsRef<Pid>) -> LinkRef {
        self.node.link(&self.process, process)
    }

    /// From now on exits arrive instead of ending it.
    pub fn trap_exit(&self) {
        if let Some(mailbox) = self.process.local_mailbox() {
            mailbox.core().set_trap(Trap::On);
        }
    }

    /// The next thing that arrives.
    ///
    /// # Panics
    /// When nothing arrives within that time.
    pub async fn next(&mut self, within: Duration) -> Info {
        match self.receive(within).await {
            Some(info) => info,
            None => missed(&format!("nothing arrived within {within:?}"), &[]),
        }
    }

    /// The `Down` of a process. What else arrives meanwhile is kept.
    ///
    /// # Panics
    /// When it does not arrive within that time; the text says what did.
    pub async fn expect_down(&mut self, process: &impl AsRef<Pid>, within: Duration) -> Down {
        let pid = process.as_ref();
        let found = |info: &Info| match info {
            Info::Down(down) if down.pid == *pid => Some(down.clone()),
            _ => None,
        };
        self.expect(found, within, &format!("no Down of {pid}")).await
    }

    /// The `Exit` of a process. What else arrives meanwhile is kept.
    ///
    /// # Panics
    /// When it does not arrive within that time; the text says what did.
    pub async fn expect_exit(&mut self, process: &impl AsRef<Pid>, within: Duration) -> Exit {
        let pid = process.as_ref();
        let found = |info: &Info| match info {
            Info::Exit(exit) if exit.from == *pid => Some(exit.clone()),
            _ => None,
        };
        self.expect(found, within, &format!("no Exit of {pid}")).await
    }

    /// Lets that much time pass.
    ///
    /// # Panics
    /// When something arrives meanwhile, or has arrived and was not asked for.
    pub async fn expect_nothing(&mut self, within: Duration) {
        if let Some(info) = self.receive(within).await {
            missed("something arrived", &[info]);
        }
    }

    async fn expect<T>(&mut self, found: impl Fn(&Info) -> Option<T>, within: Duration, missing: &str) -> T {
        if let Some((at, wanted)) =
            self.kept.iter().enumerate().find_map(|(at, info)| Some((at, found(info)?)))
        {
            self.kept.remove(at);
            return wanted;
        }
        let arrival = async {
            while let Some(info) = self.seen.recv().await {
                match found(&info) {
                    Some(wanted) => return wanted,
                    None => self.kept.push_back(info),
                }
            }
            pending().await
        };
        match actix_rt::time::timeout(within, arrival).await {
            Ok(wanted) => wanted,
            Err(_elapsed) => missed(&format!("{missing} within {within:?}"), self.kept.make_contiguous()),
        }
    }

    async fn receive(&mut self, within: Duration) -> Option<Info> {
        if let Some(info) = self.kept.pop_front() {
            return Some(info);
        }
        let arrival = async {
            match self.seen.recv().await {
                Some(info) => info,
                None => pending().await,
            }
        };
        actix_rt::time::timeout(within, arrival).await.ok()
    }
}

#[expect(clippy::panic, reason = "an expectation of a test failed")]
fn missed(what: &str, arrived: &[Info]) -> ! {
    panic!("{what}; arrived: {arrived:?}")
}

impl AsRef<Pid> for Probe {
    fn as_ref(&self) -> &Pid {
        self.pid()
    }
}

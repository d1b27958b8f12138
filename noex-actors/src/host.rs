//! The actix actor that hosts a behavior.
//!
//! One future per process: `init`, then the mailbox loop, then `terminate`. The only places where a panic of user code is
//! caught are here: around that future's poll, and around its drop. A panic never reaches actix (which would run a
//! broken actor again while unwinding, and abort the program at a second panic).
//!
//! Order at the end: the state is dropped, the mailbox closed and its calls failed, the names given up, the process
//! taken out of the table, and then watchers hear of it.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context as Task, Poll},
    time::Duration,
};

use actix::prelude::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler, Message, WrapFuture};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::{
    Behavior, Context, DecodeError, ExitReason, Info, Ref, StartError,
    mailbox::{Envelope, Inbox, Mailbox},
    panics::panic_text,
    process::Process,
};

/// Ends a process now: what runs of it is dropped at its next wait.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Kill;

/// The way to a process's actor, known once it started.
pub(crate) struct Killer<B: Behavior>(OnceLock<Addr<Host<B>>>);

impl<B: Behavior> Killer<B> {
    pub(crate) fn new() -> Self {
        Self(OnceLock::new())
    }
    /// A full control mailbox holds a kill already.
    pub(crate) fn kill(&self) {
        if let Some(addr) = self.0.get() {
            let _ = addr.try_send(Kill);
        }
    }
}

pub(crate) struct Host<B: Behavior> {
    mailbox: Arc<Mailbox<B>>,
    start: Option<Start<B>>,
}

struct Start<B: Behavior> {
    args: B::Args,
    init_timeout: Duration,
    started: oneshot::Sender<Result<(), StartError>>,
}

/// Starts the process on the arbiter of this thread.
pub(crate) fn launch<B: Behavior>(
    mailbox: Arc<Mailbox<B>>,
    args: B::Args,
    init_timeout: Duration,
    started: oneshot::Sender<Result<(), StartError>>,
) {
    let start = Some(Start { args, init_timeout, started });
    let addr = Host { mailbox: Arc::clone(&mailbox), start }.start();
    let _ = mailbox.killer.0.set(addr);
    if mailbox.core.is_killed() {
        mailbox.killer.kill();
    }
}

impl<B: Behavior> Actor for Host<B> {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(start) = self.start.take() else { return };
        self.mailbox.core.settle();
        let life = Life {
            mailbox: Arc::clone(&self.mailbox),
            inner: Some(live(Arc::clone(&self.mailbox), start)),
            over: false,
        };
        ctx.spawn(life.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

impl<B: Behavior> Handler<Kill> for Host<B> {
    type Result = ();
    /// Being polled is all it takes: the life looks at the flag first, and actix polls it after every message.
    fn handle(&mut self, _: Kill, _: &mut Self::Context) {}
}

impl<B: Behavior> Unpin for Host<B> {}

pin_project_lite::pin_project! {
    /// The life of a process: contains its panics and its kill, and tells its end exactly once.
    struct Life<B: Behavior, F> {
        mailbox: Arc<Mailbox<B>>,
        #[pin]
        inner: Option<F>,
        over: bool,
    }

    impl<B: Behavior, F> PinnedDrop for Life<B, F> {
        fn drop(this: Pin<&mut Self>) {
            // The arbiter went away under it.
            let mut this = this.project();
            if !*this.over {
                this.mailbox.core.set_ending(ExitReason::Killed);
                contained(|| this.inner.set(None));
                end(this.mailbox, ExitReason::Killed);
            }
        }
    }
}

impl<B: Behavior, F: Future<Output = ExitReason>> Future for Life<B, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let mut this = self.project();
        let core = &this.mailbox.core;
        let reason = if core.is_killed() {
            core.set_ending(ExitReason::Killed);
            ExitReason::Killed
        } else {
            let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(()) };
            core.set_busy(true);
            let polled = catch_unwind(AssertUnwindSafe(|| inner.poll(task)));
            core.set_busy(false);
            match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(reason)) => reason,
                Err(panic) => {
                    let reason = ExitReason::Panic(panic_text(panic.as_ref()).to_owned());
                    // A panic in `terminate` does not change why the process went.
                    let reason = core.ending().unwrap_or(reason);
                    core.set_ending(reason.clone());
                    reason
                }
            }
        };
        contained(|| this.inner.set(None));
        *this.over = true;
        end(this.mailbox, reason);
        Poll::Ready(())
    }
}

/// Runs what may panic and goes on.
fn contained(f: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
        tracing::error!(panic = panic_text(panic.as_ref()), "a process panicked while it was dropped");
    }
}

/// Decodes what came from another node; a `Deserialize` that panics is a message that cannot be decoded.
pub(crate) fn decoded<T>(f: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|panic| Err(DecodeError::new(format!("panic: {}", panic_text(panic.as_ref())))))
}

fn end<B: Behavior>(mailbox: &Arc<Mailbox<B>>, reason: ExitReason) {
    // The inbox closed the mailbox when it ended in good order; after a panic or a kill it is done here.
    contained(|| mailbox.close(&reason, &mut std::collections::VecDeque::new()));
    let process: Arc<dyn Process> = Arc::<Mailbox<B>>::clone(mailbox);
    mailbox.core.node.ended(&process, &reason);
}

/// `init`, the loop, `terminate`.
async fn live<B: Behavior>(mailbox: Arc<Mailbox<B>>, start: Start<B>) -> ExitReason {
    let Start { args, init_timeout, started } = start;
    let core = &mailbox.core;
    let mut inbox = Inbox::new(Arc::clone(&mailbox));
    let mut cx = Context::new(Ref::local(Arc::clone(&mailbox)), core.node.clone());
    let reporter = Started(Some(started), Arc::clone(&mailbox));
    let init = AssertUnwindSafe(actix_rt::time::timeout(init_timeout, B::init(args, &mut cx)));
    let mut state = match init.catch_unwind().await {
        Ok(Ok(Ok(state))) => state,
        Ok(Ok(Err(reason))) => {
            core.set_ending(reason.clone());
            reporter.tell(Err(StartError::Init(reason.clone())));
            return reason;
        }
        Ok(Err(_elapsed)) => {
            core.set_ending(ExitReason::Killed);
            reporter.tell(Err(StartError::InitTimeout(init_timeout)));
            return ExitReason::Killed;
        }
        Err(panic) => {
            let reason = ExitReason::Panic(panic_text(panic.as_ref()).to_owned());
            core.set_ending(reason.clone());
            reporter.tell(Err(StartError::Init(reason.clone())));
            return reason;
        }
    };
    core.set_running();
    reporter.tell(Ok(()));
    let reason = match AssertUnwindSafe(serve(&mut state, &mut inbox, &mut cx)).catch_unwind().await {
        Ok(reason) => {
            core.set_ending(reason.clone());
            let last_words = AssertUnwindSafe(state.terminate(&reason, &mut cx)).catch_unwind().await;
            if let Err(panic) = last_words {
                let panic = panic_text(panic.as_ref());
                tracing::error!(pid = %core.pid, behavior = core.behavior, panic, "terminate panicked");
            }
            reason
        }
        Err(panic) => {
            let reason = ExitReason::Panic(panic_text(panic.as_ref()).to_owned());
            core.set_ending(reason.clone());
            reason
        }
    };
    contained(move || drop(state));
    inbox.close(&reason);
    reason
}

/// Reports the outcome of `init` to whoever spawned the process, also when `init` panics or is killed.
struct Started<B: Behavior>(Option<oneshot::Sender<Result<(), StartError>>>, Arc<Mailbox<B>>);

impl<B: Behavior> Started<B> {
    fn tell(mut self, outcome: Result<(), StartError>) {
        self.send(outcome);
    }
    /// A failed start is told after the end, so that whoever sees it finds nothing left of the process.
    fn send(&mut self, outcome: Result<(), StartError>) {
        let Some(started) = self.0.take() else { return };
        match outcome {
            Ok(()) => drop(started.send(Ok(()))),
            Err(error) => self.1.core.at_exit(Box::new(move |_| drop(started.send(Err(error))))),
        }
    }
}

impl<B: Behavior> Drop for Started<B> {
    fn drop(&mut self) {
        if let Some(started) = self.0.take() {
            let tell = move |reason: &ExitReason| drop(started.send(Err(StartError::Init(reason.clone()))));
            self.1.core.at_exit(Box::new(tell));
        }
    }
}

async fn serve<B: Behavior>(state: &mut B, inbox: &mut Inbox<B>, cx: &mut Context<B>) -> ExitReason {
    loop {
        if let Some(reason) = cx.take_stop() {
            return reason;
        }
        if let Some(next) = cx.take_next() {
            state.handle_continue(next, cx).await;
            continue;
        }
        let envelope = match cx.idle_timeout() {
            None => inbox.next().await,
            Some(after) => match actix_rt::time::timeout(after, inbox.next()).await {
                Ok(envelope) => envelope,
                Err(_elapsed) => Envelope::Info(Info::Timeout),
            },
        };
        match envelope {
            Envelope::Call(call, from) => {
                if from.start(&mut inbox.glance) {
                    state.handle_call(call, from, cx).await;
                } else {
                    from.forget();
                }
            }
            Envelope::Cast(cast) => state.handle_cast(cast, cx).await,
            Envelope::Info(info) => {
                if let Ok(info) = cx.admit(info) {
                    state.handle_info(info, cx).await;
                }
            }
            Envelope::Stop(reason) => return reason,
        }
    }
}

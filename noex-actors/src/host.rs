//! The actix actor that hosts a behavior.
//!
//! One future per process: `init`, then the mailbox loop, then `terminate`. The only places where a panic of user code is
//! caught are here: around that future's poll, and around its drop. A panic never reaches actix (which would run a
//! broken actor again while unwinding, and abort the program at a second panic).
//!
//! Order at the end: the state is dropped, the mailbox closed and its calls failed, the names given up, the process
//! taken out of the table, and then watchers hear of it.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use actix::prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, WrapFuture};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::{
    Behavior, Context, DecodeError, ExitReason, Info, Pid, StartError,
    context::Turn,
    launcher::Job,
    lease::Lease,
    mailbox::{Envelope, Inbox, Kind, Mailbox, Work},
    panics::{contained, into_text},
    process::{Process, Urgent},
    thread_mark::ThreadMark,
    trace::{TraceContext, Traced},
    wrap::{Interruptible, Within},
};

pub(crate) struct Host<B: Behavior> {
    start: Option<Box<Start<B>>>,
    thread: ThreadMark,
}

/// What a process starts with.
pub(crate) struct Start<B: Behavior> {
    pub(crate) mailbox: Arc<Mailbox<B>>,
    pub(crate) args: B::Args,
    pub(crate) init_timeout: Duration,
    /// The parent to which it is linked from the beginning.
    pub(crate) link: Option<Box<Pid>>,
}

impl<B: Behavior> Job for Start<B> {
    fn run(self: Box<Self>, thread: ThreadMark) {
        // What interrupts a process wakes its task: it needs no address.
        drop(Host { start: Some(self), thread }.start());
    }
    fn lost(self: Box<Self>) {
        let Self { mailbox, args, link, .. } = *self;
        contained(|| drop(args));
        // Told once, as the error of the start.
        drop(Starting { link, mailbox: Arc::clone(&mailbox) });
        mailbox.core.set_failed(StartError::NotRunning);
        end(&mailbox, ExitReason::Killed);
    }
}

/// Its arbiter went before its first turn.
impl<B: Behavior> Drop for Host<B> {
    fn drop(&mut self) {
        if let Some(start) = self.start.take() {
            start.lost();
        }
    }
}

impl<B: Behavior> Actor for Host<B> {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(start) = self.start.take() else { return };
        let mailbox = Arc::clone(&start.mailbox);
        let span = span(&*mailbox);
        let mark = self.thread.number();
        let life = Life { mailbox, inner: Some(live(start)), span, mark, stage: Stage::New };
        // Waited for, not spawned: a context looks at neither its mailbox nor anything else meanwhile. Nobody has its address.
        ctx.wait(life.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

/// The span in which a process runs. Nothing is kept where nobody listens.
fn span(process: &dyn Process) -> Option<Box<tracing::Span>> {
    let core = process.core();
    tracing::enabled!(target: "noex::process", tracing::Level::DEBUG).then(|| {
        Box::new(tracing::debug_span!(
            target: "noex::process", parent: None, "process", pid = %core.pid, behavior = process.behavior()
        ))
    })
}

impl<B: Behavior> Unpin for Host<B> {}

pin_project_lite::pin_project! {
    /// The life of a process: contains its panics and its kill, and tells its end exactly once.
    struct Life<B: Behavior, F> {
        mailbox: Arc<Mailbox<B>>,
        #[pin]
        inner: Option<F>,
        span: Option<Box<tracing::Span>>,
        mark: u32,
        stage: Stage,
    }

    impl<B: Behavior, F> PinnedDrop for Life<B, F> {
        fn drop(this: Pin<&mut Self>) {
            // The arbiter went away under it.
            let mut this = this.project();
            if *this.stage != Stage::Over {
                this.mailbox.core.set_ending(ExitReason::Killed);
                contained(|| this.inner.set(None));
                end(this.mailbox, ExitReason::Killed);
            }
        }
    }
}

/// How far a life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Running,
    Over,
}

impl<B: Behavior, F: Future<Output = ExitReason>> Future for Life<B, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let mut this = self.project();
        let core = &this.mailbox.core;
        if *this.stage == Stage::New {
            *this.stage = Stage::Running;
            this.mailbox.settle(task.waker());
        }
        let _inside = this.span.as_ref().map(|span| span.enter());
        let reason = if core.urgent() == Urgent::Kill {
            core.set_ending(ExitReason::Killed);
            ExitReason::Killed
        } else {
            let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(()) };
            core.set_busy(*this.mark);
            let polled = catch_unwind(AssertUnwindSafe(|| inner.poll(task)));
            core.set_busy(0);
            match polled {
                Ok(Poll::Pending) => {
                    core.goes_on();
                    return Poll::Pending;
                }
                Ok(Poll::Ready(reason)) => reason,
                Err(panic) => {
                    let reason = this.mailbox.panicked(panic);
                    // A panic in `terminate` does not change why the process went.
                    let reason = core.ending().unwrap_or(reason);
                    core.set_ending(reason.clone());
                    reason
                }
            }
        };
        contained(|| this.inner.set(None));
        *this.stage = Stage::Over;
        end(this.mailbox, reason);
        Poll::Ready(())
    }
}

/// Decodes what came from another node; a `Deserialize` that panics is a message that cannot be decoded.
pub(crate) fn decoded<T>(f: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|panic| Err(DecodeError::new(format!("panic: {}", into_text(panic)))))
}

fn end<B: Behavior>(mailbox: &Arc<Mailbox<B>>, reason: ExitReason) {
    // Nothing of a user runs in it that is not contained.
    let ended = catch_unwind(AssertUnwindSafe(|| end_of(mailbox, &reason)));
    if let Err(panic) = ended {
        mailbox.core.node.0.failsafe.failed("the end of a process", into_text(panic));
    }
}

fn end_of<B: Behavior>(mailbox: &Arc<Mailbox<B>>, reason: &ExitReason) {
    // The inbox closed the mailbox when it ended in good order; after a panic or a kill, or without a start, it is done here.
    mailbox.close(reason, &mut std::collections::VecDeque::new());
    let process: Arc<dyn Process> = Arc::<Mailbox<B>>::clone(mailbox);
    mailbox.core.node.ended(&process, reason);
}

/// `init`, the loop, `terminate`.
fn live<B: Behavior>(start: Box<Start<B>>) -> impl Future<Output = ExitReason> {
    // A block, not an async function: that would keep room for its arguments twice.
    let mailbox = Arc::clone(&start.mailbox);
    async move {
        let core = &mailbox.core;
        let mut inbox = Inbox::new(Arc::clone(&mailbox));
        let mut cx = Context::new(Arc::clone(&mailbox));
        let mut state = match begin(start, &mut cx).await {
            Ok(state) => state,
            Err(reason) => return reason,
        };
        let served = Interruptible::new(core, serve(&mut state, &mut inbox, &mut cx));
        let served = AssertUnwindSafe(served).catch_unwind().await;
        leave(served, state, &mut inbox, &mut cx).await
    }
}

/// What follows the last message: `terminate` unless it panicked, then the state is dropped and the mailbox closed.
async fn leave<B: Behavior>(
    served: Result<Result<ExitReason, ExitReason>, Box<dyn Any + Send>>,
    mut state: B,
    inbox: &mut Inbox<B>,
    cx: &mut Context<B>,
) -> ExitReason {
    let mailbox = Arc::clone(inbox.mailbox());
    let reason = match served {
        Ok(Ok(reason) | Err(reason)) => {
            mailbox.core.set_ending(reason.clone());
            let last_words = AssertUnwindSafe(state.terminate(&reason, cx)).catch_unwind().await;
            if let Err(panic) = last_words {
                let (pid, panic) = (&mailbox.core.pid, mailbox.panicked(panic));
                tracing::error!(%pid, behavior = mailbox.behavior(), %panic, "terminate panicked");
            }
            reason
        }
        Err(panic) => {
            let reason = mailbox.panicked(panic);
            mailbox.core.set_ending(reason.clone());
            reason
        }
    };
    contained(move || drop(state));
    inbox.close(&reason);
    reason
}

/// `init`: the state, or why the process ends by it.
async fn begin<B: Behavior>(start: Box<Start<B>>, cx: &mut Context<B>) -> Result<B, ExitReason> {
    let Start { mailbox, args, init_timeout, link } = *start;
    let mut starting = Starting { link, mailbox };
    let core = &starting.mailbox.core;
    let init = Within::new(init_timeout, Interruptible::new(core, B::init(args, cx)));
    let (reason, error) = match AssertUnwindSafe(init).catch_unwind().await {
        Ok(Ok(Ok(Ok(state)))) => {
            starting.link = None;
            starting.mailbox.core.set_running();
            return Ok(state);
        }
        Ok(Ok(Ok(Err(reason)) | Err(reason))) => (reason.clone(), StartError::Init(reason)),
        Ok(Err(_elapsed)) => (ExitReason::Killed, StartError::InitTimeout(init_timeout)),
        Err(panic) => {
            let reason = starting.mailbox.panicked(panic);
            (reason.clone(), StartError::Init(reason))
        }
    };
    core.set_ending(reason.clone());
    core.set_failed(error);
    Err(reason)
}

/// A process whose `init` runs.
struct Starting<B: Behavior> {
    link: Option<Box<Pid>>,
    mailbox: Arc<Mailbox<B>>,
}

impl<B: Behavior> Drop for Starting<B> {
    /// A start that failed is told once, not by the link as well; also when `init` is killed.
    fn drop(&mut self) {
        if let Some(parent) = &self.link {
            let core = &self.mailbox.core;
            core.node.unlink(&core.pid, &**parent);
        }
    }
}

#[expect(clippy::manual_async_fn, reason = "an async function keeps room for its arguments twice")]
fn serve<B: Behavior>(
    state: &mut B,
    inbox: &mut Inbox<B>,
    cx: &mut Context<B>,
) -> impl Future<Output = ExitReason> {
    async move {
        loop {
            let kind = match cx.turn() {
                Turn::Stop => return cx.take_stop().unwrap_or(ExitReason::Normal),
                Turn::Continue => {
                    inbox.breathe(1).await;
                    if cx.lease_is_over() {
                        return Lease::reason();
                    }
                    let Some(next) = cx.take_next() else { continue };
                    state.handle_continue(next, cx).await;
                    continue;
                }
                Turn::Wait(None) => inbox.next().await,
                Turn::Wait(Some(after)) => {
                    // First: the turn of others is no time without a message.
                    inbox.breathe(0).await;
                    match Within::new(after, inbox.next()).await {
                        Ok(kind) => kind,
                        Err(_elapsed) if cx.lease_is_over() => return Lease::reason(),
                        Err(_elapsed) => {
                            state.handle_info(Info::Timeout, cx).await;
                            continue;
                        }
                    }
                }
            };
            if cx.lease_is_over() {
                return Lease::reason();
            }
            // A message is taken where it is handed on: kept in between, it would have a place in every idle process.
            match kind {
                Kind::Call => {
                    let Some((call, from)) = inbox.take_call() else { continue };
                    state.handle_call(call, from, cx).await;
                }
                Kind::Cast => {
                    let Some(cast) = inbox.take_cast() else { continue };
                    state.handle_cast(cast, cx).await;
                }
                Kind::Traced => {
                    let Some((context, work)) = inbox.take_traced() else { continue };
                    traced(context, work, state, cx).await;
                }
                Kind::Other => match other(inbox, cx) {
                    Other::Info(info) => state.handle_info(info, cx).await,
                    Other::Nothing => {}
                    Other::Stop(reason) => return reason,
                },
            }
        }
    }
}

/// Handles a message of a trace, in its span. In a box: it would have its place in every idle process.
fn traced<'a, B: Behavior>(
    context: TraceContext,
    work: Work<B>,
    state: &'a mut B,
    cx: &'a mut Context<B>,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    let kind = if matches!(work, Work::Call(..)) { "call" } else { "cast" };
    let behavior = cx.behavior();
    let span = cx.node().span_of(&Traced { context: &context, kind, behavior, pid: cx.pid() });
    let handler = async move {
        match work {
            Work::Call(call, from) => state.handle_call(call, from, cx).await,
            Work::Cast(cast) => state.handle_cast(cast, cx).await,
        }
    };
    Box::pin(context.scope(handler).instrument(span))
}

/// What is neither a call nor a cast, as far as it concerns the behavior.
enum Other<B: Behavior> {
    Info(Info<B::Info>),
    Nothing,
    Stop(ExitReason),
}

fn other<B: Behavior>(inbox: &mut Inbox<B>, cx: &mut Context<B>) -> Other<B> {
    match inbox.take_other() {
        Some(Envelope::User(info)) => Other::Info(Info::User(info)),
        // OTP: gen_server ends with its parent, trapping or not.
        Some(Envelope::Info(info)) => match cx.exit_of_parent(&info) {
            Some(reason) => Other::Stop(reason.clone()),
            None => cx.admit(*info).map_or(Other::Nothing, Other::Info),
        },
        Some(Envelope::Stop(reason)) => Other::Stop(reason),
        Some(
            Envelope::Call(..)
            | Envelope::Cast(_)
            | Envelope::RemoteCast(..)
            | Envelope::Traced(_)
            | Envelope::Marker { .. },
        )
        | None => Other::Nothing,
    }
}

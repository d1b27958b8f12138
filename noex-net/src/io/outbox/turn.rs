//! Giving way.

/// Lets the other tasks of this arbiter have their turn. tokio's `yield_now` asks the kernel for news first, which
/// costs a system call.
pub(crate) async fn turn() {
    let mut had = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut had, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

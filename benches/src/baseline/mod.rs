//! The baselines. Written once: they are what noex is measured against, so they stay as they are.
//!
//! | Row | Server | Client | Body |
//! |---|---|---|---|
//! | `bare` | one task, a read buffer answered with one write | one task, a window of frames | bytes |
//! | `bare-mp` | the same | the same | MessagePack on both sides |
//! | `sha256` | as `bare`, checks the SHA-256 of large bodies | as `bare`, makes it | bytes |
//! | `mux-mp` | reader → mpsc → actor → mpsc → writer | callers → mpsc → writer; reader → oneshot | MessagePack on both sides |
//!
//! All on a current-thread runtime, with `TCP_NODELAY`.

use std::{future::Future, io};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

use crate::{
    Outcome, child,
    driver::{Callers, Workload},
};

mod bare;
mod mux;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Raw,
    Msgpack,
    /// As [`Body::Raw`]; large ones have a SHA-256 behind them.
    Sha256,
}

pub(crate) fn serve_bare(body: Body) -> Outcome<()> {
    serve(move |stream| bare::serve(stream, body))
}

pub(crate) fn serve_mux() -> Outcome<()> {
    serve(mux::serve)
}

pub(crate) fn drive_bare(body: Body, port: u16, server: u32) -> Outcome<()> {
    drive(server, async move { Ok(bare::Bare::new(connect(port).await?, body)) })
}

pub(crate) fn drive_mux(port: u16, server: u32) -> Outcome<()> {
    drive(server, async move { Ok(Callers::new(mux::Mux::new(connect(port).await?))) })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Serves every connection with a task of its own until the parent closes the pipe.
fn serve<F>(connection: impl Fn(TcpStream) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    runtime()?.block_on(async move {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        child::announce(listener.local_addr()?.port())?;
        let accept = async {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let connection = connection(stream);
                tokio::spawn(async move {
                    if let Err(failure) = connection.await {
                        eprintln!("noex-bench: connection: {failure}");
                    }
                });
            }
        };
        tokio::select! {
            failed = accept => failed,
            closed = child::stdin_closed() => closed,
        }
    })
}

/// Connects and answers orders, in a task: the root future of a runtime is polled on every wake.
fn drive<W: Workload>(
    server: u32,
    connecting: impl Future<Output = Outcome<W>> + Send + 'static,
) -> Outcome<()> {
    runtime()?.block_on(async move {
        tokio::spawn(async move { child::answer(connecting.await?, server).await }).await?
    })
}

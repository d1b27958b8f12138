//! One end of a connection in memory.

use std::{
    fmt,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pipe::Pipe;

/// One end of a connection of a [`MemoryNetwork`](super::MemoryNetwork), for a test that speaks the protocol itself: bytes
/// in order, a bounded buffer in each direction, and an end in each. Dropped, it ends both.
pub struct MemoryStream(Arc<End>);

/// What the halves of an end have in common. Dropped, it closes both directions.
#[derive(Debug)]
struct End {
    outgoing: Arc<Pipe>,
    incoming: Arc<Pipe>,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Drop for End {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.abandon();
    }
}

impl MemoryStream {
    /// Both ends: of the dialling and of the dialled node. The pipes lead there and back.
    pub(super) fn pair(
        there: &Arc<Pipe>,
        back: &Arc<Pipe>,
        from: SocketAddr,
        to: SocketAddr,
    ) -> (Self, Self) {
        let end = |outgoing: &Arc<Pipe>, incoming: &Arc<Pipe>, local, peer| {
            Self(Arc::new(End {
                outgoing: Arc::clone(outgoing),
                incoming: Arc::clone(incoming),
                local,
                peer,
            }))
        };
        (end(there, back, from, to), end(back, there, to, from))
    }

    /// The address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// The address of the other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer
    }

    /// The same end once more, for who only writes, or only reads.
    pub(crate) fn another(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Writes what there is room for; `WouldBlock` if there is none.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.outgoing.try_write(slices)
    }

    /// Waits until a write would not block.
    pub(crate) async fn writable(&self) {
        std::future::poll_fn(|cx| self.0.outgoing.poll_writable(cx)).await;
    }

    /// Ends one direction, or both.
    pub(crate) fn shut_down(&self, how: Shutdown) {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.0.outgoing.end();
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.0.incoming.close();
        }
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let End { local, peer, .. } = &*self.0;
        f.debug_struct("MemoryStream").field("local", local).field("peer", peer).finish_non_exhaustive()
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.incoming.poll_read(cx, room)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write(&[IoSlice::new(bytes)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.outgoing.poll_writable(cx));
                }
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_down(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

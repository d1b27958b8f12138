//! What a connection of nodes runs over: a socket of TCP, or the end of a connection in memory.
//!
//! What it can do is what TCP can: writes without waiting from any thread, readiness, and an end in each direction. Nothing above
//! knows which of the two it is.

mod listening;

use std::{
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

pub(crate) use self::listening::{Bound, Listening, Transport};
use crate::memory::MemoryStream;

/// Most bytes that the kernel takes ahead of what it can send.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_UNSENT: u32 = 128 * 1024;

/// One end of a connection.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Memory(MemoryStream),
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl Socket {
    /// What is written goes out at once, and what cannot go out yet waits here and not in the kernel, where a sign of life
    /// could not pass it any more.
    pub(crate) fn tune(&self) {
        if let Self::Tcp(socket) = self {
            let _ = socket.set_nodelay(true);
            #[cfg(any(target_os = "linux", target_os = "android"))]
            let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(MAX_UNSENT);
        }
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr(),
            Self::Memory(socket) => Ok(socket.peer_addr()),
        }
    }

    /// Whether the other end is on this machine, for certain.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Tcp(socket) => ends_here(socket),
            Self::Memory(_) => true,
        }
    }

    pub(crate) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Self::Memory(socket) => (ReadHalf::Memory(socket.another()), WriteHalf::Memory(socket)),
        }
    }

    /// Takes the socket from the reactor of this thread.
    pub(crate) fn into_portable(self) -> io::Result<Portable> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Portable::Tcp),
            Self::Memory(socket) => Ok(Portable::Memory(socket)),
        }
    }
}

/// A socket on its way to the thread that will use it.
#[derive(Debug)]
pub(crate) enum Portable {
    Tcp(std::net::TcpStream),
    Memory(MemoryStream),
}

impl Portable {
    /// Gives the socket to the reactor of this thread.
    pub(crate) fn settle(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => TcpStream::from_std(socket).map(Socket::Tcp),
            Self::Memory(socket) => Ok(Socket::Memory(socket)),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, room),
            Self::Memory(socket) => Pin::new(socket).poll_read(cx, room),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Memory(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Memory(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Memory(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// The receiving side.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Memory(MemoryStream),
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, room),
            Self::Memory(socket) => Pin::new(socket).poll_read(cx, room),
        }
    }
}

/// The sending side, which also ends the connection.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Memory(MemoryStream),
}

impl WriteHalf {
    /// Writes what goes through at once, from any thread.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => or_ask(socket, socket.try_write(bytes), bytes),
            Self::Memory(socket) => socket.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// The same of several slices.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => {
                let first = slices.first().map_or(&[][..], |first| first);
                or_ask(socket, socket.try_write_vectored(slices), first)
            }
            Self::Memory(socket) => socket.try_write(slices),
        }
    }

    /// Waits until something may go through, or a write tells why nothing will.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.writable().await,
            Self::Memory(socket) => {
                socket.writable().await;
                Ok(())
            }
        }
    }

    /// Ends one direction, or both.
    pub(crate) fn shut_down(&self, how: Shutdown) {
        match self {
            Self::Tcp(socket) => {
                let _ = socket2::SockRef::from(socket.as_ref()).shutdown(how);
            }
            Self::Memory(socket) => socket.shut_down(how),
        }
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr(),
            Self::Memory(socket) => Ok(socket.peer_addr()),
        }
    }

    /// Whether the other end has the processor that this thread has now, for a program that may use one. Where that cannot be
    /// told: whether it is on this machine.
    pub(crate) fn is_of_this_processor(&self) -> bool {
        match self {
            Self::Tcp(socket) => ends_here(socket.as_ref()) && sent_here(socket.as_ref()),
            Self::Memory(_) => true,
        }
    }
}

/// On one machine, what came last was handed over by the processor that sent it.
#[cfg(target_os = "linux")]
fn sent_here(socket: &TcpStream) -> bool {
    let sender = rustix::net::sockopt::socket_incoming_cpu(socket);
    sender.map_or(true, |sender| usize::try_from(sender) == Ok(rustix::thread::sched_getcpu()))
}

#[cfg(not(target_os = "linux"))]
fn sent_here(_: &TcpStream) -> bool {
    true
}

fn ends_here(socket: &TcpStream) -> bool {
    match (socket.peer_addr(), socket.local_addr()) {
        (Ok(peer), Ok(local)) => peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip(),
        _ => false,
    }
}

/// tokio remembers that the socket was full until the connection's own arbiter hears otherwise. That one may be blocked
/// by user code: ask the kernel.
fn or_ask(socket: &OwnedWriteHalf, written: io::Result<usize>, first: &[u8]) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            socket2::SockRef::from(socket.as_ref()).send(first)
        }
        written => written,
    }
}

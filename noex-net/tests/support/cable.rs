//! A cable between two nodes: a TCP proxy that delays, falls silent without closing anything, and is cut.
#![allow(unreachable_pub, dead_code, reason = "shared by several test programs")]

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use actix_rt::{spawn, task::JoinHandle, time};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Barrier, mpsc, watch},
};

/// What a cable reads at once.
const CHUNK: usize = 64 * 1024;
/// How many chunks are under way in one direction at most.
const CHUNKS: usize = 1024;
/// Asked of the kernel for what the dialling end sent and the cable did not read; it takes twice that.
pub const RECEIVE_BUFFER: u32 = 64 * 1024;

/// Leads to one port. Dropped, it takes no new connections; those that are there stay until they are cut.
pub struct Cable {
    pub port: u16,
    shared: Rc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    delay: Duration,
    silent: watch::Sender<bool>,
    /// The rest after each chunk that comes out.
    pause: Cell<Duration>,
    /// Bytes read from the dialling end.
    outward: Cell<u64>,
    pumps: RefCell<Vec<JoinHandle<()>>>,
}

impl Cable {
    pub async fn to(port: u16) -> io::Result<Self> {
        Self::delayed(port, Duration::ZERO).await
    }

    /// What goes in comes out so much later, in both directions.
    pub async fn delayed(port: u16, delay: Duration) -> io::Result<Self> {
        Self::start(listen()?, port, delay, None)
    }

    /// Two cables, to a port each. The first dial of each passes at the moment when both have come.
    pub async fn crossed(ports: [u16; 2]) -> io::Result<[Self; 2]> {
        let both = Rc::new(Barrier::new(2));
        let [one, other] = ports;
        Ok([
            Self::start(listen()?, one, Duration::ZERO, Some(Rc::clone(&both)))?,
            Self::start(listen()?, other, Duration::ZERO, Some(both))?,
        ])
    }

    fn start(
        listener: TcpListener,
        port: u16,
        delay: Duration,
        first: Option<Rc<Barrier>>,
    ) -> io::Result<Self> {
        let (silent, outward, pumps) = (watch::Sender::new(false), Cell::new(0), RefCell::default());
        let pause = Cell::new(Duration::ZERO);
        let shared = Rc::new(Shared { delay, silent, pause, outward, pumps });
        let (own_port, accepted) = (listener.local_addr()?.port(), Rc::clone(&shared));
        let accepting = spawn(async move {
            let mut first = first;
            while let Ok((near, _)) = listener.accept().await {
                if let Some(both) = first.take() {
                    both.wait().await;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                for end in [&near, &far] {
                    let _ = end.set_nodelay(true);
                }
                accepted.join(near, far);
            }
        });
        Ok(Self { port: own_port, shared, accepting })
    }

    /// Nothing is read and nothing is passed on, and nobody is told.
    pub fn silence(&self) {
        self.shared.silent.send_replace(true);
    }

    /// Ends the silence; from now on a chunk of 64 KiB comes out at a time, with a pause after it.
    pub fn speak_slowly(&self, pause: Duration) {
        self.shared.pause.set(pause);
        self.shared.silent.send_replace(false);
    }

    /// Closes every connection, in both directions at once.
    pub fn cut(&self) {
        self.shared.pumps.borrow_mut().drain(..).for_each(|pump| pump.abort());
    }

    /// Bytes that came from the dialling end.
    pub fn outward(&self) -> u64 {
        self.shared.outward.get()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(64)
}

impl Shared {
    fn join(self: &Rc<Self>, near: TcpStream, far: TcpStream) {
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        // One task for both directions: aborted, it drops all four halves, and so both sockets.
        let (out, back) = (Rc::clone(self), Rc::clone(self));
        let pump = spawn(async move {
            tokio::select! {
                () = out.pump(near_read, far_write, true) => {}
                () = back.pump(far_read, near_write, false) => {}
            }
        });
        let mut pumps = self.pumps.borrow_mut();
        pumps.retain(|pump| !pump.is_finished());
        pumps.push(pump);
    }

    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, outward: bool) {
        let (under_way, mut due) = mpsc::channel::<(time::Instant, Vec<u8>)>(CHUNKS);
        let read = async {
            let mut silent = self.silent.subscribe();
            loop {
                let mut chunk = vec![0; CHUNK];
                if silent.wait_for(|silent| !silent).await.is_err() {
                    return;
                }
                let Ok(n @ 1..) = from.read(&mut chunk).await else { return };
                chunk.truncate(n);
                if outward {
                    self.outward.set(self.outward.get() + u64::try_from(n).unwrap_or(0));
                }
                if under_way.send((time::Instant::now() + self.delay, chunk)).await.is_err() {
                    return;
                }
            }
        };
        let write = async {
            let mut silent = self.silent.subscribe();
            while let Some((at, chunk)) = due.recv().await {
                time::sleep_until(at).await;
                if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&chunk).await.is_err() {
                    return;
                }
                let pause = self.pause.get();
                if !pause.is_zero() {
                    time::sleep(pause).await;
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = write => {}
        }
    }
}

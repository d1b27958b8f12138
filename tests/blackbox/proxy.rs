//! A TCP proxy between two nodes: records what passes, flips a bit on demand, resets.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::SockRef;

/// A proxy to one port. Its threads end with their connections.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Both ends of what is connected.
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
    /// What the dialling end sent, one recording per connection.
    sent: Mutex<Vec<Vec<u8>>>,
    /// The next bytes to the port get one wrong bit.
    flip: AtomicBool,
}

impl Proxy {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        let shared = Arc::clone(&proxy.shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(near), Ok(far)) = (stream, TcpStream::connect((Ipv4Addr::LOCALHOST, port))) else {
                    continue;
                };
                let recording = {
                    let mut sent = shared.sent.lock().unwrap();
                    sent.push(Vec::new());
                    sent.len() - 1
                };
                shared.open.lock().unwrap().push((near.try_clone().unwrap(), far.try_clone().unwrap()));
                let (near_back, far_back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let forward = Arc::clone(&shared);
                thread::spawn(move || copy(near, far, |bytes| forward.pass(recording, bytes)));
                thread::spawn(move || copy(far_back, near_back, |_| {}));
            }
        });
        proxy
    }

    /// Resets every connection; how many there were.
    pub(crate) fn reset(&self) -> usize {
        let open = std::mem::take(&mut *self.shared.open.lock().unwrap());
        let living =
            open.into_iter().filter(|(near, far)| near.peer_addr().is_ok() && far.peer_addr().is_ok());
        living
            .map(|(near, far)| {
                for end in [near, far] {
                    // With no time to linger, an end is a reset once the last handle of it is closed.
                    SockRef::from(&end).set_linger(Some(Duration::ZERO)).unwrap();
                    let _ = end.shutdown(Shutdown::Both);
                }
            })
            .count()
    }

    /// The next bytes of the dialling end arrive with one bit wrong.
    pub(crate) fn flip_a_bit(&self) {
        self.shared.flip.store(true, Ordering::Release);
    }

    /// Whether the wrong bit has passed.
    pub(crate) fn flipped(&self) -> bool {
        !self.shared.flip.load(Ordering::Acquire)
    }

    /// What the dialling end sent so far, per connection.
    pub(crate) fn recordings(&self) -> Vec<Vec<u8>> {
        self.shared.sent.lock().unwrap().clone()
    }
}

impl Shared {
    fn pass(&self, recording: usize, bytes: &mut [u8]) {
        self.sent.lock().unwrap()[recording].extend_from_slice(bytes);
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle)
            && self.flip.swap(false, Ordering::AcqRel)
        {
            *byte ^= 0x10;
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut pass: impl FnMut(&mut [u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        pass(&mut buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

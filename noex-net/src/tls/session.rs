//! TLS on one connection: its handshake, and the cipher that the reader and the writer of the session share.
//!
//! ```text
//! outbox ──encrypt──► [ at most 64 KiB of records ] ──drain──► socket ──► buffer ──read──► batches
//! ```
//! Invariants: 1. nothing is encrypted before what was encrypted last is with the kernel, so that a peer that does not read
//! costs no more than that; 2. ciphertext goes to the socket only by `drain`, in the order in which it was made: also what
//! the reader causes, such as an alert; 3. until the peer is authenticated, at most 64 KiB are read from it.

use std::{
    io::{self, IoSlice, Read, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use rustls::{ClientConnection, Connection, ServerConnection, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::{
    TlsConfig,
    config::{ALPN, broken},
    verify::dns_names,
};
use crate::{io::socket::Socket, machine::handshake::TlsFacts, wire::limits::READ_BUFFER};

/// Most plaintext that is encrypted and not with the kernel.
const AHEAD: usize = 64 * 1024;
/// Most that is read from somebody who is not authenticated: records of TLS and frames of the handshake together.
const STRANGER: usize = 64 * 1024;
/// How much of that at a time.
const STEP: usize = 4096;
/// What is exported into the transcript of the handshake.
const EXPORTER: &[u8] = b"EXPORTER-noex/1";

/// What encrypts and decrypts one connection.
#[derive(Debug)]
pub(crate) struct Cipher(Mutex<Connection>);

impl Cipher {
    /// Encrypts as much as may wait, at least one byte; only after a `drain` that came to its end.
    pub(crate) fn encrypt(&self, plain: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0.lock().writer().write_vectored(plain)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            taken => Ok(taken),
        }
    }

    /// Writes what is encrypted, all of it unless the socket refuses.
    pub(crate) fn drain(&self, socket: &mut impl Write) -> io::Result<()> {
        let mut connection = self.0.lock();
        while connection.wants_write() {
            if connection.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Says, behind everything else, that nothing more comes.
    pub(crate) fn end(&self) {
        self.0.lock().send_close_notify();
    }

    /// Decrypts into `room` until it is full or there is nothing left. True if the peer sends nothing more.
    fn decrypt(&self, from: &mut &[u8], room: &mut [u8]) -> io::Result<(usize, bool)> {
        let mut connection = self.0.lock();
        let mut filled = 0;
        while filled < room.len() {
            // What is decrypted goes first: rustls holds only so much of it.
            match connection.reader().read(&mut room[filled..]) {
                Ok(0) => return Ok((filled, true)),
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if from.is_empty() {
                        break;
                    }
                    connection.read_tls(from)?;
                    connection.process_new_packets().map_err(broken)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((filled, false))
    }
}

/// The end of a connection that TLS runs on, with what was read of it and is not decrypted yet.
#[derive(Debug)]
pub(crate) struct Secured {
    cipher: Arc<Cipher>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// How much more may be read from somebody who is not authenticated.
    allowance: Option<usize>,
    facts: TlsFacts,
}

impl TlsConfig {
    /// The handshake of TLS at the end that dialled.
    pub(crate) async fn dial(&self, socket: &mut Socket) -> io::Result<Secured> {
        // The name is compared later, by the handshake inside.
        let name = ServerName::IpAddress(socket.peer_addr()?.ip().into());
        let connection = ClientConnection::new(self.client(), name).map_err(broken)?;
        Secured::new(connection.into()).shake(socket).await
    }

    /// The handshake of TLS at the end that was dialled. `Unsupported`: the other end speaks `noex/1` without TLS.
    pub(crate) async fn accept(&self, socket: &mut Socket) -> io::Result<Secured> {
        let connection = ServerConnection::new(self.server()).map_err(broken)?;
        let mut secured = Secured::new(connection.into());
        while secured.end < 4 {
            secured.fill(socket).await?;
        }
        // The third and fourth byte are a version that is not 0, or the upper half of the length of a short frame.
        if secured.buffer[2..4] == [0, 0] {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the peer does not speak TLS"));
        }
        secured.shake(socket).await
    }
}

impl Secured {
    fn new(mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(AHEAD));
        Self {
            cipher: Arc::new(Cipher(Mutex::new(connection))),
            buffer: vec![0; STEP],
            start: 0,
            end: 0,
            allowance: Some(STRANGER),
            facts: TlsFacts::default(),
        }
    }

    /// What TLS knows of the connection.
    pub(crate) fn facts(&self) -> TlsFacts {
        self.facts.clone()
    }

    /// The peer is known: from here on the limits of a session hold.
    pub(crate) fn authenticated(&mut self) -> Arc<Cipher> {
        self.allowance = None;
        self.buffer.resize(READ_BUFFER, 0);
        Arc::clone(&self.cipher)
    }

    /// Whether there is ciphertext that a reading caused.
    pub(crate) fn wants_write(&self) -> bool {
        self.cipher.0.lock().wants_write()
    }

    /// Reads more ciphertext behind what is there; the end of the stream is an error.
    async fn fill(&mut self, socket: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let bytes = socket.read(&mut self.buffer[self.end..]).await?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += bytes;
        if let Some(allowance) = &mut self.allowance {
            *allowance = allowance.checked_sub(bytes).ok_or_else(|| {
                io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 KiB before the peer is known")
            })?;
        }
        Ok(())
    }

    async fn shake(mut self, socket: &mut Socket) -> io::Result<Self> {
        loop {
            let done = self.step();
            // Also when it failed: the alert says why.
            let mut records = Vec::new();
            self.cipher.drain(&mut records)?;
            let sent = socket.write_all(&records).await;
            if done? {
                sent?;
                return Ok(self);
            }
            sent?;
            self.fill(socket).await?;
        }
    }

    /// Takes what was read; true when the handshake of TLS is done, and the peer known by its certificate.
    fn step(&mut self) -> io::Result<bool> {
        let mut connection = self.cipher.0.lock();
        let mut from = &self.buffer[self.start..self.end];
        let mut failed = Ok(());
        while connection.is_handshaking() && !from.is_empty() && failed.is_ok() {
            let read = connection.read_tls(&mut from).map(|_bytes| ());
            failed = read.and_then(|()| connection.process_new_packets().map(|_state| ()).map_err(broken));
        }
        self.start = self.end - from.len();
        failed?;
        if connection.is_handshaking() {
            return Ok(false);
        }
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        if connection.alpn_protocol() != Some(ALPN) {
            return Err(invalid("the peer speaks TLS, but not noex/1"));
        }
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.ok_or_else(|| invalid("the peer has no certificate"))?;
        self.facts.names = dns_names(certificate).map_err(broken)?;
        self.facts.binding = connection.export_keying_material([0; 32], EXPORTER, None).map_err(broken)?;
        Ok(true)
    }

    /// Reads at least one byte; 0 at the end of the stream, whether or not the peer said that it comes.
    pub(crate) async fn read(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        room: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            let mut from = &self.buffer[self.start..self.end];
            let taken = self.cipher.decrypt(&mut from, room);
            self.start = self.end - from.len();
            match taken? {
                (0, false) => {}
                (bytes, _) => return Ok(bytes),
            }
            match self.fill(socket).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes all of it, as long as the handshake goes on.
    pub(crate) async fn write_all(&mut self, socket: &mut Socket, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.cipher.encrypt(&[IoSlice::new(bytes)])?;
            bytes = &bytes[taken..];
            let mut records = Vec::new();
            self.cipher.drain(&mut records)?;
            socket.write_all(&records).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Frames of the handshake on a connection, plain or within TLS: `[len u32 LE][body]`, at most 4 KiB, read exactly, never
//! ahead.

use std::{io, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::socket::Socket;
use crate::{
    machine::handshake::{RefusedReason, TlsFacts},
    tls::{Secured, TlsConfig},
    wire::handshake::MAX_FRAME,
};

/// Begins of records of TLS, where a length should be that is at most 4 KiB: an alert, and a hello.
const RECORDS: [[u8; 2]; 2] = [[0x15, 3], [0x16, 3]];
/// A record of TLS: a fatal alert, no version of the protocol in common. What a client of TLS understands.
const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 70];
/// How long, and how far, one who was refused is read on, so that he reads why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// Why a handshake does not go on, and what that was in words.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: RefusedReason,
    pub(crate) detail: String,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let reason = match error.kind() {
            // So `Secured` says what it does not like.
            io::ErrorKind::InvalidData | io::ErrorKind::Unsupported => RefusedReason::Tls,
            io::ErrorKind::FileTooLarge => RefusedReason::TooLong,
            _ => RefusedReason::Eof,
        };
        Self { reason, detail: error.to_string() }
    }
}

/// A connection before it is a session.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) socket: Socket,
    pub(crate) secured: Option<Secured>,
}

impl Channel {
    pub(crate) fn new(socket: impl Into<Socket>) -> Self {
        Self { socket: socket.into(), secured: None }
    }

    /// The handshake of TLS at the end that dialled, if there is to be TLS. Gives what TLS knows of the connection.
    ///
    /// # Errors
    /// Why it failed.
    pub(crate) async fn dial(&mut self, tls: Option<&TlsConfig>) -> Result<Option<TlsFacts>, Refusal> {
        if let Some(tls) = tls {
            self.secured = Some(tls.dial(&mut self.socket).await?);
        }
        Ok(self.secured.as_ref().map(Secured::facts))
    }

    /// The same at the end that was dialled.
    ///
    /// # Errors
    /// Why it failed; the other end has been told.
    pub(crate) async fn accept(
        &mut self,
        tls: Option<&TlsConfig>,
        refused: impl FnOnce() -> Vec<u8>,
    ) -> Result<Option<TlsFacts>, Refusal> {
        if let Some(tls) = tls {
            match tls.accept(&mut self.socket).await {
                Ok(secured) => self.secured = Some(secured),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    let _ = self.write_frame(&refused()).await;
                    return Err(error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.secured.as_ref().map(Secured::facts))
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// Why the peer is refused: too long, or gone; or it speaks TLS and this end does not, of which it has been told.
    pub(crate) async fn read_frame(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut prefix = [0; 4];
        self.read_exact(&mut prefix).await?;
        let len = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
        if len > MAX_FRAME {
            if self.secured.is_none() && RECORDS.iter().any(|record| prefix.starts_with(record)) {
                let _ = self.socket.write_all(&ALERT).await;
                return Err(io::Error::new(io::ErrorKind::Unsupported, "the peer speaks TLS").into());
            }
            let detail = "no frame of the handshake".to_owned();
            return Err(Refusal { reason: RefusedReason::TooLong, detail });
        }
        let mut body = vec![0; len];
        self.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn read_exact(&mut self, mut room: &mut [u8]) -> io::Result<()> {
        let Some(secured) = &mut self.secured else {
            return self.socket.read_exact(room).await.map(|_bytes| ());
        };
        while !room.is_empty() {
            match secured.read(&mut self.socket, room).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => room = &mut room[bytes..],
            }
        }
        Ok(())
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) async fn write_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let mut frame = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        frame.extend_from_slice(body);
        match &mut self.secured {
            Some(secured) => secured.write_all(&mut self.socket, &frame).await,
            None => self.socket.write_all(&frame).await,
        }
    }

    /// Ends a connection that TLS is the trouble of. Bytes that nobody reads would make a reset of the end, and the other
    /// end would not read what it was told.
    pub(crate) async fn linger(mut self) {
        let _ = self.socket.shutdown().await;
        let reading = async {
            let (mut bin, mut left) = ([0; 4096], LINGER_BYTES);
            while let Ok(bytes @ 1..) = self.socket.read(&mut bin).await {
                left = left.saturating_sub(bytes);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = actix_rt::time::timeout(LINGER, reading).await;
    }
}

//! The receiving side of a session's socket: as it comes, or decrypted.

use std::{io, sync::Arc};

use tokio::io::AsyncReadExt;

use super::{outbox::Outbox, socket::ReadHalf};
use crate::tls::Secured;

/// Where a session reads.
#[derive(Debug)]
pub(crate) struct Incoming {
    socket: ReadHalf,
    secured: Option<(Secured, Arc<Outbox>)>,
}

impl Incoming {
    /// With TLS, `outbox` writes what the reading makes TLS say.
    pub(crate) fn new(socket: ReadHalf, secured: Option<Secured>, outbox: &Arc<Outbox>) -> Self {
        Self { socket, secured: secured.map(|secured| (secured, Arc::clone(outbox))) }
    }

    /// Reads at least one byte; 0 at the end of the stream.
    ///
    /// # Errors
    /// The socket's; `InvalidData` if what came is no TLS, or was changed on its way.
    pub(crate) async fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some((secured, outbox)) = &mut self.secured else {
            return self.socket.read(room).await;
        };
        let read = secured.read(&mut self.socket, room).await;
        if secured.wants_write() {
            outbox.flush_anyway();
        }
        read
    }
}

//! Frames of the handshake on a socket: `[len u32 LE][body]`, at most 4 KiB, read exactly, never ahead.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{machine::handshake::RefusedReason, wire::handshake::MAX_FRAME};

/// Reads one frame.
///
/// # Errors
/// Why the peer is refused: too long, or gone.
pub(crate) async fn read_frame(socket: &mut TcpStream) -> Result<Vec<u8>, RefusedReason> {
    let mut prefix = [0; 4];
    socket.read_exact(&mut prefix).await.map_err(|_why| RefusedReason::Eof)?;
    let len = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if len > MAX_FRAME {
        return Err(RefusedReason::TooLong);
    }
    let mut body = vec![0; len];
    socket.read_exact(&mut body).await.map_err(|_why| RefusedReason::Eof)?;
    Ok(body)
}

/// Writes one frame.
///
/// # Errors
/// The socket's.
pub(crate) async fn write_frame(socket: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let mut frame = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    frame.extend_from_slice(body);
    socket.write_all(&frame).await
}

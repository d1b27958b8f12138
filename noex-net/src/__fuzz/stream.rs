//! A session's bytes over any stream: what a reader does with them, without a socket.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::wire;
use crate::{
    io::reader::Batches,
    wire::{
        frame::Frame,
        tag::{TagAlgorithm, Tagger},
    },
};

const KEY: [u8; 32] = [1; 32];

/// These frames as the first batch of a session with a secret: they get past the tag.
#[must_use]
pub fn sealed(frames: &[u8]) -> Vec<u8> {
    wire::batch(&mut Tagger::new(TagAlgorithm::HmacSha256, &KEY), frames)
}

/// Reads until the end or the first batch or frame that is malformed; returns how many whole frames there were, and
/// whether the stream ended well.
///
/// # Panics
/// If an invariant is broken.
pub async fn stream(mut from: impl AsyncRead + Unpin) -> (u64, bool) {
    let mut batches = Batches::new(Some(Tagger::new(TagAlgorithm::HmacSha256, &KEY)));
    let mut taken = 0;
    loop {
        match from.read(batches.room()).await {
            Ok(0) => return (taken, batches.held() == 0),
            Ok(bytes) => batches.filled(bytes),
            Err(_) => return (taken, false),
        }
        loop {
            let mut frames = match batches.next() {
                Ok(Some(frames)) => frames,
                Ok(None) => break,
                Err(_) => return (taken, false),
            };
            loop {
                match Frame::take(&mut frames) {
                    Ok(Some(Frame::Control(body))) => wire::control(body),
                    Ok(Some(Frame::Failure { body, .. })) => wire::failure(body),
                    Ok(Some(Frame::Call { body, .. } | Frame::Cast { body, .. })) => wire::payload(body),
                    Ok(Some(Frame::Traced { frame, .. })) => match *frame {
                        Frame::Call { body, .. } | Frame::Cast { body, .. } => wire::payload(body),
                        other => unreachable!("only calls and casts belong to a trace: {other:?}"),
                    },
                    Ok(Some(Frame::Reply { .. } | Frame::First { .. } | Frame::Next { .. })) => {}
                    Ok(Some(Frame::Dropped { .. } | Frame::Cancel { .. })) => {}
                    Ok(Some(Frame::Mark { .. } | Frame::Credit { .. })) => {}
                    Ok(None) => break,
                    Err(_malformed) => return (taken, false),
                }
                taken += 1;
            }
        }
    }
}

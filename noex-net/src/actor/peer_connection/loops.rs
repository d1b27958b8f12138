//! The loops of an open connection: its flusher, its alarm and its reader.

use std::{io::ErrorKind, sync::Arc};

use crate::{
    actor::messages::Fact,
    io::{incoming::Incoming, outbox::turn, reader::Batches},
    link::{Broken, Inbound, Link, Step},
    wire::{limits::READ_BUDGET, tag::Tagger},
};

/// How often a reader lets its arbiter run for a crowded mailbox before it reads on. A process takes 16 messages a turn, and
/// one read may bring a few thousand.
const MAX_YIELDS: u32 = 512;
/// Bytes read at once from which on a mailbox may be crowded by them.
const FLOOD: usize = 16 * 1024;

pub(super) async fn flush(link: Arc<Link>) {
    let error = Arc::clone(&link.outbox).flusher().await;
    tracing::debug!(peer = %link.peer, %error, "the connection cannot be written to");
    link.shut_down();
}

/// Ends calls whose deadline has come.
pub(super) async fn keep_deadlines(link: Arc<Link>) {
    while !link.is_over() {
        let set = link.alarm.notified();
        match link.calls.alarm() {
            None => set.await,
            Some(at) => {
                let due = actix_rt::time::sleep_until(link.net.node.clock().instant(at));
                tokio::select! {
                    () = due => link.expire(link.net.node.now()),
                    () = set => {}
                }
            }
        }
    }
}

/// Reads until the end; returns the reason that the peer gave.
pub(super) async fn read(link: Arc<Link>, mut socket: Incoming, tagger: Option<Tagger>) -> Option<String> {
    let mut batches = Batches::new(tagger).compressed(link.compression);
    let mut inbound = Inbound::new(Arc::clone(&link));
    let mut budget = READ_BUDGET;
    loop {
        let bytes = match socket.read(batches.room()).await {
            Ok(0) => return None,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                tracing::warn!(peer = %link.peer, %error, "the peer broke TLS; the connection ends");
                return None;
            }
            Err(error) => {
                tracing::debug!(peer = %link.peer, %error, "the connection was lost");
                return None;
            }
        };
        batches.filled(bytes);
        match take(&link, &mut batches, &mut inbound).await {
            // SECURITY: a socket that is shut down gives what it has, and a peer that floods keeps it full.
            Ok(None) if link.is_broken_off() => return None,
            Ok(None) => {}
            Ok(Some(told)) => return Some(told),
            Err(broken) => {
                link.break_off(broken.error(), &broken.to_string());
                return None;
            }
        }
        link.outbox.flush_after_turn(inbound.count()).await;
        // A flood waits in the socket, as far as that helps; the reader is never blocked by a full mailbox.
        for _ in 0..if bytes < FLOOD { 0 } else { MAX_YIELDS } {
            if !inbound.crowded() {
                break;
            }
            turn().await;
        }
        budget = budget.saturating_sub(bytes);
        if budget == 0 {
            budget = READ_BUDGET;
            tokio::task::yield_now().await;
        }
    }
}

/// Takes the whole batches that are there. `Some`: the peer ends the connection.
async fn take(
    link: &Arc<Link>,
    batches: &mut Batches,
    inbound: &mut Inbound,
) -> Result<Option<String>, Broken> {
    while let Some(mut frames) = batches.next()? {
        if link.is_broken_off() {
            break;
        }
        link.received(frames.len(), link.net.node.clock().coarse());
        loop {
            match inbound.run(&mut frames)? {
                Step::Done => break,
                // After some milliseconds of work: sockets and timers have their turn as well.
                Step::Turn => tokio::task::yield_now().await,
                Step::End(reason) => return Ok(Some(reason.into())),
                Step::FirstHeartbeat(heartbeat) => {
                    let (up, is_up) = tokio::sync::oneshot::channel();
                    link.net.tell(Fact::FirstHeartbeat { conn: link.conn, heartbeat: *heartbeat, up });
                    if is_up.await.is_err() {
                        // It is being closed: nothing of it is taken any more.
                        return Ok(Some(String::new()));
                    }
                }
            }
        }
    }
    Ok(None)
}

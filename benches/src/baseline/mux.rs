//! `mux-mp`: how a careful user would write calls over one connection with tokio.
//!
//! ```text
//! callers ─mpsc─► writer ═══► reader ─mpsc─► actor
//!    ▲ oneshot                                 │ mpsc
//!  reader ◄═══════════════════════ writer ◄────┘
//! ```
//!
//! Both writers take up to 1024 messages at once and write them together.

use std::{
    collections::HashMap,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};

use crate::{
    Failure, Outcome,
    driver::Driver,
    frame::{Kind, MSG_PAYLOAD, Msg, ReadBuffer, put},
};

/// Messages in a channel.
const QUEUE: usize = 4096;
/// Messages of one write.
const BATCH: usize = 1024;

#[derive(Debug)]
struct Message {
    id: u64,
    kind: Kind,
    body: Vec<u8>,
}

#[derive(Debug)]
struct Reply {
    id: u64,
    body: Vec<u8>,
}

/// Serves one connection until the peer closes.
pub(super) async fn serve(stream: TcpStream) -> Outcome<()> {
    let (mut reader, writer) = stream.into_split();
    let (to_actor, inbox) = mpsc::channel(QUEUE);
    let (to_writer, replies) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(failure) = act(inbox, to_writer).await {
            eprintln!("noex-bench: actor: {failure}");
        }
    });
    tokio::spawn(write(replies, writer, |out, reply: Reply| put(out, reply.id, Kind::Reply, &reply.body)));
    let mut input = ReadBuffer::new();
    while input.fill(&mut reader).await? {
        while let Some(frame) = input.next_frame()? {
            let message = Message { id: frame.id, kind: frame.kind, body: frame.body.to_vec() };
            if to_actor.send(message).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The target: handles one message after the other.
async fn act(mut inbox: mpsc::Receiver<Message>, replies: mpsc::Sender<Reply>) -> Outcome<()> {
    let mut casts = 0u64;
    while let Some(Message { id, kind, body }) = inbox.recv().await {
        let body = match kind {
            Kind::Echo => {
                let msg: Msg<'_> = rmp_serde::from_slice(&body)?;
                rmp_serde::to_vec(&Msg { id, pid: Msg::PID, payload: msg.payload })?
            }
            Kind::Cast => {
                let msg: Msg<'_> = rmp_serde::from_slice(&body)?;
                black_box(msg.id);
                casts += 1;
                continue;
            }
            Kind::Count => casts.to_le_bytes().to_vec(),
            Kind::Big => (body.len() as u64).to_le_bytes().to_vec(),
            Kind::Reply => return Err("a reply came to the server".into()),
        };
        if replies.send(Reply { id, body }).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Takes what is queued, and writes it at once.
async fn write<M>(mut queue: mpsc::Receiver<M>, mut writer: OwnedWriteHalf, put: impl Fn(&mut Vec<u8>, M)) {
    let mut out = Vec::with_capacity(256 << 10);
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        for message in batch.drain(..) {
            put(&mut out, message);
        }
        if writer.write_all(&out).await.is_err() {
            break;
        }
        out.clear();
    }
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>>;

/// The client. Caller tasks share it.
#[derive(Debug)]
pub(super) struct Mux {
    to_writer: mpsc::Sender<Message>,
    pending: Pending,
    next_id: AtomicU64,
}

impl Mux {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        let (to_writer, queue) = mpsc::channel(QUEUE);
        let pending = Pending::default();
        tokio::spawn(write(queue, writer, |out, m: Message| put(out, m.id, m.kind, &m.body)));
        tokio::spawn(read(reader, Arc::clone(&pending)));
        Mux { to_writer, pending, next_id: AtomicU64::new(1) }
    }

    async fn request(&self, kind: Kind, body: Vec<u8>) -> Outcome<Vec<u8>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (reply_to, reply) = oneshot::channel();
        self.pending.lock().insert(id, reply_to);
        if self.to_writer.send(Message { id, kind, body }).await.is_err() {
            return Err(closed());
        }
        let Ok(reply) = reply.await else { return Err(closed()) };
        Ok(reply)
    }
}

/// Gives every reply to the caller that waits for it. Ends with the connection; then the callers fail.
async fn read(mut reader: OwnedReadHalf, pending: Pending) {
    let mut input = ReadBuffer::new();
    while let Ok(true) = input.fill(&mut reader).await {
        while let Ok(Some(frame)) = input.next_frame() {
            if let Some(caller) = pending.lock().remove(&frame.id) {
                let _gone = caller.send(frame.body.to_vec());
            }
        }
    }
    pending.lock().clear();
}

#[cold]
fn closed() -> Failure {
    "the connection closed".into()
}

fn encode(payload: &[u8]) -> Outcome<Vec<u8>> {
    Ok(rmp_serde::to_vec(&Msg { id: 1, pid: Msg::PID, payload })?)
}

impl Driver for Mux {
    const PAYLOAD: usize = MSG_PAYLOAD;

    async fn call(&self, payload: Vec<u8>) -> Outcome<usize> {
        let reply = self.request(Kind::Echo, encode(&payload)?).await?;
        Ok(rmp_serde::from_slice::<Msg<'_>>(&reply)?.payload.len())
    }

    async fn cast(&self, payload: Vec<u8>) -> Outcome<()> {
        let message = Message { id: 0, kind: Kind::Cast, body: encode(&payload)? };
        if self.to_writer.send(message).await.is_ok() { Ok(()) } else { Err(closed()) }
    }

    async fn count(&self) -> Outcome<u64> {
        number(&self.request(Kind::Count, Vec::new()).await?)
    }

    async fn big(&self, payload: Vec<u8>) -> Outcome<usize> {
        Ok(number(&self.request(Kind::Big, payload).await?)? as usize)
    }
}

fn number(reply: &[u8]) -> Outcome<u64> {
    Ok(u64::from_le_bytes(reply.try_into()?))
}

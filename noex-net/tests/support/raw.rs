//! A peer that is not a node: it holds the secret, speaks the protocol as docs/wire-protocol.md has it, and then says what a
//! test wants. A second implementation on purpose: nothing here is noex-net's own code.

use std::collections::BTreeMap;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use noex_net::Cluster;
use serde::Serialize;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Res, until, within};

pub const SECRET: &str = "a secret of the tests";

pub const CONTROL: u8 = 0;
pub const CALL: u8 = 1;
/// A bit of the kind of a call: its reply may go by number.
pub const NUMBERED: u8 = 0x40;
/// The capability that goes with it.
pub const NUMBERED_REPLIES: u64 = 1 << 2;
/// The capability of a node that answers an `Unlink`.
pub const NUMBERED_UNLINKS: u64 = 1 << 3;
pub const CAST: u8 = 2;
pub const REPLY: u8 = 3;
pub const FAILURE: u8 = 4;
pub const FIRST: u8 = 5;
pub const CANCEL: u8 = 6;
pub const NEXT: u8 = 7;
pub const DROPPED: u8 = 8;
pub const MARK: u8 = 9;
pub const CREDIT: u8 = 10;

pub type Challenge = (u16, String, u64, ByteBuf, Option<String>, u64, String, ByteBuf);

/// One direction: its key, and the number of its next batch.
struct Tag {
    key: [u8; 32],
    sequence: u64,
}

impl Tag {
    fn next(&mut self, frames: &[u8]) -> [u8; 16] {
        let tag = hmac(
            &self.key,
            &[&self.sequence.to_le_bytes(), &u64::try_from(frames.len()).unwrap().to_le_bytes(), frames],
        );
        self.sequence += 1;
        tag[..16].try_into().unwrap()
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn transcript(messages: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"noex/1 transcript");
    for message in messages {
        hash.update(u64::try_from(message.len()).unwrap().to_le_bytes());
        hash.update(message);
    }
    hash.finalize().into()
}

/// A message with content: a map of one entry.
pub fn message(word: &str, fields: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(&BTreeMap::from([(word, fields)])).unwrap()
}

pub async fn write_handshake(socket: &mut TcpStream, body: &[u8]) -> Res {
    let mut frame = u32::try_from(body.len())?.to_le_bytes().to_vec();
    frame.extend(body);
    Ok(socket.write_all(&frame).await?)
}

pub async fn read_handshake(socket: &mut TcpStream) -> Res<Vec<u8>> {
    let mut body = vec![0; usize::try_from(socket.read_u32_le().await?)?];
    socket.read_exact(&mut body).await?;
    Ok(body)
}

/// A frame of a batch; a long one in chunks, as it must be.
pub fn frame(kind: u8, rest: &[u8]) -> Vec<u8> {
    if rest.len() >= usize::from(u16::MAX) {
        return chunks(99, &[&[kind], rest].concat()).concat();
    }
    let mut frame = u16::try_from(rest.len() + 1).unwrap().to_le_bytes().to_vec();
    frame.push(kind);
    frame.extend(rest);
    frame
}

/// A control frame with content.
pub fn control(word: &str, fields: &impl Serialize) -> Vec<u8> {
    frame(CONTROL, &message(word, fields))
}

/// A control frame without content.
pub fn word(word: &str) -> Vec<u8> {
    frame(CONTROL, &rmp_serde::to_vec(word).unwrap())
}

pub fn heartbeat() -> Vec<u8> {
    control("Heartbeat", &(0_u64, 0_u64, 0_f32, 0_u64, false, Some([(1_u32, "box")])))
}

pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7F).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// The number at the beginning of a frame's fields, and what follows it.
pub fn split_varint(bytes: &[u8]) -> (u64, &[u8]) {
    let len = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let groups = bytes[..len].iter().rev();
    (groups.fold(0, |number, group| number << 7 | u64::from(group & 0x7F)), &bytes[len..])
}

/// A behavior by the hash of its name.
pub fn named(name: &str) -> Vec<u8> {
    [&[0], &Sha256::digest(name)[..4]].concat()
}

/// A behavior by the number that the node announced.
pub fn numbered(number: u64) -> Vec<u8> {
    varint(number)
}

pub fn call(id: u64, behavior: &[u8], target: u64, body: &impl Serialize) -> Vec<u8> {
    call_within(5000, id, behavior, target, body)
}

pub fn call_within(budget_ms: u64, id: u64, behavior: &[u8], target: u64, body: &impl Serialize) -> Vec<u8> {
    let body = rmp_serde::to_vec(body).unwrap();
    frame(CALL, &[&varint(id), behavior, &varint(target), &varint(budget_ms), &body].concat())
}

pub fn cast(behavior: &[u8], target: u64, body: &impl Serialize) -> Vec<u8> {
    let body = rmp_serde::to_vec(body).unwrap();
    frame(CAST, &[behavior, &varint(target), &body].concat())
}

pub fn mark(target: u64, position: u64) -> Vec<u8> {
    frame(MARK, &[varint(target), varint(position)].concat())
}

pub fn credit(target: u64, position: u64) -> Vec<u8> {
    frame(CREDIT, &[varint(target), varint(position)].concat())
}

pub fn cancel(id: u64, target: u64) -> Vec<u8> {
    frame(CANCEL, &[varint(id), varint(target)].concat())
}

/// The chunks of a content: kind, fields and body of a frame.
pub fn chunks(stream: u64, content: &[u8]) -> Vec<Vec<u8>> {
    let (begin, rest) = content.split_at(content.len().min(50_000));
    let rest = rest.chunks(50_000).map(|piece| next(stream, piece));
    std::iter::once(first(stream, content.len(), begin)).chain(rest).collect()
}

pub fn first(stream: u64, total: usize, piece: &[u8]) -> Vec<u8> {
    let total = varint(u64::try_from(total).unwrap());
    frame(FIRST, &[&varint(stream)[..], &total, piece].concat())
}

pub fn next(stream: u64, piece: &[u8]) -> Vec<u8> {
    frame(NEXT, &[&varint(stream), piece].concat())
}

pub fn dropped(stream: u64) -> Vec<u8> {
    frame(DROPPED, &varint(stream))
}

/// `(id, incarnation, number)`, as a pid travels.
pub type WirePid = (String, u64, u64);
/// A name with its holder, as an update travels.
pub type WireUpdate = (String, u64, Option<(WirePid, Option<(String, String, u64)>)>);

/// An authenticated connection to a node.
pub struct RawPeer {
    pub socket: TcpStream,
    pub id: String,
    pub incarnation: u64,
    send: Tag,
    receive: Tag,
    /// Frames that came and were not looked at yet.
    pending: std::collections::VecDeque<(u8, Vec<u8>)>,
    /// Batches say whether they are compressed.
    pub marked: bool,
}

impl RawPeer {
    /// Connects and authenticates. Call it `z…`: the node then is the arbiter of the pair.
    pub async fn connect(to: &Cluster, id: &str, incarnation: u64) -> Res<Self> {
        Self::connect_as(to, id, incarnation, 0).await
    }

    /// With these capabilities. Bit 0: batches may be compressed, and say so.
    pub async fn connect_as(to: &Cluster, id: &str, incarnation: u64, capabilities: u64) -> Res<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", to.local_node_id().port())).await?;
        socket.set_nodelay(true)?;
        let key = SECRET.as_bytes();
        let nonce = ByteBuf::from([7_u8; 32]);
        let fields =
            ("noex", [1_u16], id, incarnation, nonce, ["default"], capabilities, ["hmac-sha256-128"]);
        let hello = message("hello", &fields);
        write_handshake(&mut socket, &hello).await?;
        let challenge = read_handshake(&mut socket).await?;
        let mut read: BTreeMap<String, Challenge> = rmp_serde::from_slice(&challenge)?;
        let mut fields = read.remove("challenge").ok_or_else(|| format!("refused: {read:?}"))?;
        let marked = fields.5 & capabilities & 1 == 1;
        let claimed = std::mem::take(&mut fields.7);
        let unproved = message("challenge", &fields);
        let expected = hmac(key, &[b"noex/1 acceptor proof", &transcript(&[&hello, &unproved])]);
        if claimed != expected {
            return Err("the acceptor did not prove itself".into());
        }
        let proof = hmac(key, &[b"noex/1 initiator proof", &transcript(&[&hello, &challenge])]);
        let proof = message("proof", &(ByteBuf::from(proof),));
        write_handshake(&mut socket, &proof).await?;
        let salt = transcript(&[&hello, &challenge, &proof]);
        let tag = |label: &[u8]| {
            let mut key_of = [0; 32];
            Hkdf::<Sha256>::new(Some(&salt), key).expand(label, &mut key_of).unwrap();
            Tag { key: key_of, sequence: 0 }
        };
        let (send, receive) = (tag(b"noex/1 initiator"), tag(b"noex/1 acceptor"));
        Ok(Self {
            socket,
            id: id.to_owned(),
            incarnation,
            send,
            receive,
            pending: Default::default(),
            marked,
        })
    }

    /// Connects, authenticates, and is up at the node.
    pub async fn join(to: &Cluster, id: &str) -> Res<Self> {
        Self::join_with(to, id, 0, &heartbeat()).await
    }

    /// The same with these capabilities.
    pub async fn join_as(to: &Cluster, id: &str, capabilities: u64) -> Res<Self> {
        Self::join_with(to, id, capabilities, &heartbeat()).await
    }

    /// The same, as one that announces no behavior and gives so much credit for each of its processes; 0: it does not say.
    pub async fn join_granting(to: &Cluster, id: &str, window: u64) -> Res<Self> {
        Self::join_with(to, id, 0, &Self::announcing_nothing(window)).await
    }

    /// As one that announces no behavior, with these capabilities.
    pub async fn join_unknown(to: &Cluster, id: &str, capabilities: u64) -> Res<Self> {
        Self::join_with(to, id, capabilities, &Self::announcing_nothing(0)).await
    }

    fn announcing_nothing(window: u64) -> Vec<u8> {
        let first = (0_u64, 0_u64, 0_f32, 0_u64, false, None::<[(u32, &str); 0]>, (0_u32, 0_u64), window);
        control("Heartbeat", &first)
    }

    async fn join_with(to: &Cluster, id: &str, capabilities: u64, heartbeat: &[u8]) -> Res<Self> {
        let mut peer = Self::connect_as(to, id, 1, capabilities).await?;
        peer.until_word("Welcome").await?;
        peer.send(heartbeat).await?;
        let id = id.parse()?;
        until(5, "the raw peer is up", || to.is_node_connected(&id)).await;
        Ok(peer)
    }

    /// A batch with these frames, tagged as the next one.
    pub fn sealed(&mut self, frames: &[u8]) -> Vec<u8> {
        if self.marked { self.sealed_as_is(&[&[0], frames].concat()) } else { self.sealed_as_is(frames) }
    }

    /// A batch with this behind its tag.
    pub fn sealed_as_is(&mut self, frames: &[u8]) -> Vec<u8> {
        let tag = self.send.next(frames);
        let len = u32::try_from(frames.len() + tag.len()).unwrap();
        [&len.to_le_bytes()[..], &tag, frames].concat()
    }

    /// Sends frames in one batch.
    pub async fn send(&mut self, frames: &[u8]) -> Res {
        let batch = self.sealed(frames);
        Ok(self.socket.write_all(&batch).await?)
    }

    /// Sends frames one by one: together they are too much for a batch.
    pub async fn send_all(&mut self, mut frames: Vec<u8>) -> Res {
        while let Some((len, _)) = frames.split_first_chunk::<2>() {
            let rest = frames.split_off(2 + usize::from(u16::from_le_bytes(*len)));
            let frame = std::mem::replace(&mut frames, rest);
            self.send(&frame).await?;
        }
        Ok(())
    }

    /// Sends frames in as many batches as it takes, or as the node lets it.
    pub async fn flood(&mut self, frames: impl Iterator<Item = Vec<u8>>) {
        let mut gathered = Vec::new();
        for frame in frames {
            gathered.extend(frame);
            if gathered.len() > 100_000 && self.send(&std::mem::take(&mut gathered)).await.is_err() {
                return;
            }
        }
        let _ = self.send(&gathered).await;
    }

    /// The bytes of the next batch that the node sends, as they are.
    pub async fn read_batch(&mut self) -> Res<Vec<u8>> {
        let mut batch = vec![0; usize::try_from(self.socket.read_u32_le().await?)?];
        self.socket.read_exact(&mut batch).await?;
        Ok(batch)
    }

    async fn fetch(&mut self) -> Res {
        let batch = self.read_batch().await?;
        let (tag, mut frames) = batch.split_at(16);
        if tag != self.receive.next(frames) {
            return Err("a tag does not verify".into());
        }
        let plain;
        if self.marked {
            plain = match frames.split_first().ok_or("no mark")? {
                (0, frames) => frames.to_vec(),
                (_, block) => {
                    let (len, block) = block.split_first_chunk::<4>().ok_or("no length")?;
                    lz4_flex::block::decompress(block, usize::try_from(u32::from_le_bytes(*len))?)?
                }
            };
            frames = &plain;
        }
        while let Some((len, rest)) = frames.split_first_chunk::<2>() {
            let len = usize::from(u16::from_le_bytes(*len));
            self.pending.push_back((rest[0], rest[1..len].to_vec()));
            frames = &rest[len..];
        }
        Ok(())
    }

    /// The next frame that `wanted` takes; others are left out.
    pub async fn until_frame<T>(&mut self, wanted: impl Fn(u8, &[u8]) -> Option<T>) -> Res<T> {
        within(10, "the frame comes", async {
            loop {
                while let Some((kind, body)) = self.pending.pop_front() {
                    if let Some(found) = wanted(kind, &body) {
                        return Ok(found);
                    }
                }
                self.fetch().await?;
            }
        })
        .await
    }

    /// Waits for a control message without content.
    pub async fn until_word(&mut self, word: &str) -> Res {
        let wanted = rmp_serde::to_vec(word)?;
        self.until_frame(|kind, body| (kind == CONTROL && body == wanted).then_some(())).await
    }

    /// Waits for a control message with content.
    pub async fn until_control(&mut self, word: &str) -> Res<serde_json::Value> {
        self.until_frame(|kind, body| {
            let read = (kind == CONTROL).then(|| rmp_serde::from_slice::<serde_json::Value>(body).ok())??;
            read.get(word).cloned()
        })
        .await
    }

    /// The same of one that holds bytes.
    pub async fn until_control_of<T: serde::de::DeserializeOwned>(&mut self, word: &str) -> Res<T> {
        self.until_frame(|kind, body| {
            let read =
                (kind == CONTROL).then(|| rmp_serde::from_slice::<BTreeMap<String, T>>(body).ok())??;
            read.into_iter().find_map(|(found, content)| (found == word).then_some(content))
        })
        .await
    }

    /// Waits until the node has closed the connection; returns what it said before, frames of all kinds.
    pub async fn until_closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        within(10, "the connection is closed", async { while self.fetch().await.is_ok() {} }).await;
        self.pending.drain(..).collect()
    }

    /// Waits until everything sent so far took effect: frames are taken in order.
    pub async fn settled(&mut self) -> Res {
        let nonce = 0xC0FF_EE00_0000_0000_u64 + self.send.sequence;
        self.send(&control("Ping", &(nonce,))).await?;
        let wanted = message("Pong", &(nonce,));
        self.until_frame(|kind, body| (kind == CONTROL && body == wanted).then_some(())).await
    }
}

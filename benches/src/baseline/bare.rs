//! `bare` and `bare-mp`: the least that echoes frames over a connection. The limit of the others.
//!
//! Neither side has calls, tasks or queues: everything in a read buffer is answered with one write.
//! `sha256` is `bare` with a digest behind each large body, made by the client and checked by the server.

use std::{hint::black_box, time::Instant};

use sha2::{Digest, Sha256};
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::Body;
use crate::{
    Outcome,
    driver::{Workload, same_length},
    frame::{Frame, Kind, MSG_PAYLOAD, Msg, RAW_PAYLOAD, ReadBuffer, put, put_msg},
    load::{self, BIG_WARM_CALLS, LARGEST, Load, Order, Phase, Sample},
    system::CpuMeter,
};

/// Casts are written in blocks of about this many bytes.
const CAST_BLOCK: usize = 64 << 10;
/// Casts of this client to one of a client with tasks: else its phase is too short to measure.
const CAST_FACTOR: u64 = 3;
/// Bytes of a SHA-256.
const DIGEST: usize = 32;

/// Echoes until the peer closes.
pub(super) async fn serve(stream: TcpStream, body: Body) -> Outcome<()> {
    let (mut reader, mut writer) = stream.into_split();
    let mut input = ReadBuffer::new();
    let mut out = Vec::with_capacity(256 << 10);
    let mut casts = 0u64;
    while input.fill(&mut reader).await? {
        while let Some(frame) = input.next_frame()? {
            answer(&frame, body, &mut casts, &mut out)?;
        }
        if !out.is_empty() {
            writer.write_all(&out).await?;
            out.clear();
        }
    }
    Ok(())
}

#[inline]
fn answer(frame: &Frame<'_>, body: Body, casts: &mut u64, out: &mut Vec<u8>) -> Outcome<()> {
    match (frame.kind, body) {
        (Kind::Echo, Body::Raw | Body::Sha256) => put(out, frame.id, Kind::Reply, frame.body),
        (Kind::Echo, Body::Msgpack) => {
            let msg: Msg<'_> = rmp_serde::from_slice(frame.body)?;
            black_box(msg.id);
            put_msg(out, frame.id, Kind::Reply, msg.payload)?;
        }
        (Kind::Cast, Body::Raw | Body::Sha256) => *casts += 1,
        (Kind::Cast, Body::Msgpack) => {
            let msg: Msg<'_> = rmp_serde::from_slice(frame.body)?;
            black_box(msg.id);
            *casts += 1;
        }
        (Kind::Count, _) => put(out, frame.id, Kind::Reply, &casts.to_le_bytes()),
        (Kind::Big, Body::Sha256) => {
            let Some((body, digest)) = frame.body.split_last_chunk::<DIGEST>() else {
                return Err("a large frame without a digest".into());
            };
            if Sha256::digest(body)[..] != digest[..] {
                return Err("a digest does not match".into());
            }
            put(out, frame.id, Kind::Reply, &(body.len() as u64).to_le_bytes());
        }
        (Kind::Big, Body::Raw | Body::Msgpack) => {
            put(out, frame.id, Kind::Reply, &(frame.body.len() as u64).to_le_bytes());
        }
        (Kind::Reply, _) => return Err("a reply came to the server".into()),
    }
    Ok(())
}

/// The client: one task, a window of frames, one write per read.
#[derive(Debug)]
pub(super) struct Bare {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    input: ReadBuffer,
    out: Vec<u8>,
    body: Body,
    payload: Vec<u8>,
}

impl Bare {
    pub(super) fn new(stream: TcpStream, body: Body) -> Self {
        let (reader, writer) = stream.into_split();
        let payload = vec![7; if body == Body::Msgpack { MSG_PAYLOAD } else { RAW_PAYLOAD }];
        Bare { reader, writer, input: ReadBuffer::new(), out: Vec::new(), body, payload }
    }

    #[inline]
    fn put(&mut self, id: u64, kind: Kind) -> Outcome<()> {
        match self.body {
            Body::Raw | Body::Sha256 => put(&mut self.out, id, kind, &self.payload),
            Body::Msgpack => put_msg(&mut self.out, id, kind, &self.payload)?,
        }
        Ok(())
    }

    async fn write(&mut self) -> Outcome<()> {
        self.writer.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    async fn read(&mut self) -> Outcome<()> {
        if self.input.fill(&mut self.reader).await? { Ok(()) } else { Err("the server closed".into()) }
    }

    async fn echo(&mut self, id: u64) -> Outcome<()> {
        self.put(id, Kind::Echo)?;
        self.write().await?;
        loop {
            if let Some(frame) = self.input.next_frame()? {
                return same_length(echoed(&frame, self.body)?, self.payload.len());
            }
            self.read().await?;
        }
    }

    /// Sends what is in the buffer; the reply is one number.
    async fn number(&mut self) -> Outcome<u64> {
        self.write().await?;
        loop {
            if let Some(frame) = self.input.next_frame()? {
                return Ok(u64::from_le_bytes(frame.body.try_into()?));
            }
            self.read().await?;
        }
    }

    async fn seq(&mut self, load: &Load, cpu: &CpuMeter) -> Outcome<Sample> {
        for id in 0..u64::from(load.warm_calls) {
            self.echo(id).await?;
        }
        let mut latencies = Vec::with_capacity(load.seq_calls as usize);
        let used = cpu.read()?;
        let start = Instant::now();
        for id in 0..u64::from(load.seq_calls) {
            let sent = Instant::now();
            self.echo(id).await?;
            latencies.push(sent.elapsed().as_nanos() as u64);
            if start.elapsed() > load.seq_for() {
                break;
            }
        }
        Ok(load::rtt_sample(latencies, cpu.since(&used)?))
    }

    async fn window(&mut self, phase: Phase, load: &Load, cpu: &CpuMeter) -> Outcome<Sample> {
        let used = cpu.read()?;
        let start = Instant::now();
        let end = start + load.window_for();
        let mut outstanding = phase.window();
        for id in 0..outstanding as u64 {
            self.put(id, Kind::Echo)?;
        }
        self.write().await?;
        let mut calls = 0;
        while outstanding > 0 {
            self.read().await?;
            let more = Instant::now() < end;
            while let Some(frame) = self.input.next_frame()? {
                same_length(echoed(&frame, self.body)?, self.payload.len())?;
                calls += 1;
                if !more {
                    outstanding -= 1;
                    continue;
                }
                match self.body {
                    Body::Raw | Body::Sha256 => put(&mut self.out, frame.id, Kind::Echo, &self.payload),
                    Body::Msgpack => put_msg(&mut self.out, frame.id, Kind::Echo, &self.payload)?,
                }
            }
            if !self.out.is_empty() {
                self.write().await?;
            }
        }
        let elapsed = start.elapsed();
        Ok(load::window_sample(phase, calls, elapsed, cpu.since(&used)?))
    }

    async fn casts(&mut self, load: &Load, cpu: &CpuMeter) -> Outcome<Sample> {
        put(&mut self.out, 0, Kind::Count, &[]);
        let before = self.number().await?;
        let used = cpu.read()?;
        let start = Instant::now();
        let mut sent = 0;
        while sent < load.casts * CAST_FACTOR && start.elapsed() < load.cast_for() {
            while self.out.len() <= CAST_BLOCK {
                self.put(sent, Kind::Cast)?;
                sent += 1;
            }
            self.write().await?;
        }
        put(&mut self.out, 0, Kind::Count, &[]);
        let arrived = self.number().await? - before;
        let elapsed = start.elapsed();
        Ok(load::cast_sample(sent, arrived, elapsed, cpu.since(&used)?))
    }

    async fn big(&mut self, phase: Phase, load: &Load, cpu: &CpuMeter) -> Outcome<Sample> {
        let len = phase.large().unwrap_or(LARGEST);
        let mut payload = vec![9; len];
        for id in 0..BIG_WARM_CALLS {
            self.put_big(id.into(), &mut payload);
            self.number().await?;
        }
        let used = cpu.read()?;
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed() < load.big_for() {
            self.put_big(calls, &mut payload);
            same_length(self.number().await? as usize, len)?;
            calls += 1;
        }
        let elapsed = start.elapsed();
        Ok(load::big_sample(phase, calls, elapsed, cpu.since(&used)?))
    }

    fn put_big(&mut self, id: u64, payload: &mut Vec<u8>) {
        let len = payload.len();
        if self.body == Body::Sha256 {
            let digest = Sha256::digest(&*payload);
            payload.extend_from_slice(&digest);
        }
        put(&mut self.out, id, Kind::Big, payload);
        payload.truncate(len);
    }
}

#[inline]
fn echoed(frame: &Frame<'_>, body: Body) -> Outcome<usize> {
    Ok(match body {
        Body::Raw | Body::Sha256 => frame.body.len(),
        Body::Msgpack => rmp_serde::from_slice::<Msg<'_>>(frame.body)?.payload.len(),
    })
}

impl Workload for Bare {
    async fn run(&mut self, order: &Order, cpu: &CpuMeter) -> Outcome<Sample> {
        let Order { phase, load } = order;
        if self.body == Body::Sha256 && phase.large().is_none() {
            return Ok(Sample::new());
        }
        match *phase {
            Phase::Seq => self.seq(load, cpu).await,
            Phase::P8 | Phase::P64 | Phase::P512 => self.window(*phase, load, cpu).await,
            Phase::Cast => self.casts(load, cpu).await,
            Phase::Kib4 | Phase::Kib64 | Phase::Big | Phase::Mib8 => self.big(*phase, load, cpu).await,
            Phase::Ping => Ok(Sample::new()),
        }
    }
}

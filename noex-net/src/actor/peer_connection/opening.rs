//! From a socket, or an address, to a connection whose handshake is done.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc};

use tokio::net::TcpStream;

use crate::{
    config::InsecurePeers,
    event::DialError,
    io::handshake::{read_frame, write_frame},
    machine::{
        handshake::{self, Acceptor, Established, Expected, Initiator, Local, RefusedReason},
        keys::Keys,
        membership::Target,
    },
    net::Net,
};

/// Most bytes that the kernel takes ahead of what it can send.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_UNSENT: u32 = 128 * 1024;

/// How a handshake ended that did not lead to a session.
pub(super) enum Failed {
    /// This end refuses.
    Refused(RefusedReason, String),
    /// The other end refuses.
    RefusedByPeer(RefusedReason),
    /// The other end is this node.
    SelfConnection,
    /// No connection.
    Dial(DialError),
}

pub(super) struct Ready {
    pub(super) socket: TcpStream,
    pub(super) established: Box<Established>,
}

fn local(net: &Net, keys: Keys) -> Local {
    Local { id: net.node.id().clone(), incarnation: net.node.incarnation(), capabilities: 0, keys }
}

fn nonce() -> Result<[u8; 32], Failed> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| Failed::Dial(DialError::Other(error.to_string())))?;
    Ok(nonce)
}

pub(super) async fn dial(net: Arc<Net>, target: Target) -> Result<Ready, (Option<SocketAddr>, Failed)> {
    let (host, port) = target.address();
    let (mut socket, addr) = connect(&net, host, port).await.map_err(|error| (None, Failed::Dial(error)))?;
    let failed = |failed| (Some(addr), failed);
    tune(&socket);
    let nonce = nonce().map_err(failed)?;
    let handshake = initiate(&net, &mut socket, target.expected(), nonce);
    match actix_rt::time::timeout(net.config.handshake_timeout(), handshake).await {
        Ok(Ok(established)) => Ok(Ready { socket, established }),
        Ok(Err(error)) => Err(failed(error)),
        Err(_elapsed) => Err(failed(Failed::Refused(RefusedReason::Timeout, "no answer".to_owned()))),
    }
}

/// What is written goes out at once, and what cannot go out yet waits here and not in the kernel, where a sign of life
/// could not pass it any more.
fn tune(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(MAX_UNSENT);
}

/// Tries every address that the host has.
async fn connect(net: &Net, host: &str, port: u16) -> Result<(TcpStream, SocketAddr), DialError> {
    let connecting = async {
        let found = tokio::net::lookup_host((host, port)).await;
        let addresses = found.map_err(|error| DialError::Dns(error.to_string()))?;
        let mut last = DialError::Dns("the name has no address".to_owned());
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok((socket, address)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    last = DialError::ConnectionRefused;
                }
                Err(error) => last = DialError::Other(error.to_string()),
            }
        }
        Err(last)
    };
    let timeout = net.config.connect_timeout();
    actix_rt::time::timeout(timeout, connecting).await.unwrap_or(Err(DialError::Timeout))
}

async fn initiate(
    net: &Net,
    socket: &mut TcpStream,
    expected: Expected,
    nonce: [u8; 32],
) -> Result<Box<Established>, Failed> {
    // One look at the ring for all of it: a change in the middle must not make a mixture.
    let keys = net.keys.read().clone();
    check_insecure(net, &keys, socket)?;
    let mut out = VecDeque::new();
    let mut machine = Initiator::new(local(net, keys), expected, nonce, &mut out);
    loop {
        if let Some(established) = perform(socket, &mut out).await? {
            return Ok(established);
        }
        let frame = next_frame(socket).await?;
        machine.handle(&frame, &mut out);
    }
}

pub(super) async fn accept(net: Arc<Net>, mut socket: TcpStream) -> Result<Ready, Failed> {
    tune(&socket);
    let nonce = nonce()?;
    let handshake = async {
        let keys = net.keys.read().clone();
        check_insecure(&net, &keys, &socket)?;
        let mut out = VecDeque::new();
        let mut machine = Acceptor::new(local(&net, keys), nonce);
        loop {
            let frame = next_frame(&mut socket).await?;
            machine.handle(&frame, &mut out);
            if let Some(established) = perform(&mut socket, &mut out).await? {
                return Ok(established);
            }
        }
    };
    match actix_rt::time::timeout(net.config.handshake_timeout(), handshake).await {
        Ok(Ok(established)) => Ok(Ready { socket, established }),
        Ok(Err(failed)) => Err(failed),
        Err(_elapsed) => Err(Failed::Refused(RefusedReason::Timeout, "not done in time".to_owned())),
    }
}

/// Without a secret, only peers of this machine are let in, unless the configuration allows others.
fn check_insecure(net: &Net, keys: &Keys, socket: &TcpStream) -> Result<(), Failed> {
    if !keys.is_empty() || net.config.insecure_peers() == InsecurePeers::Any {
        return Ok(());
    }
    let same_machine = match (socket.peer_addr(), socket.local_addr()) {
        (Ok(peer), Ok(local)) => peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip(),
        _ => false,
    };
    if same_machine {
        return Ok(());
    }
    Err(Failed::Refused(
        RefusedReason::InsecurePeer,
        "no secret is set: set CLUSTER_SECRET, or CLUSTER_INSECURE_PEERS=any to let everybody in".to_owned(),
    ))
}

async fn next_frame(socket: &mut TcpStream) -> Result<Vec<u8>, Failed> {
    match read_frame(socket).await {
        Ok(frame) => Ok(frame),
        Err(reason) => Err(Failed::Refused(reason, "no frame of the handshake".to_owned())),
    }
}

/// Does what a handshake machine wants; an established session when it is done.
async fn perform(
    socket: &mut TcpStream,
    out: &mut VecDeque<handshake::Output>,
) -> Result<Option<Box<Established>>, Failed> {
    while let Some(output) = out.pop_front() {
        match output {
            handshake::Output::Send(body) => write_frame(socket, &body)
                .await
                .map_err(|error| Failed::Refused(RefusedReason::Eof, error.to_string()))?,
            handshake::Output::Done(established) => return Ok(Some(established)),
            handshake::Output::Refuse { reason, send } => {
                if let Some(body) = send {
                    let _ = write_frame(socket, &body).await;
                }
                return Err(Failed::Refused(reason, "refused in the handshake".to_owned()));
            }
            handshake::Output::RefusedByPeer(reason) => return Err(Failed::RefusedByPeer(reason)),
            handshake::Output::SelfConnection => return Err(Failed::SelfConnection),
        }
    }
    Ok(None)
}

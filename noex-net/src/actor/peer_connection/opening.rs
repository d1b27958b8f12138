//! From a socket, or an address, to a connection whose handshake is done.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc};

use crate::{
    config::InsecurePeers,
    event::DialError,
    io::{
        handshake::{Channel, Refusal},
        socket::Socket,
    },
    machine::{
        handshake::{self, Acceptor, Established, Expected, Initiator, Local, RefusedReason, TlsFacts},
        keys::Keys,
        membership::Target,
    },
    net::Net,
    tls::TlsConfig,
    wire::{control::NUMBERED_UNLINKS, frame::NUMBERED_REPLIES, trace},
};

/// Addresses of one name that are tried in one dial: each may take all of its timeouts.
const MAX_ADDRESSES: usize = 16;

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

impl From<Refusal> for Failed {
    fn from(Refusal { reason, detail }: Refusal) -> Self {
        Self::Refused(reason, detail)
    }
}

pub(super) struct Ready {
    pub(super) channel: Channel,
    pub(super) established: Box<Established>,
}

fn local(net: &Net, keys: Keys, tls: Option<TlsFacts>) -> Local {
    let (id, incarnation) = (net.node.id().clone(), net.node.incarnation());
    let capabilities =
        net.config.compression().capability() | trace::CAPABILITY | NUMBERED_REPLIES | NUMBERED_UNLINKS;
    Local { id, incarnation, capabilities, keys, tags: net.config.tags().to_vec(), tls }
}

fn nonce() -> Result<[u8; 32], Failed> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| Failed::Dial(DialError::Other(error.to_string())))?;
    Ok(nonce)
}

/// Dials the addresses of a target one after the other, until one answers that is not this node.
pub(super) async fn dial(net: Arc<Net>, target: Target) -> Result<Ready, (Option<SocketAddr>, Failed)> {
    let addresses = look_up(&net, target.address()).await.map_err(|error| (None, Failed::Dial(error)))?;
    dial_one_of(&net, &addresses, &target.expected()).await
}

async fn dial_one_of(
    net: &Net,
    addresses: &[SocketAddr],
    expected: &Expected,
) -> Result<Ready, (Option<SocketAddr>, Failed)> {
    let none = DialError::Dns("the name has no address".to_owned());
    let mut last = (None, Failed::Dial(none));
    for &address in addresses {
        match dial_address(net, address, expected.clone()).await {
            Ok(ready) => return Ok(ready),
            // A name with an address per node, this one included: the next may be another node.
            Err(Failed::SelfConnection) => last = (Some(address), Failed::SelfConnection),
            Err(Failed::Dial(_)) if matches!(last.1, Failed::SelfConnection) => {}
            Err(Failed::Dial(error)) => last = (None, Failed::Dial(error)),
            Err(failed) => return Err((Some(address), failed)),
        }
    }
    Err(last)
}

async fn look_up(net: &Net, address: (&str, u16)) -> Result<Vec<SocketAddr>, DialError> {
    let found = actix_rt::time::timeout(net.config.connect_timeout(), net.transport.look_up(address)).await;
    let mut found =
        found.map_err(|_elapsed| DialError::Timeout)?.map_err(|error| DialError::Dns(error.to_string()))?;
    found.truncate(MAX_ADDRESSES);
    Ok(found)
}

async fn dial_address(net: &Net, address: SocketAddr, expected: Expected) -> Result<Ready, Failed> {
    let socket = connect(net, address).await.map_err(Failed::Dial)?;
    socket.tune();
    let mut channel = Channel::new(socket);
    let nonce = nonce()?;
    let handshake = initiate(net, &mut channel, expected, nonce);
    let done = match actix_rt::time::timeout(net.config.handshake_timeout(), handshake).await {
        Ok(done) => done,
        Err(_elapsed) => Err(Failed::Refused(RefusedReason::Timeout, "no answer".to_owned())),
    };
    finish(channel, done).await
}

/// Whom TLS is the trouble of is read on until it knows.
async fn finish(channel: Channel, done: Result<Box<Established>, Failed>) -> Result<Ready, Failed> {
    match done {
        Ok(established) => Ok(Ready { channel, established }),
        Err(failed) => {
            if let Failed::Refused(RefusedReason::Tls, _) = &failed {
                channel.linger().await;
            }
            Err(failed)
        }
    }
}

async fn connect(net: &Net, address: SocketAddr) -> Result<Socket, DialError> {
    let connect = net.transport.connect(net.node.id(), address);
    match actix_rt::time::timeout(net.config.connect_timeout(), connect).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(DialError::ConnectionRefused)
        }
        Ok(Err(error)) => Err(DialError::Other(error.to_string())),
        Err(_elapsed) => Err(DialError::Timeout),
    }
}

async fn initiate(
    net: &Net,
    channel: &mut Channel,
    expected: Expected,
    nonce: [u8; 32],
) -> Result<Box<Established>, Failed> {
    // One look at the ring and the certificates for all of it: a change in the middle must not make a mixture.
    let (keys, tls) = (net.keys.read().clone(), net.tls());
    check_insecure(net, &keys, tls.as_ref(), &channel.socket)?;
    let facts = channel.dial(tls.as_ref()).await?;
    let mut out = VecDeque::new();
    let mut machine = Initiator::new(local(net, keys, facts), expected, nonce, &mut out);
    loop {
        if let Some(established) = perform(channel, &mut out).await? {
            return Ok(established);
        }
        let frame = channel.read_frame().await?;
        machine.handle(&frame, &mut out);
    }
}

pub(super) async fn accept(net: Arc<Net>, socket: Socket) -> Result<Ready, Failed> {
    socket.tune();
    let mut channel = Channel::new(socket);
    let nonce = nonce()?;
    let handshake = async {
        let (keys, tls) = (net.keys.read().clone(), net.tls());
        check_insecure(&net, &keys, tls.as_ref(), &channel.socket)?;
        let facts = channel.accept(tls.as_ref(), || handshake::refused_frame(RefusedReason::Tls)).await?;
        let mut out = VecDeque::new();
        let mut machine = Acceptor::new(local(&net, keys, facts), nonce);
        loop {
            let frame = channel.read_frame().await?;
            machine.handle(&frame, &mut out);
            if let Some(established) = perform(&mut channel, &mut out).await? {
                return Ok(established);
            }
        }
    };
    let done = match actix_rt::time::timeout(net.config.handshake_timeout(), handshake).await {
        Ok(done) => done,
        Err(_elapsed) => Err(Failed::Refused(RefusedReason::Timeout, "not done in time".to_owned())),
    };
    finish(channel, done).await
}

/// Without a secret and without TLS, only peers of this machine are let in, unless the configuration allows others.
fn check_insecure(net: &Net, keys: &Keys, tls: Option<&TlsConfig>, socket: &Socket) -> Result<(), Failed> {
    if !keys.is_empty()
        || tls.is_some()
        || net.config.insecure_peers() == InsecurePeers::Any
        || socket.is_of_this_machine()
    {
        return Ok(());
    }
    Err(Failed::Refused(
        RefusedReason::InsecurePeer,
        "no secret is set: set CLUSTER_SECRET, or CLUSTER_INSECURE_PEERS=any to let everybody in".to_owned(),
    ))
}

/// Does what a handshake machine wants; an established session when it is done.
async fn perform(
    channel: &mut Channel,
    out: &mut VecDeque<handshake::Output>,
) -> Result<Option<Box<Established>>, Failed> {
    while let Some(output) = out.pop_front() {
        match output {
            handshake::Output::Send(body) => channel
                .write_frame(&body)
                .await
                .map_err(|error| Failed::Refused(RefusedReason::Eof, error.to_string()))?,
            handshake::Output::Done(established) => return Ok(Some(established)),
            handshake::Output::Refuse { reason, send } => {
                if let Some(body) = send {
                    let _ = channel.write_frame(&body).await;
                }
                let detail = match &channel.secured {
                    Some(secured) if reason == RefusedReason::Tls => {
                        let names = secured.facts().names.join(", ");
                        format!("the peer's certificate does not hold its name; it holds {names}")
                    }
                    Some(_) | None => "refused in the handshake".to_owned(),
                };
                return Err(Failed::Refused(reason, detail));
            }
            handshake::Output::RefusedByPeer(reason) => return Err(Failed::RefusedByPeer(reason)),
            handshake::Output::SelfConnection => return Err(Failed::SelfConnection),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cluster, ClusterConfig};

    #[actix_rt::test]
    async fn of_the_addresses_of_a_name_the_first_is_taken_that_answers_and_is_not_this_node() {
        let start = async |name| Cluster::start(ClusterConfig::test(name).build().unwrap()).await.unwrap();
        let (a, b) = (start("a").await, start("b").await);
        let address = |cluster: &Cluster| SocketAddr::from(([127, 0, 0, 1], cluster.local_node_id().port()));
        let (own, other) = (address(&a), address(&b));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dial = async |addresses: &[SocketAddr]| {
            dial_one_of(&a.net, addresses, &Expected::Anyone).await.map(|ready| ready.established.peer)
        };
        assert_eq!(dial(&[own, closed, other]).await.ok().as_ref(), Some(b.local_node_id()));
        for addresses in [vec![own], vec![own, closed], vec![closed, own]] {
            assert!(matches!(dial(&addresses).await, Err((_, Failed::SelfConnection))));
        }
        let refused = dial(&[closed]).await;
        assert!(matches!(refused, Err((None, Failed::Dial(DialError::ConnectionRefused)))));
        a.stop().await;
        b.stop().await;
    }
}

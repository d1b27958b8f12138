//! One cast to all members of a group: encoded once, one frame to each node that has some.

use std::sync::Arc;

use noex_actors::{
    __private::{decode, encode_into},
    CastError, EncodeError, Node, NodeId, Pid, RemoteBehavior, behavior_number,
};

use super::Broadcast;
use crate::{
    link::Link,
    net::Net,
    peer::{call_error, cast_error},
    wire::control::Control,
};

/// The members on one node.
struct Target {
    node: NodeId,
    link: Option<Arc<Link>>,
    members: Vec<Pid>,
}

pub(super) fn broadcast<B: RemoteBehavior>(net: &Net, group: &str, cast: B::Cast) -> Broadcast {
    net.groups.broadcasts_sent.one();
    let mut outcome = Broadcast::default();
    let (local, remote) = targets(net, group);
    // Where one process of this node is all there is, nothing needs to become bytes.
    let mut encoded = Vec::new();
    let mut failure = None;
    if local.len() > 1 || !remote.is_empty() {
        failure = encode_into(&cast, &mut encoded).err();
    }
    match failure {
        Some(error) => {
            let pids = remote.into_iter().flat_map(|target| target.members).chain(local);
            outcome.failed.extend(pids.map(|pid| (pid, CastError::Encode(error.clone()))));
        }
        None => {
            to_nodes::<B>(group, remote, &encoded, &mut outcome);
            to_own::<B>(&net.node, local, cast, &encoded, &mut outcome);
        }
    }
    outcome
}

/// The members here, and those elsewhere.
fn targets(net: &Net, group: &str) -> (Vec<Pid>, Vec<Target>) {
    let mut local = Vec::new();
    let mut remote = Vec::new();
    for (node, incarnation, members) in net.groups.targets(group) {
        let members = members.into_iter().map(|number| Pid::new(node.clone(), incarnation, number)).collect();
        if node == *net.node.id() {
            local = members;
        } else {
            let link = net.link(&node).filter(|link| link.incarnation == incarnation);
            remote.push(Target { node, link, members });
        }
    }
    (local, remote)
}

fn to_nodes<B: RemoteBehavior>(group: &str, targets: Vec<Target>, cast: &[u8], outcome: &mut Broadcast) {
    if targets.is_empty() {
        return;
    }
    let (group, body) = (group.to_owned(), cast.to_vec());
    let message = Control::Broadcast { group, behavior: behavior_number(B::NAME), body };
    let mut frame = Vec::new();
    let encoded = encode_into(&message, &mut frame);
    for Target { node, link, members } in targets {
        let sent = match (&link, &encoded) {
            (_, Err(error)) => Err(CastError::Encode(error.clone())),
            (None, Ok(())) => Err(CastError::NoConnection(node)),
            (Some(link), Ok(())) => {
                let copy = &mut |out: &mut Vec<u8>| {
                    out.extend_from_slice(&frame);
                    Ok(())
                };
                // Under the bound of the outbox, unlike other control messages: it is a user's message.
                let sent = link.outbox.append_broadcast(copy);
                sent.map_err(|refusal| cast_error(call_error(refusal, &node), &node))
            }
        };
        match sent {
            Ok(()) => outcome.sent += members.len(),
            Err(error) => outcome.failed.extend(members.into_iter().map(|pid| (pid, error.clone()))),
        }
    }
}

/// Each gets a copy, made from the bytes as a cast needs not be `Clone`; the last one gets the cast itself.
fn to_own<B: RemoteBehavior>(
    node: &Node,
    members: Vec<Pid>,
    cast: B::Cast,
    encoded: &[u8],
    outcome: &mut Broadcast,
) {
    let last = members.len().saturating_sub(1);
    let mut original = Some(cast);
    for (at, pid) in members.into_iter().enumerate() {
        let copy = if at == last { original.take() } else { None };
        let copy = match copy {
            Some(cast) => Ok(cast),
            None => node.decoding(|| decode::<B::Cast>(encoded)),
        };
        let sent = match copy {
            Ok(cast) => node.resolve::<B>(&pid).cast(cast),
            Err(error) => Err(CastError::Encode(EncodeError::new(error.to_string()))),
        };
        match sent {
            Ok(()) => outcome.sent += 1,
            Err(error) => outcome.failed.push((pid, error)),
        }
    }
}

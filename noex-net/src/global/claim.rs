//! A name that only one process of the cluster is to have: asks, registers, and asks again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use noex_actors::{__private::check_process_name, AnyRef, Incarnation, NameError, NodeId, Pid};

use super::{OnConflict, names::Names};
use crate::{
    link::Link,
    machine::claim::{Answers, Claim, Step, beside},
    net::Net,
    wire::{
        control::{Control, Request, Response},
        limits::MAX_BESIDE,
    },
};

pub(super) async fn claim(
    net: &Arc<Net>,
    name: &str,
    process: &AnyRef,
    on_conflict: OnConflict,
) -> Result<(), NameError> {
    check_process_name(name)?;
    let patience = net.config.detection_time();
    let mut claim = Claim::new(process.pid().clone(), patience);
    let mut step = Step::Ask;
    loop {
        step = match step {
            Step::Ask => {
                let Told { by, named, beside } = ask_all(net, name, patience).await;
                let seen = net.names.holder(name);
                let answers = Answers { by: &by, named: &named, beside: &beside, seen: seen.as_ref() };
                claim.answered(&answers, net.node.now(), getrandom::u64().unwrap_or_default())
            }
            Step::Register => match net.names.register(net, name, process, on_conflict.clone()) {
                Ok(()) => claim.registered(Ok(())),
                Err(NameError::Taken { holder, .. }) => claim.registered(Err(holder)),
                Err(error) => return Err(error),
            },
            Step::Wait(pause) => {
                net.names.give_up(net, name, process.pid());
                changed(net, name, pause).await;
                Step::Ask
            }
            Step::Granted => return Ok(()),
            Step::Refused(holder) => {
                net.names.give_up(net, name, process.pid());
                return Err(NameError::Taken { name: name.to_owned(), holder });
            }
        }
    }
}

/// Who has the name beside this node, as those say that are connected, and as far as it is not known here to be over.
pub(super) async fn heard_of(net: &Arc<Net>, name: &str, timeout: Duration) -> Option<Pid> {
    let told = ask_all(net, name, timeout).await;
    beside(net.node.id(), &told.by, &told.named).cloned()
}

/// What those say that are connected.
#[derive(Default)]
struct Told {
    by: BTreeMap<NodeId, Incarnation>,
    /// Who has the name beside this node.
    named: Vec<(NodeId, Pid)>,
    /// Whom they are connected to.
    beside: BTreeSet<NodeId>,
}

async fn ask_all(net: &Arc<Net>, name: &str, timeout: Duration) -> Told {
    let links: Vec<Arc<Link>> = net.up.read().values().cloned().collect();
    let questions = links.iter().map(|link| async move {
        let answer = link.request(Request::OwnerOf { name: name.to_owned() }, timeout).await;
        match answer {
            Ok((_, Response::Owner { owner, beside })) => Some((link, owner, beside)),
            Ok(_) | Err(_) => None,
        }
    });
    let mut told = Told::default();
    let answers = join_all(questions).await;
    let up = net.up.read();
    for (link, owner, beside) in answers.into_iter().flatten() {
        // What a node says of itself holds for as long as it is connected: from then on this node would not hear of more.
        if up.get(&link.peer).is_some_and(|now| Arc::ptr_eq(now, link)) {
            told.by.insert(link.peer.clone(), link.incarnation);
        }
        told.named.extend(owner.map(|owner| (link.peer.clone(), owner)));
        told.beside.extend(beside);
    }
    drop(up);
    told
}

/// Waits until another has the name in this node's view, or nobody, at most that long.
async fn changed(net: &Net, name: &str, pause: Duration) {
    let mut holders = net.names.watch(name);
    let next = async {
        // The first is how it is now.
        holders.recv().await;
        holders.recv().await;
    };
    let _ = actix_rt::time::timeout(pause, next).await;
}

impl Names {
    fn holder(&self, name: &str) -> Option<Pid> {
        self.read(|names| names.lookup(name).cloned())
    }

    /// If this process has it.
    fn give_up(&self, net: &Arc<Net>, name: &str, pid: &Pid) {
        self.let_go(net, name, |machine, now, out| machine.unregister_requested(name, pid, now, out));
    }

    /// Tells a peer who has a name beside itself, and whom else this node is connected to.
    pub(crate) fn serve_owner_of(&self, link: &Link, id: u64, name: &str) {
        let owner = self.read(|names| names.holder_beside(&link.peer, name).cloned());
        let up = link.net.up.read();
        let beside = up.keys().filter(|node| **node != link.peer).take(MAX_BESIDE).cloned().collect();
        drop(up);
        link.control(&Control::Response { id, body: Response::Owner { owner, beside } });
    }
}

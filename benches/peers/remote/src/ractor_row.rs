//! ractor with ractor_cluster. The target is found in a process group.

use std::time::Duration;

use noex_bench::{Outcome, remote::driver::Driver};
use ractor::{Actor, ActorProcessingErr, ActorRef, MessagingErr, RpcReplyPort, pg, rpc::CallResult};
use ractor_cluster::{NodeServer, RactorClusterMessage, client_connect};

use crate::{ID, PID, SMALL, announce, answer, free_port, on_tokio};

const GROUP: &str = "target";

#[derive(RactorClusterMessage)]
pub(crate) enum Message {
    #[rpc]
    Echo(u64, u64, Vec<u8>, RpcReplyPort<Vec<u8>>),
    Sink(u64, u64, Vec<u8>),
    #[rpc]
    Count(RpcReplyPort<u64>),
    #[rpc]
    Big(Vec<u8>, RpcReplyPort<u64>),
}

struct Target;

impl Actor for Target {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        pg::join(GROUP.to_owned(), vec![me.get_cell()]);
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        casts: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Echo(_, _, payload, reply) => drop(reply.send(payload)),
            Message::Sink(..) => *casts += 1,
            Message::Count(reply) => drop(reply.send(*casts)),
            Message::Big(payload, reply) => drop(reply.send(payload.len() as u64)),
        }
        Ok(())
    }
}

fn node(port: u16, name: &str) -> NodeServer {
    NodeServer::new(port, "cookie".to_owned(), name.to_owned(), "localhost".to_owned(), None, None)
}

pub(crate) fn serve() -> Outcome<()> {
    let port = free_port()?;
    on_tokio(async move {
        let (_node, _) = Actor::spawn(None, node(port, "server"), ()).await?;
        let (_target, _) = Actor::spawn(None, Target, ()).await?;
        announce(port).await
    })
}

pub(crate) fn drive(port: u16, server_pid: u32) -> Outcome<()> {
    let own = free_port()?;
    on_tokio(async move {
        let (node, _) = Actor::spawn(None, node(own, "client"), ()).await?;
        client_connect(&node, format!("127.0.0.1:{port}")).await.map_err(|error| error.to_string())?;
        let target = loop {
            let members = pg::get_members(&GROUP.to_owned());
            if let Some(target) = members.into_iter().find(|member| !member.get_id().is_local()) {
                break target;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        answer(Remote(ActorRef::from(target)), server_pid).await
    })
}

struct Remote(ActorRef<Message>);

fn reply<T>(called: Result<CallResult<T>, MessagingErr<Message>>) -> Outcome<T> {
    match called {
        Ok(CallResult::Success(reply)) => Ok(reply),
        Ok(_) => Err("a call without a reply".into()),
        Err(error) => Err(error.to_string().into()),
    }
}

impl Driver for Remote {
    const PAYLOAD: usize = SMALL;

    async fn call(&self, payload: Vec<u8>) -> Outcome<usize> {
        Ok(reply(self.0.call(|port| Message::Echo(ID, PID, payload, port), None).await)?.len())
    }

    async fn cast(&self, payload: Vec<u8>) -> Outcome<()> {
        self.0.cast(Message::Sink(ID, PID, payload)).map_err(|error| error.to_string().into())
    }

    async fn count(&self) -> Outcome<u64> {
        reply(self.0.call(Message::Count, None).await)
    }

    async fn big(&self, payload: Vec<u8>) -> Outcome<usize> {
        Ok(reply(self.0.call(|port| Message::Big(payload, port), None).await)? as usize)
    }
}

//! Somebody in the middle: one who holds things up, and one who ends TLS at both sides.

use std::{
    io::{self, Read, Write},
    rc::Rc,
};

use noex_net::{RefusedReason, Secrets};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    peer::{Peer, client, server},
    refused_as, stop_all,
    support::{Box_, Res, builder, ca, config, id, until},
};

/// Passes bytes on to a node, and stops reading the client's when it is told to.
pub(crate) struct Gate {
    pub(crate) port: u16,
    open: Rc<watch::Sender<bool>>,
}

impl Gate {
    pub(crate) async fn to(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let gate = Self { port: listener.local_addr()?.port(), open: Rc::new(watch::Sender::new(true)) };
        let open = Rc::clone(&gate.open);
        actix_rt::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let (mut client_read, mut client_write) = client.into_split();
                let (mut server_read, mut server_write) = server.into_split();
                let mut opened = open.subscribe();
                actix_rt::spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while opened.wait_for(|open| *open).await.is_ok() {
                        match client_read.read(&mut buffer).await {
                            Ok(bytes @ 1..) if server_write.write_all(&buffer[..bytes]).await.is_ok() => {}
                            _ => return,
                        }
                    }
                });
                actix_rt::spawn(
                    async move { tokio::io::copy(&mut server_read, &mut client_write).await.ok() },
                );
            }
        });
        Ok(gate)
    }

    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Passes plaintext on until one of the two ends.
async fn relay(mut left: Peer, mut right: Peer) -> io::Result<()> {
    loop {
        for _ in 0..2 {
            let mut plain = [0; 4096];
            while let Ok(bytes @ 1..) = left.tls.reader().read(&mut plain) {
                right.tls.writer().write_all(&plain[..bytes])?;
                right.flush().await?;
            }
            std::mem::swap(&mut left, &mut right);
        }
        left.flush().await?;
        right.flush().await?;
        tokio::select! {
            readable = left.socket.readable() => { readable?; left.fill().await?; }
            readable = right.socket.readable() => { readable?; right.fill().await?; }
        }
    }
}

/// Ends TLS towards whoever dials with a certificate that names both nodes, and begins it anew towards `to` with the same.
async fn intercept(to: u16) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let identity = ca().issue(&["a", "b"]);
    actix_rt::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut left = Peer { socket, tls: server(&identity) };
            let Ok(mut right) = Peer::dial(to, client(Some(&identity), b"noex/1")).await else { continue };
            actix_rt::spawn(async move {
                left.shake().await?;
                right.shake().await?;
                relay(left, right).await
            });
        }
    });
    Ok(port)
}

#[actix_rt::test]
async fn who_ends_tls_in_the_middle_with_certificates_of_the_ca_cannot_pass_the_handshake_on() -> Res {
    let a = builder(config("a"))?.start().await?;
    let port = intercept(a.local_node_id().port()).await?;
    let b = builder(config("b").seed(format!("a@127.0.0.1:{port}")))?.start().await?;
    refused_as(RefusedReason::WrongSecret, &[&a, &b]).await;
    assert_eq!((a.stats().node_up_total, b.stats().node_up_total), (0, 0));
    stop_all(&[a, b]).await;
    Ok(())
}

/// What shows that the one before does not fail by a fault of the one in the middle.
#[actix_rt::test]
async fn without_a_secret_it_is_the_certificates_alone_that_count() -> Res {
    let a = builder(config("a").secret(Secrets::none()))?.start().await?;
    let port = intercept(a.local_node_id().port()).await?;
    let seed = format!("a@127.0.0.1:{port}");
    let b = builder(config("b").secret(Secrets::none()).seed(seed))?.start().await?;
    until(10, "they are connected, by way of it", || {
        a.connected_node_count() == 1 && b.connected_node_count() == 1
    })
    .await;
    assert_eq!(b.spawn_on::<Box_>(&id(&a), 0).await?.add(4).await?, 4);
    stop_all(&[a, b]).await;
    Ok(())
}

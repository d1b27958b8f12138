//! Who is not let in, and what both ends say of it.

use std::io::{self, Write};

use noex_actors::NodeId;
use noex_net::{Cluster, ClusterEvent, DialError, RefusedReason, TlsConfig};
use rcgen::date_time_ymd;
use rustls::AlertDescription;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    peer::{Peer, challenge, client, hello, refusal, server},
    refused, refused_as, stop_all,
    support::{Box_, Res, builder, ca, certificates::Ca, config, id, pair, plain, until, within},
};

#[actix_rt::test]
async fn with_tls_and_without_do_not_meet_and_both_know_why() -> Res {
    for (dialled, dialling) in [(config("a"), plain("b")), (plain("a"), config("b"))] {
        let a = builder(dialled)?.start().await?;
        let b = builder(dialling.seed(a.local_node_id()))?;
        let (failed, mut failures) = tokio::sync::mpsc::unbounded_channel();
        let b = b.start().await?;
        let mut events = b.events();
        actix_rt::spawn(async move {
            while let Some(event) = events.recv().await {
                if let ClusterEvent::DialFailed { reason, .. } = event {
                    let _ = failed.send(reason);
                }
            }
        });
        refused_as(RefusedReason::Tls, &[&a, &b]).await;
        let reason = within(10, "a dial fails", failures.recv()).await;
        assert_eq!(reason, Some(DialError::Refused(RefusedReason::Tls)));
        stop_all(&[a, b]).await;
    }
    Ok(())
}

/// Two nodes, the second of which dials the first; neither lets the other in.
async fn neither(a: TlsConfig, b: TlsConfig) -> Res {
    let a = builder(config("a").tls(a))?.start().await?;
    let b = builder(config("b").tls(b).seed(a.local_node_id()))?.start().await?;
    refused_as(RefusedReason::Tls, &[&a, &b]).await;
    stop_all(&[a, b]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_certificate_of_another_ca_is_refused_whoever_dials() -> Res {
    let (ca, other) = (Ca::new("ours"), Ca::new("theirs"));
    neither(ca.tls("a"), other.issue(&["b"]).tls(&ca.pem)).await?;
    neither(other.issue(&["a"]).tls(&ca.pem), ca.tls("b")).await?;
    neither(ca.tls("a"), other.tls("b")).await
}

#[actix_rt::test]
async fn a_certificate_that_is_not_valid_now_is_refused_whoever_dials() -> Res {
    let ca = Ca::new("ours");
    let during = |name, from, to| {
        let identity = ca.issue_with(&[name], |params| {
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        });
        identity.tls(&ca.pem)
    };
    neither(ca.tls("a"), during("b", 2000, 2001)).await?;
    neither(during("a", 2000, 2001), ca.tls("b")).await?;
    neither(ca.tls("a"), during("b", 4000, 4001)).await
}

#[actix_rt::test]
async fn a_certificate_for_dialling_alone_does_not_serve_and_the_reverse() -> Res {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let ca = Ca::new("ours");
    let only =
        |name, usage| ca.issue_with(&[name], |params| params.extended_key_usages = vec![usage]).tls(&ca.pem);
    neither(only("a", ClientAuth), ca.tls("b")).await?;
    neither(ca.tls("a"), only("b", ServerAuth)).await
}

/// What a peer of the test hears.
async fn answer(peer: &mut Peer) -> io::Result<Vec<u8>> {
    within(10, "an answer", peer.read_frame()).await
}

fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[actix_rt::test]
async fn a_client_without_a_certificate_hears_that_one_is_required() -> Res {
    let a = builder(config("a"))?.start().await?;
    let mut peer = Peer::dial(a.local_node_id().port(), client(None, b"noex/1")).await?;
    peer.shake().await?;
    let _ = peer.write_frame(&hello(&NodeId::parse("b@127.0.0.1:1")?)).await;
    let error = answer(&mut peer).await.unwrap_err();
    assert_eq!(alert(&error), Some(AlertDescription::CertificateRequired), "{error}");
    refused_as(RefusedReason::Tls, &[&a]).await;
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn another_protocol_than_noex_is_refused() -> Res {
    let a = builder(config("a"))?.start().await?;
    let identity = ca().issue(&["b"]);
    for protocol in [&b"h2"[..], b""] {
        let before = refused(&a, RefusedReason::Tls);
        let mut peer = Peer::dial(a.local_node_id().port(), client(Some(&identity), protocol)).await?;
        let shaken = within(10, "the end", async {
            peer.shake().await?;
            peer.read_frame().await
        });
        assert!(shaken.await.is_err());
        until(10, "it is counted", || refused(&a, RefusedReason::Tls) == before + 1).await;
    }
    a.stop().await;
    Ok(())
}

#[actix_rt::test]
async fn a_name_that_is_not_in_the_certificate_is_refused_at_both_ends() -> Res {
    let b = NodeId::parse("b@127.0.0.1:1")?;
    // Neither another name, nor another spelling, nor a wildcard.
    for name in ["x", "B", "*.b", "b.example"] {
        let identity = ca().issue(&[name]);
        let a = builder(config("a"))?.start().await?;
        let mut peer = Peer::dial(a.local_node_id().port(), client(Some(&identity), b"noex/1")).await?;
        peer.write_frame(&hello(&b)).await?;
        assert_eq!(answer(&mut peer).await?, refusal("tls"), "{name}");
        refused_as(RefusedReason::Tls, &[&a]).await;
        a.stop().await;

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let a = builder(config("a").seed(listener.local_addr()?))?.start().await?;
        let (socket, _) = within(10, "a dials", listener.accept()).await?;
        let mut peer = Peer { socket, tls: server(&identity) };
        answer(&mut peer).await?;
        peer.write_frame(&challenge(&b)).await?;
        assert_eq!(answer(&mut peer).await?, refusal("tls"), "{name}");
        refused_as(RefusedReason::Tls, &[&a]).await;
        a.stop().await;
    }
    // With the right name it is the proof that is missing.
    let a = builder(config("a"))?.start().await?;
    let mut peer = Peer::dial(a.local_node_id().port(), client(Some(&ca().issue(&["b"])), b"noex/1")).await?;
    peer.write_frame(&hello(&b)).await?;
    assert_ne!(answer(&mut peer).await?, refusal("tls"));
    drop(peer);
    refused_as(RefusedReason::Eof, &[&a]).await;
    a.stop().await;
    Ok(())
}

/// The first bytes of a client.
fn first_flight() -> Vec<u8> {
    let mut tls = client(None, b"noex/1");
    let mut bytes = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut bytes).unwrap();
    }
    bytes
}

async fn total(cluster: &Cluster, expected: u64) {
    until(20, "each is counted once", || cluster.stats().refused_total.values().sum::<u64>() == expected)
        .await;
}

#[actix_rt::test]
async fn bytes_that_are_no_tls_harm_nobody_and_each_connection_is_counted_once() -> Res {
    let (a, b) = pair().await?;
    let there = b.spawn_on::<Box_>(&id(&a), 0).await?;
    let flight = first_flight();
    let mut count = 0;
    let mut send = async |bytes: Vec<u8>| -> Res {
        let mut socket = TcpStream::connect(("127.0.0.1", a.local_node_id().port())).await?;
        socket.write_all(&bytes).await?;
        socket.shutdown().await?;
        let _ = within(10, "it is closed", socket.read_to_end(&mut Vec::new())).await;
        count += 1;
        total(&a, count).await;
        Ok(())
    };
    for cut in (0..flight.len()).step_by(11) {
        send(flight[..cut].to_vec()).await?;
    }
    for at in (0..flight.len()).step_by(7) {
        let mut hurt = flight.clone();
        hurt[at] ^= 0x41;
        send(hurt).await?;
    }
    // A message of 16 MiB in records of 16 KiB; application data, an alert and nonsense where a hello should be.
    let record = |kind: u8, body: &[u8]| {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3][..], &len, body].concat()
    };
    let endless = [&[1, 0xFF, 0xFF, 0xFF][..], &[0; 16_000]].concat();
    for bytes in [
        record(22, &endless).repeat(8),
        record(23, &[0; 100]),
        record(21, &[2, 40]),
        record(99, &[0; 100]),
        [0x16, 3, 3, 0xFF, 0xFF].to_vec(),
        flight.repeat(3),
    ] {
        let _ = send(bytes).await;
    }
    assert_eq!(there.add(1).await?, 1);
    assert_eq!((a.stats().node_up_total, a.stats().connections), (1, 1));
    stop_all(&[b, a]).await;
    Ok(())
}

#[actix_rt::test]
async fn a_stranger_with_a_certificate_may_send_so_much_and_no_more() -> Res {
    let a = builder(config("a"))?.start().await?;
    let identity = ca().issue(&["b"]);
    let mut peer = Peer::dial(a.local_node_id().port(), client(Some(&identity), b"noex/1")).await?;
    peer.shake().await?;
    // One byte per record makes a frame of 4 KiB into 94 KB.
    let mut sent = Ok(());
    for byte in [&[0, 16, 0, 0][..], &[0; 4095]].concat() {
        peer.tls.writer().write_all(&[byte])?;
        sent = peer.flush().await;
        if sent.is_err() {
            break;
        }
    }
    drop(sent);
    refused_as(RefusedReason::TooLong, &[&a]).await;
    a.stop().await;
    Ok(())
}

use std::time::Duration;

use noex_actors::EncodeError;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{
    io::{handshake::Channel, incoming::Incoming, outbox::Outbox, reader::Batches},
    wire::{compression::Compression, order::Place},
};

fn config() -> TlsConfig {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a".to_owned(), "b".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
    TlsConfig::from_pem(ca.as_bytes(), certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

/// Both ends of a connection whose handshake of TLS is done.
async fn ends() -> (Channel, Channel) {
    let (config, listener) = (config(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let dialling = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut dialling = Channel::new(dialling);
    let mut dialled = Channel::new(listener.accept().await.unwrap().0);
    let (one, two) = tokio::join!(dialling.dial(Some(&config)), dialled.accept(Some(&config), Vec::new));
    let (one, two) = (one.unwrap().unwrap(), two.unwrap().unwrap());
    assert_eq!(one, two, "both export the same, and have the same certificate here");
    assert_eq!(one.names, ["a", "b"]);
    assert_ne!(one.binding, [0; 32]);
    (dialling, dialled)
}

/// The session's side of an end.
struct Session {
    outbox: Arc<Outbox>,
    incoming: Incoming,
    batches: Batches,
    cipher: Arc<Cipher>,
}

impl Session {
    fn new(Channel { socket, mut secured }: Channel) -> Self {
        let cipher = secured.as_mut().map(Secured::authenticated).unwrap();
        let (read, write) = socket.into_split();
        let outbox = Outbox::new(
            Arc::new(write),
            None,
            Some(Arc::clone(&cipher)),
            Compression::Off,
            (1 << 20, 1 << 20),
        );
        let outbox = Arc::new(outbox);
        tokio::spawn(Arc::clone(&outbox).flusher());
        let incoming = Incoming::new(read, secured, &outbox);
        Self { outbox, incoming, batches: Batches::new(None), cipher }
    }

    fn send(&self, bytes: &[u8]) {
        let encode = &mut |out: &mut Vec<u8>| -> Result<(), EncodeError> {
            out.extend_from_slice(bytes);
            Ok(())
        };
        self.outbox.append_control(Place::Free, encode).unwrap();
    }

    /// The end of what came, once so many bytes did.
    async fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            let read = self.incoming.read(self.batches.room());
            let bytes = actix_rt::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
            assert!(bytes > 0, "it ended");
            self.batches.filled(bytes);
            while let Some(frames) = self.batches.next().unwrap() {
                all.extend_from_slice(frames);
            }
        }
        all
    }
}

#[actix_rt::test]
async fn keys_are_updated_in_the_middle_of_a_session_and_nobody_notices() {
    let (one, two) = ends().await;
    let (mut one, mut two) = (Session::new(one), Session::new(two));
    for round in 0..20_u8 {
        let text = vec![round; 50_000];
        for session in [&one, &two] {
            session.send(&text[..usize::from(round) + 1]);
            session.cipher.0.lock().refresh_traffic_keys().unwrap();
            session.send(&text);
        }
        let (to_one, to_two) = tokio::join!(one.receive(50_001), two.receive(50_001));
        assert!(to_one.ends_with(&text) && to_two.ends_with(&text), "round {round}");
    }
}

#[actix_rt::test]
async fn what_comes_behind_the_last_frame_of_the_handshake_is_of_the_session() {
    let (mut one, two) = ends().await;
    let two = {
        let mut two = two;
        two.write_frame(b"the last frame").await.unwrap();
        Session::new(two)
    };
    let text = vec![7; 200_000];
    two.send(&text);
    two.outbox.flush_here();
    assert_eq!(one.read_frame().await.unwrap(), b"the last frame");
    assert!(Session::new(one).receive(200_000).await.ends_with(&text[..1000]));
}

#[actix_rt::test]
async fn no_more_is_encrypted_than_is_about_to_be_written() {
    let (one, _two) = ends().await;
    let cipher = one.secured.unwrap().authenticated();
    let plain = vec![0; 1 << 20];
    let taken = cipher.encrypt(&[IoSlice::new(&plain)]).unwrap();
    assert_eq!(taken, AHEAD);
    let more = cipher.encrypt(&[IoSlice::new(&plain)]);
    assert_eq!(more.unwrap_err().kind(), io::ErrorKind::WriteZero);
    let mut records = Vec::new();
    cipher.drain(&mut records).unwrap();
    assert!((taken..taken + 1024).contains(&records.len()), "{} bytes", records.len());
}

#[actix_rt::test]
async fn an_end_is_told_and_a_cut_is_an_end_too() {
    let (one, two) = ends().await;
    let (one, mut two) = (Session::new(one), Session::new(two));
    one.send(b"last words");
    one.outbox.flush_here();
    one.outbox.end();
    two.receive(10).await;
    let mut room = [0; 100];
    assert_eq!(two.incoming.read(&mut room).await.unwrap(), 0, "said so, though the socket is open");

    let (one, two) = ends().await;
    drop(one);
    assert_eq!(Session::new(two).incoming.read(&mut room).await.unwrap(), 0);
}

#[actix_rt::test]
async fn one_changed_byte_is_an_error_and_an_alert_for_the_other_end() {
    let (mut one, two) = ends().await;
    let mut two = Session::new(two);
    let cipher = Arc::clone(&one.secured.as_ref().unwrap().cipher);
    cipher.encrypt(&[IoSlice::new(b"some words")]).unwrap();
    let mut records = Vec::new();
    cipher.drain(&mut records).unwrap();
    records[8] ^= 1;
    one.socket.write_all(&records).await.unwrap();
    let mut room = [0; 100];
    assert_eq!(two.incoming.read(&mut room).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    let told = one.read_frame().await.unwrap_err();
    assert!(told.detail.contains("BadRecordMac"), "{told:?}");
}

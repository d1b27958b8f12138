//! One end of a TLS connection in the hands of a test: it believes any certificate, and says what the test wants.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use noex_actors::NodeId;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    version::TLS13,
};
use serde_bytes::ByteBuf;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::certificates::Identity;

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("not TLS 1.3".into()))
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn parts(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes()).collect::<Result<_, _>>().unwrap();
    (chain, PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap())
}

/// The end that dials.
pub(crate) fn client(identity: Option<&Identity>, protocol: &[u8]) -> Connection {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = match identity.map(parts) {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = if protocol.is_empty() { vec![] } else { vec![protocol.to_vec()] };
    let name = ServerName::try_from("anybody").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap().into()
}

/// The end that is dialled; it asks for no certificate.
pub(crate) fn server(identity: &Identity) -> Connection {
    let (chain, key) = parts(identity);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"noex/1".to_vec()];
    ServerConnection::new(Arc::new(config)).unwrap().into()
}

pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    pub(crate) tls: Connection,
}

impl Peer {
    /// Dials a node of this machine; the handshake of TLS is done when something is read or sent.
    pub(crate) async fn dial(port: u16, tls: Connection) -> io::Result<Self> {
        Ok(Self { socket: TcpStream::connect(("127.0.0.1", port)).await?, tls })
    }

    /// Writes what TLS has to say.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records)?;
        }
        self.socket.write_all(&records).await
    }

    /// Reads what came of TLS.
    pub(crate) async fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let bytes = self.socket.read(&mut buffer).await?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut from = &buffer[..bytes];
        while !from.is_empty() {
            self.tls.read_tls(&mut from)?;
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            self.tls.process_new_packets().map_err(invalid)?;
        }
        Ok(())
    }

    pub(crate) async fn shake(&mut self) -> io::Result<()> {
        loop {
            self.flush().await?;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    pub(crate) async fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut frame = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            match self.tls.reader().read(&mut buffer) {
                Ok(bytes) => frame.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flush().await?;
                    self.fill().await?;
                }
                Err(error) => return Err(error),
            }
            if let Some((len, body)) = frame.split_first_chunk::<4>()
                && u32::from_le_bytes(*len) as usize == body.len()
            {
                return Ok(body.to_vec());
            }
        }
    }

    pub(crate) async fn write_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let len = u32::try_from(body.len()).unwrap().to_le_bytes();
        self.tls.writer().write_all(&[&len[..], body].concat())?;
        self.flush().await
    }
}

/// A hello that says it comes from this node.
pub(crate) fn hello(id: &NodeId) -> Vec<u8> {
    let nonce = ByteBuf::from(vec![7; 32]);
    let hello = ("noex", [1], id, 7, nonce, ["default"], 0, ["hmac-sha256-128"]);
    rmp_serde::to_vec(&std::collections::BTreeMap::from([("hello", hello)])).unwrap()
}

/// A challenge that does; its proof is none.
pub(crate) fn challenge(id: &NodeId) -> Vec<u8> {
    let (nonce, proof) = (ByteBuf::from(vec![7; 32]), ByteBuf::from(vec![8; 32]));
    let challenge = (1, id, 7, nonce, Some("default"), 0, "hmac-sha256-128", proof);
    rmp_serde::to_vec(&std::collections::BTreeMap::from([("challenge", challenge)])).unwrap()
}

/// The frame that refuses for a reason.
pub(crate) fn refusal(reason: &str) -> Vec<u8> {
    rmp_serde::to_vec(&std::collections::BTreeMap::from([("refused", [reason])])).unwrap()
}

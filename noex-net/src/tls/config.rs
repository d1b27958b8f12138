//! What a node shows of itself and whom it trusts, made from PEM.

use std::{fmt, fs, io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};
use zeroize::Zeroizing;

use super::{
    VARIABLES,
    verify::{AnyName, dns_names},
};
use crate::config::InvalidClusterConfig;

/// The one protocol that is spoken inside.
pub(super) const ALPN: &[u8] = b"noex/1";

/// Certificates of a node: its own with the private key, and those of the CA that signs the certificates of all nodes.
/// Cheap to clone. The key is neither shown by `Debug` nor readable from here.
///
/// The node's certificate holds the name of the node (the part of its id before the `@`) among its DNS subject alternative
/// names, letter for letter; a wildcard does not count. If it has extended key usages, both `serverAuth` and `clientAuth`
/// must be among them: every node is dialled, and dials. docs/tls.md makes such certificates step by step.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir();
/// use noex_net::{ClusterConfig, TlsConfig};
///
/// let tls = TlsConfig::from_pem_files("/etc/noex/ca.pem", "/etc/noex/a.pem", "/etc/noex/a.key");
/// # let Ok(tls) = tls else { return Ok(()) };
/// let config = ClusterConfig::builder("a").tls(tls).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConfig(Arc<Inner>);

struct Inner {
    names: Vec<String>,
    chain: Vec<CertificateDer<'static>>,
    server_verifier: Arc<AnyName>,
    client_verifier: Arc<dyn ClientCertVerifier>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Which part of a [`TlsConfig`] it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsPart {
    /// The certificates of the CA.
    Ca,
    /// The node's certificate, with the certificates between it and the CA behind it.
    Certificate,
    /// The private key of the node's certificate.
    Key,
}

noex_actors::__vocabulary!(TlsPart { Ca = "ca", Certificate = "certificate", Key = "key" });

/// Why a [`TlsConfig`] cannot be made or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS {part}: {reason}")]
#[non_exhaustive]
pub struct InvalidTlsConfig {
    /// The part that is wrong.
    pub part: TlsPart,
    /// What is wrong with it, and what to do. Never anything of a private key, and no path.
    pub reason: String,
}

impl InvalidTlsConfig {
    pub(super) fn new(part: TlsPart, reason: impl Into<String>) -> Self {
        Self { part, reason: reason.into() }
    }
}

impl TlsConfig {
    /// Reads PEM files: certificates of the CA, the node's certificate (with those between it and the CA behind it, if
    /// there are any), and its private key (PKCS#8, SEC1 or PKCS#1). They are read here, once, and it blocks.
    ///
    /// # Errors
    /// [`InvalidTlsConfig`] as of [`from_pem`](Self::from_pem), or if a file cannot be read.
    pub fn from_pem_files(
        ca: impl AsRef<Path>,
        cert: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, InvalidTlsConfig> {
        let read = |part, path: &Path| {
            fs::read(path).map_err(|why| InvalidTlsConfig::new(part, format!("cannot read the file: {why}")))
        };
        let ca = read(TlsPart::Ca, ca.as_ref())?;
        let cert = read(TlsPart::Certificate, cert.as_ref())?;
        let key = Zeroizing::new(read(TlsPart::Key, key.as_ref())?);
        Self::from_pem(&ca, &cert, &key)
    }

    /// The same from the bytes of PEM files.
    ///
    /// # Errors
    /// [`InvalidTlsConfig`]: there is no certificate or key where one should be, the key is not that of the certificate, or
    /// the certificate holds no DNS name. Whether a certificate is expired, or of this CA, is not looked at here: a node that
    /// starts with such a certificate logs a warning.
    pub fn from_pem(ca: &[u8], cert: &[u8], key: &[u8]) -> Result<Self, InvalidTlsConfig> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;

        let mut roots = RootCertStore::empty();
        for certificate in certificates(TlsPart::Ca, ca)? {
            let added = roots.add(certificate);
            added.map_err(|why| {
                InvalidTlsConfig::new(TlsPart::Ca, format!("a certificate cannot be used: {why}"))
            })?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(TlsPart::Certificate, cert)?;
        let names = chain.first().map(dns_names).transpose();
        let names = names
            .map_err(|why| InvalidTlsConfig::new(TlsPart::Certificate, format!("cannot be used: {why}")))?;
        let names = names.filter(|names| !names.is_empty()).ok_or_else(|| {
            let reason = "holds no DNS name: put the name of the node among its subject alternative names";
            InvalidTlsConfig::new(TlsPart::Certificate, reason)
        })?;
        let key = || {
            PrivateKeyDer::from_pem_slice(key).map_err(|_why| {
                // SECURITY: the error may hold a line of the key.
                let reason = "there is no private key in PEM: it begins with -----BEGIN PRIVATE KEY-----";
                InvalidTlsConfig::new(TlsPart::Key, reason)
            })
        };
        let unfit = |why: rustls::Error| {
            InvalidTlsConfig::new(
                TlsPart::Key,
                format!("it is not the key of the certificate, or cannot be used: {why}"),
            )
        };

        let client_verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let client_verifier = client_verifier
            .build()
            .map_err(|why| InvalidTlsConfig::new(TlsPart::Ca, format!("cannot be used: {why}")))?;
        let server_verifier = Arc::new(AnyName { roots, algorithms });
        let server = server(&provider, &client_verifier, chain.clone(), key()?).map_err(unfit)?;
        let client = client(&provider, &server_verifier, chain.clone(), key()?).map_err(unfit)?;
        Ok(Self(Arc::new(Inner {
            names,
            chain,
            server_verifier,
            client_verifier,
            client: Arc::new(client),
            server: Arc::new(server),
        })))
    }

    /// The DNS names that the node's certificate holds.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// From the three variables, or none of them.
    ///
    /// # Errors
    /// [`InvalidClusterConfig`] with the variable in `field`. The path of the key is not shown: it might be the key.
    pub(crate) fn from_vars(
        vars: &dyn Fn(&str) -> Result<Option<String>, InvalidClusterConfig>,
    ) -> Result<Option<Self>, InvalidClusterConfig> {
        let mut paths = [const { String::new() }; 3];
        for (path, variable) in paths.iter_mut().zip(VARIABLES) {
            *path = vars(variable)?.unwrap_or_default();
        }
        if paths.iter().all(String::is_empty) {
            return Ok(None);
        }
        for (path, variable) in paths.iter().zip(VARIABLES) {
            if path.is_empty() {
                let rule = format!("must be the path of a PEM file: {} go together", VARIABLES.join(", "));
                return Err(InvalidClusterConfig::new(variable, "", rule));
            }
        }
        let [ca, cert, key] = &paths;
        Self::from_pem_files(ca, cert, key).map(Some).map_err(|error| {
            let (variable, value) = match error.part {
                TlsPart::Ca => (VARIABLES[0], ca.as_str()),
                TlsPart::Certificate => (VARIABLES[1], cert.as_str()),
                TlsPart::Key => (VARIABLES[2], "***"),
            };
            InvalidClusterConfig::new(variable, value, error.reason)
        })
    }

    /// From the environment of the process, as [`ClusterConfig::from_env`](crate::ClusterConfig::from_env) does it: the paths
    /// in `CLUSTER_TLS_CA`, `CLUSTER_TLS_CERT` and `CLUSTER_TLS_KEY`; `None` if none of them is set. To read the files again
    /// while a node runs.
    ///
    /// # Errors
    /// [`InvalidClusterConfig`] with the variable in `field`.
    pub fn from_env() -> Result<Option<Self>, InvalidClusterConfig> {
        Self::from_vars(&crate::config::env_var)
    }

    /// Whether the node's certificate holds the node's name; peers look at nothing else.
    pub(crate) fn check_name(&self, node: &str) -> Result<(), String> {
        if self.0.names.iter().any(|name| name == node) {
            return Ok(());
        }
        Err(format!("must hold the name of the node, {node}, among its DNS subject alternative names"))
    }

    /// Warns if the node's certificate would be refused by this node's own CA.
    pub(crate) fn warn_of_trouble(&self) {
        if let Err(error) = self.check_chain() {
            tracing::warn!(
                names = ?self.0.names, %error,
                "a node with this node's CA would refuse this node's certificate"
            );
        }
    }

    fn check_chain(&self) -> Result<(), rustls::Error> {
        let Some((own, between)) = self.0.chain.split_first() else { return Ok(()) };
        let (now, name) = (UnixTime::now(), ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        self.0.server_verifier.verify_server_cert(own, between, &name, &[], now)?;
        self.0.client_verifier.verify_client_cert(own, between, now)?;
        Ok(())
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.client)
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.server)
    }
}

/// Every connection proves itself anew: sessions are not resumed.
fn server(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(verifier))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<AnyName>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as _)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

fn certificates(part: TlsPart, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidTlsConfig> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) | Err(_) => {
            // SECURITY: not what was read: it may be the key in the wrong place.
            let reason = "there is no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----";
            Err(InvalidTlsConfig::new(part, reason))
        }
    }
}

/// An error of TLS as one of the connection.
pub(super) fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").field("names", &self.0.names).finish_non_exhaustive()
    }
}

/// Two are equal if one is a clone of the other.
impl PartialEq for TlsConfig {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsConfig {}

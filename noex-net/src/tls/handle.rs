//! The certificates of a running cluster node, and how they are changed.

use std::{fmt, sync::Arc};

use super::{InvalidTlsConfig, TlsConfig, TlsPart};
use crate::{Cluster, net::Net};

/// The certificates of a running [`Cluster`] that has TLS. Cheap to clone.
#[derive(Clone)]
pub struct TlsCertificates {
    net: Arc<Net>,
}

impl Cluster {
    /// The certificates of now, which can be changed while the node runs; `None` if it runs without TLS. Whether it does
    /// is decided at its start.
    #[must_use]
    pub fn tls(&self) -> Option<TlsCertificates> {
        self.net.tls().is_some().then(|| TlsCertificates { net: Arc::clone(&self.net) })
    }
}

impl TlsCertificates {
    /// Uses these certificates for the handshakes that begin from now on. Sessions stay, whatever certificates they were
    /// made with.
    ///
    /// To change the CA: first give every node the certificates of both CAs, then every node its new certificate, then every
    /// node the new CA alone.
    ///
    /// # Errors
    /// [`InvalidTlsConfig`] if the certificate does not hold the name of the node; nothing has changed then.
    pub fn reload(&self, tls: TlsConfig) -> Result<(), InvalidTlsConfig> {
        let name = self.net.node.id().name();
        tls.check_name(name).map_err(|reason| InvalidTlsConfig::new(TlsPart::Certificate, reason))?;
        tls.warn_of_trouble();
        tracing::info!(names = ?tls.names(), "the certificates were replaced");
        self.net.set_tls(tls);
        Ok(())
    }

    /// The DNS names that the node's certificate holds.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.net.tls().map(|tls| tls.names().to_vec()).unwrap_or_default()
    }
}

impl fmt::Debug for TlsCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsCertificates").field("names", &self.names()).finish_non_exhaustive()
    }
}

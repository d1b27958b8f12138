//! SIGHUP: the files of secrets and of certificates are read again, and the running node uses what they say.
//!
//! A file that cannot be read, or says anything wrong, changes nothing. Sessions stay in any case.

use std::{path::PathBuf, sync::Arc};

use actix_web::rt::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
};
use noex::{BoxError, Cluster, Secrets, env};

/// Listens for SIGHUP from its making on, where there is a file to read.
pub(crate) struct Reload(Option<(Files, Signal)>);

#[derive(Clone)]
struct Files {
    secrets: Option<Arc<PathBuf>>,
    certificates: bool,
}

impl Reload {
    /// Without files to read, SIGHUP keeps its meaning and ends the program.
    pub(crate) fn from_env() -> Result<Self, BoxError> {
        let path = |variable| env::text(variable).ok().flatten().filter(|path| !path.is_empty());
        let secrets = path("CLUSTER_SECRET_FILE").map(|path| Arc::new(path.into()));
        let certificates = cfg!(feature = "tls") && path("CLUSTER_TLS_CERT").is_some();
        if secrets.is_none() && !certificates {
            return Ok(Self(None));
        }
        Ok(Self(Some((Files { secrets, certificates }, signal(SignalKind::hangup())?))))
    }

    /// Reads the files at every signal, for ever.
    pub(crate) async fn run(self, cluster: Cluster) {
        let Some((files, mut hangups)) = self.0 else { return };
        while hangups.recv().await.is_some() {
            let (files, cluster) = (files.clone(), cluster.clone());
            if let Err(panicked) = spawn_blocking(move || files.read(&cluster)).await {
                tracing::error!(error = %panicked, "nothing is taken");
            }
        }
    }
}

impl Files {
    fn read(&self, cluster: &Cluster) {
        match self.secrets.as_deref().map(Secrets::from_file).transpose() {
            Ok(Some(secrets)) => cluster.secrets().replace(secrets),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "CLUSTER_SECRET_FILE is not taken: the secrets stay as they are");
            }
        }
        if self.certificates
            && let Err(error) = certificates(cluster)
        {
            tracing::error!(%error, "CLUSTER_TLS_* is not taken: the certificates stay as they are");
        }
    }
}

#[cfg(feature = "tls")]
fn certificates(cluster: &Cluster) -> Result<(), BoxError> {
    if let (Some(certificates), Some(tls)) = (cluster.tls(), noex::TlsConfig::from_env()?) {
        certificates.reload(tls)?;
    }
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn certificates(_: &Cluster) -> Result<(), BoxError> {
    Ok(())
}

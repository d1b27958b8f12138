//! SIGHUP: the file of secrets is read again, and the ring of the running node becomes what it says.
//!
//! A file that cannot be read, or says anything wrong, changes nothing. Sessions stay in any case.

use std::{io, path::PathBuf};

use actix_web::rt::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
};
use noex::{BoxError, Cluster, Secrets, env};

/// Listens for SIGHUP from its making on, where there is a file to read.
pub(crate) struct Reload(Option<(PathBuf, Signal)>);

impl Reload {
    /// Without `CLUSTER_SECRET_FILE`, SIGHUP keeps its meaning and ends the program.
    pub(crate) fn from_env() -> Result<Self, BoxError> {
        let path = env::text("CLUSTER_SECRET_FILE").ok().flatten().filter(|path| !path.is_empty());
        Ok(Self(path.map(|path| io::Result::Ok((path.into(), signal(SignalKind::hangup())?))).transpose()?))
    }

    /// Reads the file at every signal, for ever.
    pub(crate) async fn run(self, cluster: Cluster) {
        let Some((path, mut hangups)) = self.0 else { return };
        while hangups.recv().await.is_some() {
            let path = path.clone();
            let read: Result<Secrets, BoxError> = match spawn_blocking(move || Secrets::from_file(path)).await
            {
                Ok(read) => read.map_err(Into::into),
                Err(panicked) => Err(panicked.into()),
            };
            match read {
                Ok(secrets) => cluster.secrets().replace(secrets),
                Err(error) => {
                    tracing::error!(%error, "CLUSTER_SECRET_FILE is not taken: the secrets stay as they are");
                }
            }
        }
    }
}

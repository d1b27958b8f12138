//! The secrets of a running cluster node, and how they are changed.
//!
//! The ring decides who gets in from now on; a session that stands, stands. A handshake works on the ring as it was when
//! it began, and is looked at once more when it is done: no session begins with a key that is gone by then, and
//! whoever closes the sessions of a key finds all of them.

use std::{fmt, sync::Arc};

use crate::{
    actor::messages::Fact,
    link::Link,
    machine::{
        keys::{Key, Keys, SecretError},
        sessions,
    },
    net::Net,
    secret::Secrets,
};

/// The shared secrets of a running [`Cluster`](crate::Cluster): a ring of keys with ids, of which one signs and all are
/// accepted. Cheap to clone.
///
/// Every change takes effect for the handshakes that begin after it, and ends no session but where it says so. Two nodes use
/// the signing key of the one that was dialled if the other has it, else the first of the other's keys that both have; so
/// nodes meet as long as their rings have one key in common, whichever of them sign.
///
/// To change the secret of a cluster: [`add`](Self::add) the new one on every node, then [`activate`](Self::activate) it on
/// every node, then [`retire`](Self::retire) the old one on every node. docs/key-rotation.md has it step by step.
///
/// ```
/// # #[actix::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use noex_net::{Cluster, ClusterConfig};
///
/// let config = ClusterConfig::test("a").secret("the secret of before").build()?;
/// let cluster = Cluster::start(config).await?;
/// let secrets = cluster.secrets();
/// secrets.add("2026-02", "a new secret of our own")?;
/// secrets.activate("2026-02")?;
/// secrets.retire("default")?;
/// assert_eq!(secrets.ids(), ["2026-02"]);
/// cluster.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SecretRing {
    net: Arc<Net>,
}

impl SecretRing {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        Self { net }
    }

    /// Accepts one more key. In an empty ring it signs as well, and from then on nobody gets in without it.
    ///
    /// # Errors
    /// [`SecretError::Duplicate`], [`SecretError::Empty`], [`SecretError::InvalidId`] or [`SecretError::Full`]; nothing has
    /// changed then.
    pub fn add(&self, id: impl Into<String>, key: impl Into<Vec<u8>>) -> Result<(), SecretError> {
        let (id, key) = (id.into(), Key::new(key));
        self.change("a secret was added", |keys| keys.add(id, key))
    }

    /// Signs with this key from now on. Every node should have it by then: whoever has no other one in common with this
    /// node is not let in, nor lets it in.
    ///
    /// # Errors
    /// [`SecretError::Unknown`].
    pub fn activate(&self, id: &str) -> Result<(), SecretError> {
        self.change("another secret signs", |keys| keys.activate(id))
    }

    /// Does not accept this key any more. Sessions that were made with it stay, until they end for another reason.
    ///
    /// # Errors
    /// [`SecretError::Unknown`], or [`SecretError::RetireActive`] while it signs; so the last one stays.
    pub fn retire(&self, id: &str) -> Result<(), SecretError> {
        self.change("a secret was retired", |keys| keys.retire(id))
    }

    /// Does not accept this key any more, and ends the sessions that were made with a key of this id; also if it was
    /// retired earlier. For a secret that somebody got hold of.
    ///
    /// They end in the background, each with a node-down (`connection_closed`) at both ends, and are dialled anew at once
    /// with what both ends have then.
    ///
    /// # Errors
    /// [`SecretError::RetireActive`] while it signs; [`SecretError::Unknown`] if neither the ring has it nor any session.
    pub fn retire_and_close(&self, id: &str) -> Result<(), SecretError> {
        let retired = self.retire(id);
        if let Err(SecretError::RetireActive(_)) = retired {
            return retired;
        }
        let closed = self.close(|link, _| link.key.as_ref().is_some_and(|key| key.id() == id));
        // A key that is gone already leaves its sessions to be closed.
        if closed > 0 { Ok(()) } else { retired }
    }

    /// Replaces the whole ring; the first secret signs. Sessions stay, also those whose key is gone.
    ///
    /// Without a secret, from then on whoever reaches the port is let in, as far as
    /// [`insecure_peers`](crate::ClusterConfig::insecure_peers) allows: by default from this machine only. With TLS,
    /// whoever has a certificate of the CA for its name is, from anywhere.
    pub fn replace(&self, secrets: Secrets) {
        let keys = secrets.into_keys();
        let replaced = self.change("the secrets were replaced", |ring| {
            ring.replace(keys);
            Ok(())
        });
        debug_assert_eq!(replaced, Ok(()), "any ring can be replaced by any other");
    }

    /// Replaces the whole ring and ends the sessions that could not begin today: their key is not in it, or was another
    /// one under the same id, or they have none.
    pub fn replace_and_close(&self, secrets: Secrets) {
        self.replace(secrets);
        self.close(|link, keys| !keys.admits(link.key.as_ref()));
    }

    /// Ids of the keys that are accepted, the signing one first.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.net.keys.read().ids().map(str::to_owned).collect()
    }

    /// Id of the key that signs; `None` without a secret.
    #[must_use]
    pub fn active(&self) -> Option<String> {
        self.net.keys.read().ids().next().map(str::to_owned)
    }

    fn change(
        &self,
        what: &'static str,
        change: impl FnOnce(&mut Keys) -> Result<(), SecretError>,
    ) -> Result<(), SecretError> {
        let mut keys = self.net.keys.write();
        let before = keys.clone();
        change(&mut keys)?;
        let after = keys.clone();
        drop(keys);
        let ids: Vec<&str> = after.ids().collect();
        tracing::info!(?ids, "{what}");
        warn_of_weak_secrets(&before, &after, self.net.tls().is_some());
        Ok(())
    }

    /// Ends sessions, and connections on their way to be one; returns how many.
    fn close(&self, which: impl Fn(&Link, &Keys) -> bool) -> usize {
        // A connection is in `links` before its key is looked at the last time, and the manager knows it by then.
        let links = self.net.links.lock();
        let keys = self.net.keys.read().clone();
        let closed = links.values().filter(|link| which(link, &keys));
        closed
            .map(|link| {
                tracing::info!(peer = %link.peer, key = ?link.key, "the secret of a session was retired; it ends");
                self.net.tell(Fact::Session(sessions::Input::KeyRetired { conn: link.conn }));
            })
            .count()
    }
}

impl fmt::Debug for SecretRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.net.keys.read().fmt(f)
    }
}

/// Warns once of each secret that can be guessed, and each time that there is none any more.
pub(crate) fn warn_of_weak_secrets(before: &Keys, after: &Keys, tls: bool) {
    for id in after.short().filter(|id| before.get(id) != after.get(id)) {
        tracing::warn!(id, "the cluster secret is shorter than 16 bytes: it can be guessed");
    }
    if after.is_empty() && tls {
        tracing::warn!("no cluster secret is set: whoever has a certificate of the CA is let in");
    } else if after.is_empty() {
        tracing::warn!(
            "no cluster secret is set: everybody who reaches this port is let in, as far as insecure_peers allows"
        );
    }
}

//! The handshake `noex/1`: decides whether the other end of a fresh connection is a node of this cluster.
//!
//! ```text
//! initiator                                            acceptor
//!    | Hello      versions, id, incarnation, nonce,        |
//!    |            key ids, capabilities, tags         ---> |
//!    | <---  Challenge  version, id, incarnation, nonce,   |
//!    |                  key id, capabilities, tag, proof   |
//!    | Proof      proof                               ---> |
//! established                                          established
//! ```
//!
//! The acceptor proves itself first: whoever dials a stranger tells it nothing that a key holder would not know.
//! `transcript.rs` says what a proof covers. Without a secret the same three messages go without proofs, and the
//! session has no keys. A node with a key never accepts one without, nor the reverse: `no_secret`.
//!
//! With TLS around it, the peer's certificate must hold the name that it claims, and proofs cover what TLS exports.
//!
//! Invariants: 1. nothing is established unless the peer proved that it holds the key, over the bytes of this
//! very exchange, in its own role; 2. each machine ends exactly once, with `Done`, `Refuse`, `RefusedByPeer` or
//! `SelfConnection`, and says nothing afterwards; 3. both ends of an established pair have the same keys, crosswise.

mod acceptor;
mod initiator;
mod transcript;

use std::fmt;

use noex_actors::{Incarnation, NodeId};
use zeroize::Zeroizing;

use self::transcript::{Role, Transcript};
pub(crate) use self::{acceptor::Acceptor, initiator::Initiator};
use super::keys::{KeyMark, Keys};
use crate::wire::{
    handshake::{Message, MessageError, Refused, Word},
    tag::{TagAlgorithm, Tagger},
};

/// Why a connection was refused, before it became a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RefusedReason {
    /// A frame was longer than 4 KiB.
    TooLong,
    /// A frame was not a message of the handshake, or not the one whose turn it was.
    BadFrame,
    /// The peer hung up in the middle.
    Eof,
    /// The peer was not done in time.
    Timeout,
    /// Too many unauthenticated connections; this one was given up.
    Evicted,
    /// No version of the protocol, or no algorithm for the tags of batches, in common.
    Version,
    /// The peer does not hold the key.
    WrongSecret,
    /// One end has a secret and the other has none.
    NoSecret,
    /// Both have secrets, but no key in common; or the common one was retired in the middle of the handshake.
    NoCommonKey,
    /// Another node answered than was dialled, or one that bears this node's own id.
    WrongIdentity,
    /// A later life of the same node is connected.
    Superseded,
    /// No secret is set, and the peer is not on loopback.
    InsecurePeer,
    /// Something about TLS: one end runs with it and the other without, or a certificate is missing, expired, not of the CA,
    /// or not for the name that the peer claims.
    Tls,
}

noex_actors::__vocabulary!(RefusedReason {
    TooLong = "too_long",
    BadFrame = "bad_frame",
    Eof = "eof",
    Timeout = "timeout",
    Evicted = "evicted",
    Version = "version",
    WrongSecret = "wrong_secret",
    NoSecret = "no_secret",
    NoCommonKey = "no_common_key",
    WrongIdentity = "wrong_identity",
    Superseded = "superseded",
    InsecurePeer = "insecure_peer",
    Tls = "tls",
});

/// What a node says of itself in every handshake.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// Own id.
    pub(crate) id: NodeId,
    /// Own life.
    pub(crate) incarnation: Incarnation,
    /// Own capability bits.
    pub(crate) capabilities: u64,
    /// Keys; none means a cluster without a secret.
    pub(crate) keys: Keys,
    /// How batches may be tagged where there is a key, the preferred way first; not empty.
    pub(crate) tags: Vec<TagAlgorithm>,
    /// What TLS knows of this connection; `None` if it runs without.
    pub(crate) tls: Option<TlsFacts>,
}

impl Local {
    fn binding(&self) -> Option<&[u8; 32]> {
        self.tls.as_ref().map(|tls| &tls.binding)
    }

    /// SECURITY: with TLS, nobody bears a name that is not in its certificate, letter for letter.
    fn check_certificate(&self, peer: &NodeId) -> Result<(), Output> {
        match &self.tls {
            Some(tls) if !tls.names.iter().any(|name| name == peer.name()) => Err(refuse(RefusedReason::Tls)),
            Some(_) | None => Ok(()),
        }
    }
}

/// What TLS knows of a connection whose handshake of TLS is done.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFacts {
    /// Keying material that only the two ends of this very TLS session can export.
    pub(crate) binding: [u8; 32],
    /// The DNS names in the certificate of the peer.
    pub(crate) names: Vec<String>,
}

impl fmt::Debug for TlsFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFacts").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Whom the initiator dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// An address: whoever answers.
    Anyone,
    /// A seed with a name: the name must match, its host need not.
    Name(String),
    /// A hinted node: exactly this id.
    Node(NodeId),
}

impl Expected {
    fn admits(&self, id: &NodeId) -> bool {
        match self {
            Self::Anyone => true,
            Self::Name(name) => id.name() == name,
            Self::Node(expected) => id == expected,
        }
    }
}

/// The bytes of a key of one direction; wiped on drop.
pub(crate) type SessionKey = Zeroizing<[u8; 32]>;

/// A key of one direction, and what it is for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TagKey {
    pub(crate) algorithm: TagAlgorithm,
    pub(crate) key: SessionKey,
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TagKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl TagKey {
    /// What makes, or checks, the tags of the direction; from the first batch on.
    pub(crate) fn tagger(&self) -> Tagger {
        Tagger::new(self.algorithm, &self.key)
    }
}

/// What a session with a key was agreed to be.
#[derive(Debug)]
struct Chosen {
    key_id: String,
    tag: TagAlgorithm,
}

impl Chosen {
    /// The key of what `role` sends, once the transcript is whole.
    fn tag_key(&self, local: &Local, transcript: &Transcript, role: Role) -> Option<TagKey> {
        let key = local.keys.get(&self.key_id)?;
        Some(TagKey { algorithm: self.tag, key: transcript.session_key(key, role) })
    }
}

/// The outcome of a handshake that went well.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Established {
    /// Who the peer is.
    pub(crate) peer: NodeId,
    /// Which life of it.
    pub(crate) incarnation: Incarnation,
    /// Capability bits that both ends have.
    pub(crate) capabilities: u64,
    /// Key of the tags that this end writes; `None` without a secret: no tags.
    pub(crate) send_key: Option<TagKey>,
    /// Key of the tags that this end checks.
    pub(crate) receive_key: Option<TagKey>,
    /// The shared key that was used.
    pub(crate) key: Option<KeyMark>,
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("peer", &self.peer)
            .field("incarnation", &self.incarnation)
            .field("capabilities", &self.capabilities)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What the shell must do. All but `Send` end the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send this frame body behind its length.
    Send(Vec<u8>),
    /// Both ends are who they say. Frames after this are the session's.
    Done(Box<Established>),
    /// Count the refusal, send the frame body if there is one, and close.
    Refuse { reason: RefusedReason, send: Option<Vec<u8>> },
    /// The peer refused, and says why; close. The reason is a claim of a stranger.
    RefusedByPeer(RefusedReason),
    /// The other end is this node itself; send what is queued and close. Not a refusal.
    SelfConnection,
}

/// Reads a frame; a refusal of the peer and what is not a message are outcomes already.
fn read(frame: &[u8]) -> Result<Message, Output> {
    match Message::decode(frame) {
        // A reason that only a later version knows is a refusal all the same.
        Ok(Message::Refused(refused)) => {
            Err(Output::RefusedByPeer(refused.reason.as_str().parse().unwrap_or(RefusedReason::Version)))
        }
        Ok(message) => Ok(message),
        Err(MessageError::TooLong(_)) => Err(Output::Refuse { reason: RefusedReason::TooLong, send: None }),
        Err(MessageError::Malformed) => Err(bad_frame()),
    }
}

/// Whoever does not speak the protocol is not spoken to.
fn bad_frame() -> Output {
    Output::Refuse { reason: RefusedReason::BadFrame, send: None }
}

fn refuse(reason: RefusedReason) -> Output {
    Output::Refuse { reason, send: Some(refused_frame(reason)) }
}

/// Body of the frame that tells a peer why it is refused; for reasons that the shell finds, too.
pub(crate) fn refused_frame(reason: RefusedReason) -> Vec<u8> {
    Message::Refused(Refused { reason: Word::new(reason.as_str()) }).encode()
}

#[cfg(test)]
mod tests;

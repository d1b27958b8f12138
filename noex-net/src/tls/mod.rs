//! TLS between nodes: TLS 1.3 with certificates at both ends, and the handshake `noex/1` inside.
//!
//! | Room | Holds |
//! |---|---|
//! | `config` | [`TlsConfig`]: PEM in, what rustls wants out |
//! | `verify` | who is a peer: a certificate of the CA, whatever its name; the handshake compares the name |
//! | `session` | the cipher of one connection, shared by its reader and its writer |
//! | `handle` | [`TlsCertificates`] of a running node |
//! | `none` | the same without the feature `tls`: types without values |
//!
//! Two things tie the handshake to the TLS session around it: the certificate holds the name that the peer claims, and
//! the keying material that TLS exports is in the transcript, so that nobody who ends TLS in the middle can pass the
//! proofs on.

#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
mod handle;
#[cfg(not(feature = "tls"))]
mod none;
#[cfg(feature = "tls")]
mod session;
#[cfg(feature = "tls")]
mod verify;

#[cfg(not(feature = "tls"))]
pub(crate) use self::none::{Cipher, Secured, TlsConfig};
#[cfg(feature = "tls")]
pub(crate) use self::session::{Cipher, Secured};
#[cfg(feature = "tls")]
pub use self::{
    config::{InvalidTlsConfig, TlsConfig, TlsPart},
    handle::TlsCertificates,
};

/// The paths of the CA's certificates, of the node's certificate and of its private key: all three or none.
pub(crate) const VARIABLES: [&str; 3] = ["CLUSTER_TLS_CA", "CLUSTER_TLS_CERT", "CLUSTER_TLS_KEY"];

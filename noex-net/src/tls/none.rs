//! Without the feature `tls`: the same names, of which there are no values. What concerns TLS costs nothing then.

use std::io;

use tokio::io::AsyncRead;

use crate::{config::InvalidClusterConfig, io::socket::Socket, machine::handshake::TlsFacts};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsConfig {}

impl TlsConfig {
    /// SECURITY: who asks for TLS must not get a node without.
    pub(crate) fn from_vars(
        vars: &dyn Fn(&str) -> Result<Option<String>, InvalidClusterConfig>,
    ) -> Result<Option<Self>, InvalidClusterConfig> {
        for variable in super::VARIABLES {
            if vars(variable)?.is_some_and(|text| !text.is_empty()) {
                let rule = "cannot be used: the program was built without the feature tls of noex";
                return Err(InvalidClusterConfig::new(variable, "***", rule));
            }
        }
        Ok(None)
    }

    pub(crate) fn check_name(&self, _node: &str) -> Result<(), String> {
        match *self {}
    }

    pub(crate) fn names(&self) -> &[String] {
        match *self {}
    }

    pub(crate) fn warn_of_trouble(&self) {
        match *self {}
    }

    pub(crate) async fn dial(&self, _socket: &mut Socket) -> io::Result<Secured> {
        match *self {}
    }

    pub(crate) async fn accept(&self, _socket: &mut Socket) -> io::Result<Secured> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Cipher {}

impl Cipher {
    pub(crate) fn encrypt(&self, _plain: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn drain(&self, _socket: &mut impl io::Write) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn end(&self) {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Secured {}

impl Secured {
    pub(crate) fn facts(&self) -> TlsFacts {
        match *self {}
    }

    pub(crate) async fn read(
        &mut self,
        _socket: &mut (impl AsyncRead + Unpin),
        _room: &mut [u8],
    ) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) async fn write_all(&mut self, _socket: &mut Socket, _bytes: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(crate) fn authenticated(&mut self) -> std::sync::Arc<Cipher> {
        match *self {}
    }
}

//! What a proof covers, and which keys come of it.
//!
//! The transcript is SHA-256 over the label `noex/1 transcript` and then, for each message so far, its length
//! (u64 LE) and its bytes as they were on the wire. Within TLS the label is `noex/1 tls transcript`, and what TLS exports
//! (32 bytes) comes first, as if it were a message.
//!
//! | Value | Is |
//! |---|---|
//! | acceptor's proof | HMAC-SHA256(key, `noex/1 acceptor proof` ‖ transcript(hello, challenge with an empty proof)) |
//! | initiator's proof | HMAC-SHA256(key, `noex/1 initiator proof` ‖ transcript(hello, challenge)) |
//! | initiator's sending key | HKDF-SHA256(salt = transcript(hello, challenge, proof), secret = key, info = `noex/1 initiator`) |
//! | acceptor's sending key | the same with info = `noex/1 acceptor` |
//!
//! "Challenge with an empty proof" is the encoding of the same message with a proof of 0 bytes; as there is one
//! encoding of each message, both ends compute the same bytes.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::SessionKey;
use crate::machine::keys::Key;

const TRANSCRIPT: &[u8] = b"noex/1 transcript";
const TLS_TRANSCRIPT: &[u8] = b"noex/1 tls transcript";

/// Whose proof or key it is. The label differs, so that neither can be sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Acceptor,
}

impl Role {
    const fn proof_label(self) -> &'static [u8] {
        match self {
            Self::Initiator => b"noex/1 initiator proof",
            Self::Acceptor => b"noex/1 acceptor proof",
        }
    }

    const fn key_label(self) -> &'static [u8] {
        match self {
            Self::Initiator => b"noex/1 initiator",
            Self::Acceptor => b"noex/1 acceptor",
        }
    }
}

/// The running hash over the messages.
#[derive(Clone, Debug)]
pub(super) struct Transcript(Sha256);

impl Transcript {
    /// Bound to the TLS session around it, if there is one.
    pub(super) fn new(binding: Option<&[u8; 32]>) -> Self {
        match binding {
            None => Self(Sha256::new_with_prefix(TRANSCRIPT)),
            Some(binding) => Self(Sha256::new_with_prefix(TLS_TRANSCRIPT)).with(binding),
        }
    }

    pub(super) fn add(&mut self, message: &[u8]) {
        self.0.update((message.len() as u64).to_le_bytes());
        self.0.update(message);
    }

    pub(super) fn with(&self, message: &[u8]) -> Self {
        let mut longer = self.clone();
        longer.add(message);
        longer
    }

    fn hash(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    /// The proof of `role` over the transcript.
    pub(super) fn prove(&self, key: &Key, role: Role) -> [u8; 32] {
        self.mac(key, role).finalize().into_bytes().into()
    }

    /// Whether `proof` is that of `role`; takes the same time wherever it differs.
    pub(super) fn verify(&self, key: &Key, role: Role, proof: &[u8; 32]) -> bool {
        self.mac(key, role).verify_slice(proof).is_ok()
    }

    fn mac(&self, key: &Key, role: Role) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes keys of any length");
        mac.update(role.proof_label());
        mac.update(&self.hash());
        mac
    }

    /// The key with which `role` tags what it sends.
    pub(super) fn session_key(&self, key: &Key, role: Role) -> SessionKey {
        let mut bytes = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(&self.hash()), key.bytes())
            .expand(role.key_label(), bytes.as_mut_slice())
            .expect("32 bytes are within what HKDF-SHA256 gives");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_proofs_and_keys_stay_as_they_are() {
        let (key, transcript) =
            (Key::new("a shared secret"), Transcript::new(None).with(b"hello").with(b"challenge"));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for (role, proof, session) in [
            (
                Role::Initiator,
                "20416b4924895c3db443604b0f4c02361589fbfd5a7f7a062a47879c0c3bd681",
                "2e5626598812adc1c210df2d9c08956f58631c6f50c6460731e989586c19b1c9",
            ),
            (
                Role::Acceptor,
                "422f9b87b4f7886d9ab57a7be706fe500b4564136784ef64be188a8442b4d62e",
                "6e116c1864f662f10e7fc4d9a5ee7eb769d43c8b5a2f050e3dfce0180fb31418",
            ),
        ] {
            assert_eq!(hex(&transcript.prove(&key, role)), proof);
            assert_eq!(hex(transcript.session_key(&key, role).as_slice()), session);
        }
    }

    #[test]
    fn the_bytes_of_proofs_and_keys_within_tls_stay_as_they_are_too() {
        let key = Key::new("a shared secret");
        let within = |binding| Transcript::new(Some(binding)).with(b"hello").with(b"challenge");
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let transcript = within(&[9; 32]);
        assert_eq!(
            hex(&transcript.prove(&key, Role::Initiator)),
            "f2f60695362a10ba8301c6c3386c547e2b7ca97e9190369774cab324cc22d56a"
        );
        assert_eq!(
            hex(&transcript.prove(&key, Role::Acceptor)),
            "b592530dff552148028493ecb5f805356569ee7837cf578328d2ebd63f71e0da"
        );
        assert_eq!(
            hex(transcript.session_key(&key, Role::Initiator).as_slice()),
            "dfdfd1c95fb4f2c809ad511ceef45e70e75ddb5923cbcf13275cc3ae7d92b0c4"
        );
        let proof = transcript.prove(&key, Role::Initiator);
        let without = Transcript::new(None).with(b"hello").with(b"challenge");
        for other in [within(&[8; 32]), without.clone(), Transcript::new(None).with(&[9; 32]).with(b"hello")]
        {
            assert!(!other.verify(&key, Role::Initiator, &proof));
        }
        assert!(!transcript.verify(&key, Role::Initiator, &without.prove(&key, Role::Initiator)));
    }

    #[test]
    fn a_proof_holds_for_its_role_key_and_messages_only() {
        let (key, transcript) = (Key::new("key"), Transcript::new(None).with(b"ab").with(b"c"));
        let proof = transcript.prove(&key, Role::Acceptor);
        assert!(transcript.verify(&key, Role::Acceptor, &proof));
        assert!(!transcript.verify(&key, Role::Initiator, &proof));
        assert!(!transcript.verify(&Key::new("yek"), Role::Acceptor, &proof));
        let other_cut = Transcript::new(None).with(b"a").with(b"bc");
        assert!(!other_cut.verify(&key, Role::Acceptor, &proof), "lengths count");
    }
}

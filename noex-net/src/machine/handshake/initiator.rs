//! The end that dialled: offers, checks the acceptor's proof, proves itself.

use std::collections::VecDeque;

use super::{
    Chosen, Established, Expected, Local, Output, RefusedReason, bad_frame, read, refuse,
    transcript::{Role, Transcript},
};
use crate::wire::handshake::{
    Challenge, Hello, Life, MAGIC, Message, Nonce, Proof, ProofBytes, TAG_NONE, VERSION, Word,
};

/// The initiator's half of one handshake.
#[derive(Debug)]
pub(crate) struct Initiator {
    local: Local,
    expected: Expected,
    transcript: Transcript,
    ended: bool,
}

impl Initiator {
    /// Starts: the hello is in `out`. `nonce` must be fresh and random.
    pub(crate) fn new(local: Local, expected: Expected, nonce: [u8; 32], out: &mut VecDeque<Output>) -> Self {
        let tags = if local.keys.is_empty() {
            vec![Word::new(TAG_NONE)]
        } else {
            local.tags.iter().map(|tag| Word::new(tag.as_str())).collect()
        };
        let hello = Message::Hello(Hello {
            magic: Word::new(MAGIC),
            versions: vec![VERSION],
            id: local.id.clone(),
            incarnation: Life(local.incarnation),
            nonce: Nonce(nonce),
            key_ids: local.keys.ids().map(Word::new).collect(),
            capabilities: local.capabilities,
            tags,
        })
        .encode();
        let transcript = Transcript::new(local.binding()).with(&hello);
        out.push_back(Output::Send(hello));
        Self { local, expected, transcript, ended: false }
    }

    /// Takes the body of one frame. After an end, frames are ignored.
    pub(crate) fn handle(&mut self, frame: &[u8], out: &mut VecDeque<Output>) {
        if self.ended {
            return;
        }
        self.ended = true; // the first frame decides, whatever it is
        match self.answer(frame) {
            Ok((proof, end)) => {
                out.extend(proof.map(Output::Send));
                out.push_back(end);
            }
            Err(end) => out.push_back(end),
        }
    }

    fn answer(&self, frame: &[u8]) -> Result<(Option<Vec<u8>>, Output), Output> {
        let Message::Challenge(challenge) = read(frame)? else { return Err(bad_frame()) };
        if challenge.version != VERSION {
            return Err(refuse(RefusedReason::Version));
        }
        self.local.check_certificate(&challenge.id)?;
        let (id, incarnation) = (challenge.id.clone(), challenge.incarnation.0);
        let capabilities = challenge.capabilities & self.local.capabilities;
        let chosen = self.verify(challenge)?;
        if id == self.local.id {
            let end = if incarnation == self.local.incarnation {
                Output::SelfConnection
            } else {
                refuse(RefusedReason::WrongIdentity)
            };
            return Err(end);
        }
        if !self.expected.admits(&id) {
            return Err(refuse(RefusedReason::WrongIdentity));
        }

        let transcript = self.transcript.with(frame);
        let key = chosen.as_ref().and_then(|chosen| self.local.keys.get(&chosen.key_id));
        let proof = ProofBytes(key.map(|key| transcript.prove(key, Role::Initiator)));
        let proof = Message::Proof(Proof { proof }).encode();
        let transcript = transcript.with(&proof);
        let tag_key = |role| chosen.as_ref()?.tag_key(&self.local, &transcript, role);
        let established = Established {
            peer: id,
            incarnation,
            capabilities,
            send_key: tag_key(Role::Initiator),
            receive_key: tag_key(Role::Acceptor),
            key: chosen.as_ref().and_then(|chosen| self.local.keys.mark(&chosen.key_id)),
        };
        Ok((Some(proof), Output::Done(Box::new(established))))
    }

    /// The id of the key that the acceptor proved to hold, and the tag that it chose; `None` if neither end has a key.
    fn verify(&self, mut challenge: Challenge) -> Result<Option<Chosen>, Output> {
        let proof = challenge.proof.0.take();
        let key_id = challenge.key_id.as_ref().map(|id| id.as_str().to_owned());
        match (self.local.keys.is_empty(), key_id, proof) {
            (true, None, None) if challenge.tag.as_str() == TAG_NONE => Ok(None),
            (true, Some(_), _) | (false, None, _) => Err(refuse(RefusedReason::NoSecret)),
            (false, Some(key_id), Some(proof)) => {
                let Some(key) = self.local.keys.get(&key_id) else {
                    return Err(refuse(RefusedReason::NoCommonKey));
                };
                // SECURITY: only what was offered; with a key, "no tag" never is.
                let offered = self.local.tags.iter().find(|tag| tag.as_str() == challenge.tag.as_str());
                let Some(&tag) = offered else { return Err(bad_frame()) };
                let covered = self.transcript.with(&Message::Challenge(challenge).encode());
                if covered.verify(key, Role::Acceptor, &proof) {
                    Ok(Some(Chosen { key_id, tag }))
                } else {
                    Err(refuse(RefusedReason::WrongSecret))
                }
            }
            (true, None, _) | (false, Some(_), None) => Err(bad_frame()),
        }
    }
}

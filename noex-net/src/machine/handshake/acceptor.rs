//! The end that was dialled: chooses, proves itself first, checks the initiator's proof.

use std::collections::VecDeque;

use super::{
    Established, Local, Output, RefusedReason, bad_frame, read, refuse,
    transcript::{Role, Transcript},
};
use crate::wire::handshake::{
    Challenge, Hello, Life, MAGIC, Message, Nonce, ProofBytes, TAG_HMAC, TAG_NONE, VERSION, Word,
};

/// The acceptor's half of one handshake.
#[derive(Debug)]
pub(crate) struct Acceptor {
    local: Local,
    nonce: [u8; 32],
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitHello,
    AwaitProof { hello: Box<Hello>, key_id: Option<String>, transcript: Transcript },
    Ended,
}

/// One frame's effect; `Err` is how the machine ends, well or not.
type Step = Result<(), Output>;

impl Acceptor {
    /// Waits for a hello. `nonce` must be fresh and random.
    pub(crate) fn new(local: Local, nonce: [u8; 32]) -> Self {
        Self { local, nonce, state: State::AwaitHello }
    }

    /// Takes the body of one frame. After an end, frames are ignored.
    pub(crate) fn handle(&mut self, frame: &[u8], out: &mut VecDeque<Output>) {
        let result = match std::mem::replace(&mut self.state, State::Ended) {
            State::AwaitHello => self.hello(frame, out),
            State::AwaitProof { hello, key_id, transcript } => self.proof(frame, &hello, key_id, &transcript),
            State::Ended => return,
        };
        if let Err(end) = result {
            out.push_back(end);
        }
    }

    fn hello(&mut self, frame: &[u8], out: &mut VecDeque<Output>) -> Step {
        let Message::Hello(hello) = read(frame)? else { return Err(bad_frame()) };
        if hello.magic.as_str() != MAGIC {
            return Err(bad_frame());
        }
        if !hello.versions.contains(&VERSION) {
            return Err(refuse(RefusedReason::Version));
        }
        self.local.check_certificate(&hello.id)?;
        let key_id = self.choose_key(&hello)?;
        let tag = if key_id.is_some() { TAG_HMAC } else { TAG_NONE };
        if !hello.tags.iter().any(|offered| offered.as_str() == tag) {
            return Err(refuse(RefusedReason::Version)); // no way of tagging in common
        }
        let is_self = hello.id == self.local.id;
        if is_self && hello.incarnation.0 != self.local.incarnation {
            return Err(refuse(RefusedReason::WrongIdentity));
        }

        let mut transcript = Transcript::new(self.local.binding()).with(frame);
        let mut challenge = Challenge {
            version: VERSION,
            id: self.local.id.clone(),
            incarnation: Life(self.local.incarnation),
            nonce: Nonce(self.nonce),
            key_id: key_id.as_deref().map(Word::new),
            capabilities: self.local.capabilities,
            tag: Word::new(tag),
            proof: ProofBytes(None),
        };
        if let Some(key) = key_id.as_deref().and_then(|id| self.local.keys.get(id)) {
            let covered = transcript.with(&Message::Challenge(challenge.clone()).encode());
            challenge.proof = ProofBytes(Some(covered.prove(key, Role::Acceptor)));
        }
        let challenge = Message::Challenge(challenge).encode();
        transcript.add(&challenge);
        out.push_back(Output::Send(challenge)); // to itself, too: that is how the dialling end learns it
        if is_self {
            return Err(Output::SelfConnection);
        }
        self.state = State::AwaitProof { hello: Box::new(hello), key_id, transcript };
        Ok(())
    }

    /// The own signing key if the initiator has it, else the first of its keys that is here.
    fn choose_key(&self, hello: &Hello) -> Result<Option<String>, Output> {
        let keys = &self.local.keys;
        if keys.is_empty() || hello.key_ids.is_empty() {
            let both = keys.is_empty() && hello.key_ids.is_empty();
            return if both { Ok(None) } else { Err(refuse(RefusedReason::NoSecret)) };
        }
        let signing = keys.ids().next().filter(|own| hello.key_ids.iter().any(|id| id.as_str() == *own));
        let common = || hello.key_ids.iter().map(Word::as_str).find(|id| keys.get(id).is_some());
        match signing.or_else(common) {
            Some(id) => Ok(Some(id.to_owned())),
            None => Err(refuse(RefusedReason::NoCommonKey)),
        }
    }

    fn proof(&self, frame: &[u8], hello: &Hello, key_id: Option<String>, transcript: &Transcript) -> Step {
        let Message::Proof(proof) = read(frame)? else { return Err(bad_frame()) };
        let key = key_id.as_deref().and_then(|id| self.local.keys.get(id));
        match (key, proof.proof.0) {
            (None, None) if self.local.keys.is_empty() => {}
            (Some(key), Some(proof)) if transcript.verify(key, Role::Initiator, &proof) => {}
            (Some(_), Some(_)) => return Err(refuse(RefusedReason::WrongSecret)),
            (None, _) | (Some(_), None) => return Err(bad_frame()),
        }
        let transcript = transcript.with(frame);
        Err(Output::Done(Box::new(Established {
            peer: hello.id.clone(),
            incarnation: hello.incarnation.0,
            capabilities: hello.capabilities & self.local.capabilities,
            send_key: key.map(|key| transcript.session_key(key, Role::Acceptor)),
            receive_key: key.map(|key| transcript.session_key(key, Role::Initiator)),
            key: key_id.and_then(|id| self.local.keys.mark(&id)),
        })))
    }
}

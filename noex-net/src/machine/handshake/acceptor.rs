//! The end that was dialled: chooses, proves itself first, checks the initiator's proof.

use std::collections::VecDeque;

use super::{
    Chosen, Established, Local, Output, RefusedReason, bad_frame, read, refuse,
    transcript::{Role, Transcript},
};
use crate::wire::{
    handshake::{Challenge, Hello, Life, MAGIC, Message, Nonce, ProofBytes, TAG_NONE, VERSION, Word},
    tag::TagAlgorithm,
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
    AwaitProof { hello: Box<Hello>, chosen: Option<Chosen>, transcript: Transcript },
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
            State::AwaitProof { hello, chosen, transcript } => self.proof(frame, &hello, chosen, &transcript),
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
        let chosen = match self.choose_key(&hello)? {
            Some(key_id) => Some(Chosen { key_id, tag: self.choose_tag(&hello)? }),
            None if offers(&hello, TAG_NONE) => None,
            None => return Err(refuse(RefusedReason::Version)),
        };
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
            key_id: chosen.as_ref().map(|chosen| Word::new(&chosen.key_id)),
            capabilities: self.local.capabilities,
            tag: Word::new(chosen.as_ref().map_or(TAG_NONE, |chosen| chosen.tag.as_str())),
            proof: ProofBytes(None),
        };
        if let Some(key) = chosen.as_ref().and_then(|chosen| self.local.keys.get(&chosen.key_id)) {
            let covered = transcript.with(&Message::Challenge(challenge.clone()).encode());
            challenge.proof = ProofBytes(Some(covered.prove(key, Role::Acceptor)));
        }
        let challenge = Message::Challenge(challenge).encode();
        transcript.add(&challenge);
        out.push_back(Output::Send(challenge)); // to itself, too: that is how the dialling end learns it
        if is_self {
            return Err(Output::SelfConnection);
        }
        self.state = State::AwaitProof { hello: Box::new(hello), chosen, transcript };
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

    /// The first of the own algorithms that the initiator has, too. SECURITY: "none" is not among them.
    fn choose_tag(&self, hello: &Hello) -> Result<TagAlgorithm, Output> {
        let common = self.local.tags.iter().find(|own| offers(hello, own.as_str()));
        common.copied().ok_or_else(|| refuse(RefusedReason::Version))
    }

    fn proof(&self, frame: &[u8], hello: &Hello, chosen: Option<Chosen>, transcript: &Transcript) -> Step {
        let Message::Proof(proof) = read(frame)? else { return Err(bad_frame()) };
        let key = chosen.as_ref().and_then(|chosen| self.local.keys.get(&chosen.key_id));
        match (key, proof.proof.0) {
            (None, None) if self.local.keys.is_empty() => {}
            (Some(key), Some(proof)) if transcript.verify(key, Role::Initiator, &proof) => {}
            (Some(_), Some(_)) => return Err(refuse(RefusedReason::WrongSecret)),
            (None, _) | (Some(_), None) => return Err(bad_frame()),
        }
        let transcript = transcript.with(frame);
        let tag_key = |role| chosen.as_ref()?.tag_key(&self.local, &transcript, role);
        Err(Output::Done(Box::new(Established {
            peer: hello.id.clone(),
            incarnation: hello.incarnation.0,
            capabilities: hello.capabilities & self.local.capabilities,
            send_key: tag_key(Role::Acceptor),
            receive_key: tag_key(Role::Initiator),
            key: chosen.as_ref().and_then(|chosen| self.local.keys.mark(&chosen.key_id)),
        })))
    }
}

fn offers(hello: &Hello, tag: &str) -> bool {
    hello.tags.iter().any(|offered| offered.as_str() == tag)
}

//! Control messages of nodes that are older or newer than this one. `golden.rs` has those of this version.

use std::collections::BTreeMap;

use noex_actors::__private::{decode, encode_into};
use serde::Serialize;
use serde_bytes::Bytes;

use super::*;

/// A message with these fields, by position.
fn read(word: &str, fields: &impl Serialize) -> Result<Control, String> {
    let mut bytes = Vec::new();
    encode_into(&BTreeMap::from([(word, fields)]), &mut bytes).unwrap();
    decode(&bytes).map_err(|error| error.to_string())
}

const NEW: (&str, Option<u8>) = ("a field of a newer version", Some(1));

#[test]
fn what_a_message_holds_may_have_fields_more() {
    let box_ = Behavior { number: 1, name: "box".to_owned(), schema: b"schema".to_vec() };
    let told = [(1, "box", Bytes::new(b"schema"), NEW)];
    assert_eq!(read("Behaviors", &told), Ok(Control::Behaviors(vec![box_.clone()])));
    let view = View { count: 3, digest: 9 };
    let heartbeat =
        Heartbeat { behaviors: Some(vec![box_]), view, window: 5, names: 7, ..Heartbeat::default() };
    let fields = (0, 0, 0_f32, 0, false, Some(told), (3, 9, NEW), 5, 7, NEW);
    assert_eq!(read("Heartbeat", &fields), Ok(Control::Heartbeat(heartbeat)));
    let order = SpawnOrder {
        behavior: "box".to_owned(),
        args: b"args".to_vec(),
        name: None,
        registration: Registration::None,
        init_timeout_ms: 5,
        mailbox_capacity: 10,
        token: None,
        mailbox_policy: MailboxPolicy::Block,
        trap_exit: true,
        lease: Some(LeaseTerms { grace_ms: 5, supervisor: None, majority: true, voters: vec![] }),
    };
    let lease = (5, None::<&str>, true, [(); 0], NEW);
    let head = ("box", Bytes::new(b"args"), None::<&str>, "none", 5, 10, None::<()>);
    let (behavior, args, name, registration, timeout, capacity, token) = head;
    let fields =
        (behavior, args, name, registration, timeout, capacity, token, "block", true, Some(lease), NEW);
    let request = |body| Ok(Control::Request { id: 1, body: Request::Spawn(Box::new(body)) });
    assert_eq!(read("Request", &(1, BTreeMap::from([("Spawn", fields)]))), request(order.clone()));
    // And an older version has fewer of them.
    let old = SpawnOrder { mailbox_policy: MailboxPolicy::default(), trap_exit: false, lease: None, ..order };
    assert_eq!(read("Request", &(1, BTreeMap::from([("Spawn", head)]))), request(old));
    let old = Heartbeat { behaviors: None, ..Heartbeat::default() };
    assert_eq!(read("Heartbeat", &(0, 0, 0_f32, 0, false, None::<()>)), Ok(Control::Heartbeat(old)));
    let old = Behavior { number: 1, name: "box".to_owned(), schema: vec![] };
    assert_eq!(read("Behaviors", &[(1, "box")]), Ok(Control::Behaviors(vec![old])));
}

#[test]
fn a_message_that_is_not_known_or_misses_a_field_without_a_default_is_refused() {
    assert!(read("Perhaps", &(1, 2)).is_err());
    assert!(read("Stop", &(300,)).is_err());
    assert!(read("Heartbeat", &(0, 0, 0_f32, 0)).is_err());
    assert_eq!(
        read("Stop", &(300, "shutdown")),
        Ok(Control::Stop { number: 300, reason: ExitReason::Shutdown })
    );
}

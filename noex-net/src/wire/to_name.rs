//! Messages for whoever has a name at the other end: their bodies begin with it.

use super::varint::{put_varint, varint};

/// The name with which the body of a message begins that goes to whoever has it, and the message. `None`: nobody has such a name.
pub(crate) fn take(body: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = varint(body).ok()?;
    let (name, message) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((std::str::from_utf8(name).ok()?, message))
}

/// Begins the body of such a message.
pub(crate) fn put(name: &str, out: &mut Vec<u8>) {
    put_varint(u64::try_from(name.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_comes_back_and_what_is_none_is_nobodys(name: String, rest: Vec<u8>, any: Vec<u8>) {
            let mut bytes = Vec::new();
            put(&name, &mut bytes);
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(take(&bytes), Some((name.as_str(), &rest[..])));
            let cut = bytes.len() - rest.len() - 1;
            prop_assert_eq!(take(&bytes[..cut]), None);
            if let Some((name, rest)) = take(&any) {
                prop_assert!(name.len() + rest.len() < any.len());
            }
        }
    }
}

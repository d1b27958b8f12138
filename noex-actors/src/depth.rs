//! How deep a MessagePack value nests, found without recursion.
//!
//! rmp-serde counts sequences and maps but not enum variants: a recursive enum from a hostile peer could use up the
//! stack, which ends the whole program. A level takes at least two bytes, so short messages need no look.
//!
//! Invariant: what follows a truncation is not looked at; no decoder gets there either.

use rmp::Marker;

use crate::{error::DecodeError, payload::MAX_DEPTH};

/// Refuses what nests deeper than [`MAX_DEPTH`].
pub(crate) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.len() <= 2 * MAX_DEPTH {
        return Ok(());
    }
    let mut open = [0_u64; MAX_DEPTH];
    let mut depth = 0_usize;
    let mut rest = bytes;
    loop {
        let Some((&first, tail)) = rest.split_first() else { return Ok(()) };
        let marker = Marker::from_u8(first);
        let (skip, children) = match size(marker, tail) {
            Some(size) => size,
            None => return Ok(()),
        };
        let Some(tail) = usize::try_from(skip).ok().and_then(|skip| tail.get(skip..)) else { return Ok(()) };
        rest = tail;
        if children > 0 {
            let Some(level) = open.get_mut(depth) else {
                return Err(DecodeError::new("nested deeper than 64 levels"));
            };
            *level = children;
            depth += 1;
            continue;
        }
        // A value is complete: it may complete the containers around it.
        loop {
            let Some(level) = depth.checked_sub(1).and_then(|at| open.get_mut(at)) else { return Ok(()) };
            *level -= 1;
            if *level > 0 {
                break;
            }
            depth -= 1;
        }
    }
}

/// Bytes after the marker that belong to it alone, and values that follow inside of it.
fn size(marker: Marker, tail: &[u8]) -> Option<(u64, u64)> {
    let number = |width: usize| {
        let bytes = tail.get(..width)?;
        Some(bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let sized = |width: usize, extra: u64| Some((number(width)? + u64::try_from(width).ok()? + extra, 0));
    Some(match marker {
        Marker::FixPos(_)
        | Marker::FixNeg(_)
        | Marker::Null
        | Marker::True
        | Marker::False
        | Marker::Reserved => (0, 0),
        Marker::U8 | Marker::I8 => (1, 0),
        Marker::U16 | Marker::I16 | Marker::FixExt1 => (2, 0),
        Marker::FixExt2 => (3, 0),
        Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
        Marker::FixExt4 => (5, 0),
        Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
        Marker::FixExt8 => (9, 0),
        Marker::FixExt16 => (17, 0),
        Marker::FixStr(len) => (u64::from(len), 0),
        Marker::Str8 | Marker::Bin8 => return sized(1, 0),
        Marker::Str16 | Marker::Bin16 => return sized(2, 0),
        Marker::Str32 | Marker::Bin32 => return sized(4, 0),
        Marker::Ext8 => return sized(1, 1),
        Marker::Ext16 => return sized(2, 1),
        Marker::Ext32 => return sized(4, 1),
        Marker::FixArray(len) => (0, u64::from(len)),
        Marker::FixMap(len) => (0, 2 * u64::from(len)),
        Marker::Array16 => (2, number(2)?),
        Marker::Array32 => (4, number(4)?),
        Marker::Map16 => (2, 2 * number(2)?),
        Marker::Map32 => (4, 2 * number(4)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wide_is_not_deep() {
        let wide = rmp_serde::to_vec(&vec![vec![Some("text".to_owned()); 100]; 100]).unwrap();
        assert!(check(&wide).is_ok());
        let mut nested = vec![0x91; 64];
        nested.extend([0xc4, 200]);
        nested.extend([0; 200]);
        assert!(check(&nested).is_ok(), "64 levels are allowed");
        nested.insert(0, 0x91);
        assert!(check(&nested).is_err(), "65 are not");
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 128..2000)) {
            let _ = check(&bytes);
        }
    }
}

//! Numbers of variable length, unsigned LEB128.

use super::frame::Malformed;

/// Bytes of the longest varint.
pub(super) const MAX_VARINT: usize = 10;

/// The shortest form only, and no more than 64 bits.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    match bytes.split_first() {
        Some((&first, rest)) if first < 0x80 => Ok((u64::from(first), rest)),
        Some(_) => long_varint(bytes),
        None => Err(Malformed),
    }
}

/// The tenth byte has room for one bit of the 64, and the decoder leaves out the others.
fn long_varint(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let (number, rest) = unsigned_varint::decode::u64(bytes).map_err(|_why| Malformed)?;
    if bytes.len() - rest.len() == MAX_VARINT && bytes[MAX_VARINT - 1] > 1 {
        Err(Malformed)
    } else {
        Ok((number, rest))
    }
}

/// An array at the front, and what follows it.
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), Malformed> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest)).ok_or(Malformed)
}

/// Appends a number in its shortest form.
pub(super) fn put_varint(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(unsigned_varint::encode::u64(number, &mut unsigned_varint::encode::u64_buffer()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_has_one_spelling() {
        let largest = [[0xFF; 9].as_slice(), &[1]].concat();
        assert_eq!(varint(&largest), Ok((u64::MAX, &[][..])));
        let mut beyond = largest.clone();
        beyond[9] = 3;
        assert_eq!(varint(&beyond), Err(Malformed), "65 bits");
        assert_eq!(varint(&[0x80, 0]), Err(Malformed), "not the shortest");
        assert_eq!(varint(&[0xFF; 11]), Err(Malformed), "no end");
    }
}

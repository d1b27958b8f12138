//! The trace that a call or a cast belongs to, where both ends know of traces: agreed upon by a capability bit in the handshake.
//!
//! ```text
//! [trace id 16][span id 8][flags u8][len varint][tracestate]     ids are big endian, as in the headers of W3C Trace Context
//! ```
//! It stands between the fields and the body of a frame whose kind has [`TRACED`](super::frame::TRACED).

use noex_actors::trace::TraceContext;

use super::{
    frame::Malformed,
    varint::{fixed, put_varint, varint},
};

/// The capability of a node that reads traces.
pub(crate) const CAPABILITY: u64 = 2;

/// Writes a context.
pub(crate) fn put(context: &TraceContext, out: &mut Vec<u8>) {
    out.extend_from_slice(&context.trace_id().to_be_bytes());
    out.extend_from_slice(&context.span_id().to_be_bytes());
    out.push(context.flags());
    put_varint(u64::try_from(context.state().len()).unwrap_or(0), out);
    out.extend_from_slice(context.state().as_bytes());
}

/// Takes the context at the front.
pub(super) fn take(bytes: &[u8]) -> Result<(TraceContext, &[u8]), Malformed> {
    let (trace, rest) = fixed(bytes)?;
    let (span, rest) = fixed(rest)?;
    let ([flags], rest) = fixed(rest)?;
    let (len, rest) = varint(rest)?;
    let len = usize::try_from(len).map_err(|_large| Malformed)?;
    let (state, body) = rest.split_at_checked(len).ok_or(Malformed)?;
    let state = std::str::from_utf8(state).map_err(|_bytes| Malformed)?;
    let context = TraceContext::new(u128::from_be_bytes(trace), u64::from_be_bytes(span), flags)
        .and_then(|context| context.with_state(state))
        .map_err(|_invalid| Malformed)?;
    Ok((context, body))
}

#[cfg(test)]
mod tests {
    use noex_actors::trace::MAX_STATE;

    use super::*;

    #[test]
    fn a_context_comes_back_and_what_is_none_is_refused() {
        let plain = TraceContext::new(1 << 100, 7, 1).unwrap();
        let with = |len| plain.clone().with_state(&"s".repeat(len)).unwrap();
        for context in [plain.clone(), with(1), with(MAX_STATE)] {
            let mut bytes = Vec::new();
            put(&context, &mut bytes);
            bytes.extend_from_slice(b"body");
            assert_eq!(take(&bytes), Ok((context, &b"body"[..])));
        }
        let mut bytes = Vec::new();
        put(&plain, &mut bytes);
        (0..bytes.len()).for_each(|len| assert_eq!(take(&bytes[..len]), Err(Malformed), "{len} bytes"));
        let changed = |at: usize, to: &[u8]| {
            let mut bytes = bytes.clone();
            bytes.splice(at..at + to.len(), to.iter().copied());
            take(&bytes).map(drop)
        };
        assert_eq!(changed(0, &[0; 16]), Err(Malformed), "no trace");
        assert_eq!(changed(16, &[0; 8]), Err(Malformed), "no span");
        assert_eq!(
            take(&[&bytes[..25], &[1, b'\n'][..]].concat()),
            Err(Malformed),
            "a state of control characters"
        );
        let long = [&bytes[..25], &[0x81, 4][..], &[b's'; 513]].concat();
        assert_eq!(take(&long), Err(Malformed), "a state too long");
    }
}

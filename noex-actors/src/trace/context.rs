//! What travels: the fields of the headers `traceparent` and `tracestate` (W3C Trace Context, level 1).

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
    str::FromStr,
    sync::Arc,
};

/// Longest `tracestate` that is kept, in bytes: what the standard says has to be passed on at least.
pub const MAX_STATE: usize = 512;
/// Length of a `traceparent` of version 00.
const TRACEPARENT: usize = 55;
const SAMPLED: u8 = 1;

/// Where in a trace something happens. Written and read as a `traceparent`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: NonZeroU128,
    span: NonZeroU64,
    flags: u8,
    state: Option<Arc<str>>,
}

impl TraceContext {
    /// A context of these ids; `flags` as in the standard, bit 0 for `sampled`.
    ///
    /// # Errors
    /// [`InvalidTraceContext::Zero`]: an id is 0, which stands for none.
    pub fn new(trace_id: u128, span_id: u64, flags: u8) -> Result<Self, InvalidTraceContext> {
        let trace = NonZeroU128::new(trace_id).ok_or(InvalidTraceContext::Zero)?;
        let span = NonZeroU64::new(span_id).ok_or(InvalidTraceContext::Zero)?;
        Ok(Self { trace, span, flags, state: None })
    }

    /// The same with a `tracestate`, which is passed on as it is; an empty one is none.
    ///
    /// # Errors
    /// [`InvalidTraceContext::State`]: it has more than [`MAX_STATE`] bytes, or others than printable ASCII. The standard has
    /// the rest of the context used without it.
    pub fn with_state(mut self, state: &str) -> Result<Self, InvalidTraceContext> {
        if state.len() > MAX_STATE || !state.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(InvalidTraceContext::State);
        }
        self.state = (!state.is_empty()).then(|| Arc::from(state));
        Ok(self)
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.trace.get()
    }

    /// The span of whoever sent this: the parent of what happens by it.
    #[must_use]
    pub fn span_id(&self) -> u64 {
        self.span.get()
    }

    /// The flags of the standard.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the sender may have recorded its span.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What stands in `tracestate`; empty if nothing does.
    #[must_use]
    pub fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }

    pub(super) fn trace_id_text(&self) -> String {
        format!("{:032x}", self.trace)
    }

    pub(super) fn span_id_text(&self) -> String {
        format!("{:016x}", self.span)
    }
}

/// As a `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

/// Reads a `traceparent`: of version 00, or the beginning of one of a later version.
impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<Self, InvalidTraceContext> {
        let (head, rest) = text.split_at_checked(TRACEPARENT).ok_or(InvalidTraceContext::Form)?;
        let mut fields = head.split('-');
        let mut next = |width| hex(fields.next(), width);
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let fits = match version {
            0 => rest.is_empty(),
            0xFF => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        if !fits {
            return Err(InvalidTraceContext::Form);
        }
        let span = u64::try_from(span).map_err(|_wide| InvalidTraceContext::Form)?;
        Self::new(trace, span, u8::try_from(flags).map_err(|_wide| InvalidTraceContext::Form)?)
    }
}

fn hex(field: Option<&str>, width: usize) -> Result<u128, InvalidTraceContext> {
    let field = field.filter(|field| field.len() == width).ok_or(InvalidTraceContext::Form)?;
    if !field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(InvalidTraceContext::Form);
    }
    u128::from_str_radix(field, 16).map_err(|_digits| InvalidTraceContext::Form)
}

/// This is no trace context: go on without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTraceContext {
    /// It has another form.
    #[error("a traceparent is 00-<32 hex>-<16 hex>-<2 hex>, in lower case")]
    Form,
    /// An id is 0.
    #[error("a trace id and a span id are not 0")]
    Zero,
    /// The state cannot be passed on.
    #[error("a tracestate has at most {MAX_STATE} bytes, all of printable ASCII")]
    State,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context: TraceContext = TEXT.parse().unwrap();
        assert_eq!(context.to_string(), TEXT);
        assert_eq!(context.trace_id(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span_id(), 0x00f0_67aa_0ba9_02b7);
        assert!(context.is_sampled());
        assert_eq!(context.state(), "");
        assert_eq!(context.trace_id_text(), TEXT[3..35]);
        assert_eq!(context.span_id_text(), TEXT[36..52]);
        let later = format!("cc{}-what-comes-with-it", &TEXT[2..]);
        assert_eq!(later.parse(), Ok(context), "of a later version, what is known of it");
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let form =
            |text: &str| assert_eq!(text.parse::<TraceContext>(), Err(InvalidTraceContext::Form), "{text}");
        form("");
        form(&TEXT[..54]);
        form(&format!("{TEXT}-more"));
        form(&TEXT.to_uppercase());
        form(&TEXT.replace('-', "_"));
        form(&TEXT.replacen("00-", "ff-", 1));
        form(&TEXT.replacen("4bf", "+bf", 1));
        form(&TEXT.replacen("4b", "ä", 1));
        form(&format!("cc{}x", &TEXT[2..]));
        let none = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        assert_eq!(none.parse::<TraceContext>(), Err(InvalidTraceContext::Zero));
        let nobody = format!("{}{}-01", &TEXT[..36], "0".repeat(16));
        assert_eq!(nobody.parse::<TraceContext>(), Err(InvalidTraceContext::Zero));
    }

    #[test]
    fn a_state_is_bounded_and_printable() {
        let context: TraceContext = TEXT.parse().unwrap();
        let with = |state: &str| context.clone().with_state(state);
        assert_eq!(with("congo=t61rcWkgMzE").unwrap().state(), "congo=t61rcWkgMzE");
        assert_eq!(with(&"a".repeat(MAX_STATE)).unwrap().state().len(), MAX_STATE);
        assert_eq!(with(""), Ok(context.clone()));
        assert_eq!(with(&"a".repeat(MAX_STATE + 1)), Err(InvalidTraceContext::State));
        assert_eq!(with("a=\n"), Err(InvalidTraceContext::State));
        assert_eq!(with("ä=1"), Err(InvalidTraceContext::State));
    }
}

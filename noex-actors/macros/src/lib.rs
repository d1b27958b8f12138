//! The `#[behavior]` attribute of noex: from an `impl` block to messages, a typed client and the `Behavior` impl.
//!
//! | Room | Decides |
//! |---|---|
//! | `options` | what may stand in `#[behavior(…)]`, and the path of the crate that generated code names |
//! | `parse` | which method plays which role; everything that holds between methods |
//! | `method` | what one method may look like in its role: receiver, arguments, result |
//! | `check` | which types may travel, which names may be given; how errors are gathered |
//! | `expand` | the `Behavior` and `RemoteBehavior` impls |
//! | `messages` | the enums and the client |
//!
//! Invariants: 1. the user's `impl` block is always emitted, without our attributes, whatever else is wrong, and a
//! mistake in one method costs the stubs of that method only (editors keep completing, no errors follow from errors);
//! 2. every mistake is reported at once, each at its own place; 3. nothing generated depends on what is in scope.

use proc_macro::TokenStream;

mod check;
mod expand;
mod messages;
mod method;
mod options;
mod parse;

/// Makes the type of an `impl` block a behavior.
///
/// `#[behavior]` makes it local; `#[behavior(name = "counter")]` gives it a wire name of 1 to 64 characters of
/// `A-Z a-z 0-9 _ . -`, derives serde for its messages and implements `RemoteBehavior`. `clone` derives `Clone` for its
/// casts, so that one can go to many (`DuplicateRegistry::dispatch`). `crate = "path"` names the crate where noex is
/// re-exported, if it is neither `noex` nor `noex-actors`.
///
/// On `impl Counter` it generates `CounterCall`, `CounterReply` and `CounterCast` (a variant per method, in
/// CamelCase, with the arguments as named fields), `CounterClient` with a stub per method, and `impl Behavior`.
///
/// | Attribute | Signature, sync or async |
/// |---|---|
/// | `#[init]` (required) | `fn(args…) -> Result<Self, ExitReason>`. `Args` is `()`, the type of the one argument, or a tuple |
/// | `#[call]` | `fn(&self or &mut self, args…) -> R`, or with `from: Caller<R>` and no result: the reply comes later |
/// | `#[cast]` | `fn(&mut self, args…)`, or `-> Result<(), E>` with `E: Into<ExitReason>`: an `Err` stops the process |
/// | `#[info]` | `fn(&mut self, info: Info<U>)`; `U` becomes `Behavior::Info`; result as for `#[cast]` |
/// | `#[continued]` | `fn(&mut self, next: U)`: what `cx.continue_with(next)` runs; result as for `#[cast]` |
/// | `#[terminate]` | `fn(&mut self, reason: &ExitReason)` |
/// | `#[options]` | `fn() -> SpawnOptions`: the defaults of every spawn. Never async |
///
/// All but `#[options]` may take `cx: &mut Context<Self>` anywhere among their arguments. Methods without one of
/// these attributes stay what they are. `#[cfg]`, `#[deprecated]` and documentation of a method go to its stub.
///
/// # Errors
/// A compile error each: generics; `Self`, references, `impl Trait` and `_` in what a message carries; patterns as
/// arguments; no `#[init]` or two; two methods with one variant name; a stub that a method of `Ref` would hide; two
/// of the attributes on one method; a missing or owned `self`; an `impl` of a trait; unknown options.
#[proc_macro_attribute]
pub fn behavior(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::behavior(options.into(), item.into()).into()
}

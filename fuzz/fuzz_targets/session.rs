#![no_main]

use std::cell::RefCell;

use noex_net::__fuzz::Session;

thread_local! {
    /// One node for all inputs: starting one takes longer than a session does.
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    SESSION.with_borrow_mut(|session| session.get_or_insert_with(Session::new).run(bytes));
});

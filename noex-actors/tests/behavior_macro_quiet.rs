//! Generated items cause no warning, whatever the user's lints, and need nothing in scope. That this compiles is the
//! test.
#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    rust_2018_idioms,
    future_incompatible,
    nonstandard_style
)]

mod private {
    use std::rc::Rc;

    struct Secret;

    struct Local {
        state: Rc<u8>,
    }

    #[noex_actors::behavior]
    impl Local {
        #[init]
        async fn init(start: u8, label: String) -> Result<Self, noex_actors::ExitReason> {
            let _ = label;
            Ok(Self { state: Rc::new(start) })
        }
        #[call]
        fn get(&self, cx: &noex_actors::Context<Self>, secret: Secret) -> Secret {
            let _ = (cx, &self.state);
            secret
        }
        #[call]
        fn from(&self, from: u8, call: u8, cx: u8, reply: u8, r#type: u8) {
            let _ = (from, call, cx, reply, r#type);
        }
        #[call]
        #[deprecated(note = "use get")]
        fn old(&self) -> u8 {
            *self.state
        }
        #[call]
        #[cfg(not(test))]
        fn absent(&self, missing: NoSuchType) -> u8 {
            *self.state
        }
        #[call]
        #[cfg(test)]
        fn either(&self) -> u8 {
            *self.state
        }
        #[call]
        #[cfg(not(test))]
        fn either(&self, missing: NoSuchType) -> u8 {
            *self.state
        }
    }

    /// Starts nothing: the behavior above is private and unused on purpose.
    pub(crate) fn touch() {
        let _ = Local { state: Rc::new(0) };
        let _ = Secret;
    }
}

/// Has no messages, and a wire name.
#[derive(Debug)]
pub struct Empty;

#[noex_actors::behavior(name = "empty", crate = "noex_actors")]
impl Empty {
    #[init]
    fn new() -> Result<Self, noex_actors::ExitReason> {
        Ok(Empty)
    }
}

macro_rules! behavior_of {
    ($name:ident, $value:ty, $argument:ident) => {
        /// Made by a macro.
        #[derive(Debug)]
        pub struct $name($value);

        #[noex_actors::behavior(name = "made")]
        impl $name {
            #[init]
            fn new($argument: $value) -> Result<Self, noex_actors::ExitReason> {
                Ok(Self($argument))
            }
            #[call]
            fn get(&self, $argument: $value, more: u8) -> $value {
                let _ = ($argument, more);
                self.0
            }
            #[cast]
            async fn put(&mut self, $argument: $value) -> Result<(), noex_actors::ExitReason> {
                self.0 = $argument;
                Ok(())
            }
        }
    };
}
behavior_of!(Made, u32, value);

#[test]
fn generated_items_are_quiet() {
    private::touch();
    assert_eq!(<Empty as noex_actors::RemoteBehavior>::NAME, "empty");
    assert_eq!(format!("{:?}", MadeCall::Get { value: 1, more: 2 }), "Get");
    assert_eq!(format!("{:?}", MadeReply::Get(1)), "Get");
    assert_eq!(format!("{:?}", MadeCast::Put { value: 1 }), "Put");
}

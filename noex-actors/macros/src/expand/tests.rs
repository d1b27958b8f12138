use quote::quote;

use super::behavior;
use proc_macro2::TokenStream;

/// The expansion as text with single spaces, to look for fragments in.
fn expanded(options: TokenStream, item: TokenStream) -> String {
    let tokens = behavior(options, item);
    let file: syn::File = syn::parse2(tokens.clone()).expect("an expansion is a sequence of items");
    assert!(!file.items.is_empty());
    tokens.to_string()
}

#[track_caller]
fn has(text: &str, fragment: TokenStream) {
    let fragment = fragment.to_string();
    assert!(text.contains(&fragment), "no\n{fragment}\nin\n{text}");
}

#[track_caller]
fn lacks(text: &str, fragment: TokenStream) {
    let fragment = fragment.to_string();
    assert!(!text.contains(&fragment), "{fragment}\nin\n{text}");
}

fn counter() -> TokenStream {
    quote! {
        impl Counter {
            #[init]
            fn new(start: i64) -> Result<Self, ExitReason> { Ok(Self { n: start }) }
            /// The value.
            #[call]
            fn get(&self) -> i64 { self.n }
            #[call]
            async fn slow_add(&mut self, by: i64, cx: &mut Context<Self>) -> i64 { self.n += by; self.n }
            #[call]
            fn next(&mut self, from: Caller<i64>) { self.waiting.push(from) }
            #[cast]
            fn reset(&mut self) { self.n = 0 }
            #[cast]
            #[deprecated]
            #[cfg(unix)]
            fn set(&mut self, n: i64) -> Result<(), Refused> { self.n = n; Ok(()) }
            fn helper(&self) {}
        }
    }
}

#[test]
fn messages_are_variants_with_named_fields() {
    let text = expanded(quote!(crate = "::noex"), counter());
    has(
        &text,
        quote!(
            #[doc = "A call of `get`."]
            Get,
        ),
    );
    has(
        &text,
        quote!(SlowAdd {
            #[doc = "Its argument `by`."]
            by: i64
        }),
    );
    has(
        &text,
        quote!(
            #[doc = "The reply of `next`."]
            Next(i64)
        ),
    );
    has(
        &text,
        quote!(
            #[cfg(unix)]
            #[doc = "A cast of `set`."]
            Set {
                #[doc = "Its argument `n`."]
                n: i64
            }
        ),
    );
    lacks(&text, quote!(Helper));
}

#[test]
fn the_users_block_stays_without_our_attributes() {
    let text = expanded(quote!(crate = "::noex"), counter());
    has(
        &text,
        quote!(
            #[doc = r" The value."]
            fn get(&self) -> i64 {
                self.n
            }
        ),
    );
    has(
        &text,
        quote!(
            fn helper(&self) {}
        ),
    );
    for attribute in [quote!(#[init]), quote!(#[call]), quote!(#[cast])] {
        lacks(&text, attribute);
    }
}

#[test]
fn stubs_carry_documentation_conditions_and_deprecation() {
    let text = expanded(quote!(crate = "::noex"), counter());
    has(
        &text,
        quote! {
            #[doc = r" The value."]
            pub fn get(&self,) -> ::noex::Call<'_, Counter, i64> {
                self.0.call_map(CounterCall::Get {}, |__noex_reply| match __noex_reply {
                    CounterReply::Get(__noex_0) => ::core::option::Option::Some(__noex_0),
                    _ => ::core::option::Option::None,
                })
            }
        },
    );
    has(
        &text,
        quote! {
            #[cfg(unix)] #[doc = "Casts `set`."] #[deprecated]
            pub fn set(&self, n: i64) -> ::core::result::Result<(), ::noex::CastError> {
                self.0.cast(CounterCast::Set { n })
            }
        },
    );
    has(&text, quote!(pub fn next(&self,) -> ::noex::Call<'_, Counter, i64>));
}

#[test]
fn handlers_reply_map_the_caller_or_stop() {
    let text = expanded(quote!(crate = "::noex"), counter());
    has(
        &text,
        quote! {
            CounterCall::SlowAdd { by: __noex_0 } => {
                let __noex_reply = Self::slow_add(self, __noex_0, __noex_cx).await;
                __noex_from.reply(CounterReply::SlowAdd(__noex_reply));
            }
        },
    );
    has(&text, quote!(CounterCall::Next {} => { Self::next(self, __noex_from.map(CounterReply::Next)); }));
    has(&text, quote!(CounterCast::Reset {} => { Self::reset(self); }));
    has(
        &text,
        quote! {
            #[cfg(unix)] CounterCast::Set { n: __noex_0 } => {
                let __noex_result: ::core::result::Result<(), _> = Self::set(self, __noex_0);
                if let ::core::result::Result::Err(__noex_error) = __noex_result {
                    __noex_cx.stop(::core::convert::Into::<::noex::ExitReason>::into(__noex_error));
                }
            }
        },
    );
}

#[test]
fn args_are_unit_the_one_type_or_a_tuple() {
    let with = |arguments: TokenStream| {
        expanded(
            quote!(),
            quote!(impl A { #[init] async fn new(#arguments) -> Result<Self, ExitReason> { Ok(A) } }),
        )
    };
    let none = with(quote!(cx: &mut Context<Self>));
    has(
        &none,
        quote!(
            type Args = ();
        ),
    );
    has(&none, quote!({ Self::new(__noex_cx).await }));
    let one = with(quote!(parent: Ref<Self>));
    has(
        &one,
        quote!(
            type Args = Ref<Self>;
        ),
    );
    has(&one, quote!(let __noex_0 = __noex_args; Self::new(__noex_0).await));
    let two = with(quote!(a: u8, cx: &mut Context<Self>, b: u16));
    has(
        &two,
        quote!(
            type Args = (u8, u16);
        ),
    );
    has(&two, quote!(let (__noex_0, __noex_1) = __noex_args; Self::new(__noex_0, __noex_cx, __noex_1).await));
}

fn with_callbacks(callbacks: TokenStream) -> String {
    let init = quote!(
        #[init]
        fn new() -> Result<Self, ExitReason> {
            Ok(A)
        }
    );
    expanded(quote!(crate = "noex"), quote!(impl A { #init #callbacks }))
}

#[test]
fn the_type_of_info_comes_from_info_or_continued() {
    has(
        &with_callbacks(quote!()),
        quote!(
            type Info = ::core::convert::Infallible;
        ),
    );
    let info = quote!(
        #[info]
        fn info(&mut self, info: Info<Tick>) {}
    );
    let continued = quote!(
        #[continued]
        fn more(&mut self, next: Tick) {}
    );
    let plain = quote!(
        #[info]
        fn info(&mut self, info: Info) {}
    );
    has(
        &with_callbacks(info.clone()),
        quote!(
            type Info = Tick;
        ),
    );
    has(
        &with_callbacks(continued.clone()),
        quote!(
            type Info = Tick;
        ),
    );
    has(
        &with_callbacks(quote!(#info #continued)),
        quote!(
            type Info = Tick;
        ),
    );
    has(
        &with_callbacks(plain.clone()),
        quote!(
            type Info = ::core::convert::Infallible;
        ),
    );
    has(&with_callbacks(quote!(#plain #continued)), quote!(::core::compile_error!));
}

#[test]
fn callbacks_become_methods_of_the_trait_and_absent_ones_do_not() {
    let text = with_callbacks(quote! {
        #[info] fn info(&mut self, cx: &mut Context<Self>, _: Info<u8>) {}
        #[continued] async fn more(&mut self, next: u8) -> io::Result<()> { Ok(()) }
        #[terminate] fn bye(&mut self, reason: &ExitReason) {}
        #[options] fn defaults() -> SpawnOptions { SpawnOptions::new() }
    });
    has(
        &text,
        quote!({
            Self::info(self, __noex_cx, __noex_0);
        }),
    );
    has(&text, quote!(= Self::more(self, __noex_0).await; if let));
    has(
        &text,
        quote!({
            Self::bye(self, __noex_0);
        }),
    );
    has(
        &text,
        quote!(
            fn spawn_options() -> noex::SpawnOptions {
                Self::defaults()
            }
        ),
    );
    let none = with_callbacks(quote!());
    for absent in [quote!(handle_info), quote!(handle_continue), quote!(terminate), quote!(spawn_options)] {
        lacks(&none, absent);
    }
}

#[test]
fn only_a_wire_name_brings_serde() {
    let local = expanded(quote!(crate = "::noex"), counter());
    lacks(&local, quote!(serde));
    lacks(&local, quote!(RemoteBehavior));
    let wire = expanded(quote!(crate = "::noex", name = "counter"), counter());
    has(&wire, quote!(#[serde(crate = "::noex::__private::serde")]));
    has(&wire, quote!(impl ::noex::RemoteBehavior for Counter { const NAME: &'static str = "counter"; }));
    assert_eq!(wire.matches("Deserialize").count(), 3);
}

#[test]
fn a_behavior_without_messages_has_enums_without_variants() {
    let text = with_callbacks(quote!());
    has(
        &text,
        quote!(
            pub enum ACall {}
        ),
    );
    has(&text, quote!(match __noex_cast {}));
    has(&text, quote!(match *self {}));
}

#[test]
fn a_path_and_a_condition_of_the_block_reach_every_item() {
    let block = quote! {
        #[cfg(unix)]
        impl inner::Counter { #[init] fn new() -> Result<Self, ExitReason> { todo!() } }
    };
    let text = expanded(quote!(crate = "noex", name = "c"), block);
    has(&text, quote!(impl noex::Client<inner::Counter> for CounterClient));
    let items: syn::File = syn::parse_str(&text).unwrap();
    for item in items.items {
        let attributes = match &item {
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Enum(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            other => panic!("unexpected {}", quote!(#other)),
        };
        assert!(attributes.iter().any(|a| a.path().is_ident("cfg")), "{}", quote!(#item));
    }
}

#[test]
fn each_type_is_asked_for_what_its_message_needs() {
    let block = quote! {
        impl A {
            #[init] fn new(parent: Ref<Self>, start: Start) -> Result<Self, ExitReason> { todo!() }
            #[call] fn get(&self, key: Key) -> Value { todo!() }
            #[cast] #[cfg(unix)] fn put(&mut self, value: Option<Value>) {}
        }
    };
    let local = expanded(quote!(crate = "noex"), block.clone());
    has(
        &local,
        quote! {
            fn __noex_questions() {
                __noex_sent::<Key>();
                #[cfg(unix)] __noex_sent::<Option<Value> >();
                __noex_sent::<Value>();
                __noex_sent::<Start>();
            }
        },
    );
    has(&expanded(quote!(crate = "noex", name = "a"), block), quote!(__noex_wired::<Start>();));
}

#[test]
fn every_mistake_is_reported_and_the_block_is_still_there() {
    let text = expanded(
        quote!(nope),
        quote! {
            impl Counter {
                #[call] fn get(&self, a: &str) -> Self { todo!() }
                #[cast] fn stop(&mut self) {}
                fn helper(&self) {}
            }
        },
    );
    assert_eq!(text.matches("compile_error").count(), 5, "{text}");
    has(
        &text,
        quote!(
            fn get(&self, a: &str) -> Self {
                todo!()
            }
        ),
    );
    has(
        &text,
        quote!(
            fn helper(&self) {}
        ),
    );
}

#[test]
fn a_mistake_in_one_method_leaves_the_others_as_they_are() {
    let text = expanded(
        quote!(crate = "noex"),
        quote! {
            impl Counter {
                #[init] fn new(a: &u8, cx: &mut Context<Self>) -> Result<Self, ExitReason> { todo!() }
                #[call] fn get(&self) -> u8 { 0 }
                #[call] fn borrow(&self) -> &u8 { todo!() }
            }
        },
    );
    assert_eq!(text.matches("compile_error").count(), 2, "{text}");
    has(
        &text,
        quote!(
            type Args = ();
        ),
    );
    has(&text, quote!({ ::core::unreachable!() }));
    has(&text, quote!(pub fn get(&self,) -> noex::Call<'_, Counter, u8>));
    lacks(&text, quote!(Borrow));
}

#[test]
fn a_block_that_is_no_behavior_is_emitted_alone() {
    let text = expanded(
        quote!(),
        quote!(
            impl<T> Wide<T> {
                #[init]
                fn new() {}
            }
        ),
    );
    let block = quote!(impl<T> Wide<T> { fn new() {} } ::core::compile_error!).to_string();
    assert!(text.starts_with(&block), "{text}");
    assert_eq!(text.matches("compile_error").count(), 1);
}

#[test]
fn what_is_no_block_is_emitted_as_it_is() {
    let text = expanded(
        quote!(),
        quote!(
            struct Counter;
        ),
    );
    has(
        &text,
        quote!(
            struct Counter;
        ),
    );
    assert_eq!(text.matches("compile_error").count(), 1);
}

//! The items that a behavior gives to its callers: three enums and the client.
//!
//! Generated items derive nothing but serde (and that only with a wire name), because what users send need not be
//! `Debug` or `Clone` (casts are `Clone` if `#[behavior(clone)]` says so); their `Debug` prints the variant alone.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{Ident, Path, Type};

use crate::{
    expand::quiet,
    method::Method,
    parse::{Message, Model},
};

/// The names of generated items.
pub(crate) struct Names {
    pub(crate) call: Ident,
    pub(crate) reply: Ident,
    pub(crate) cast: Ident,
    pub(crate) client: Ident,
}

impl Names {
    pub(crate) fn new(owner: &Ident) -> Self {
        Self {
            call: format_ident!("{owner}Call"),
            reply: format_ident!("{owner}Reply"),
            cast: format_ident!("{owner}Cast"),
            client: format_ident!("{owner}Client"),
        }
    }
}

/// The three enums.
pub(crate) fn enums(model: &Model, names: &Names) -> TokenStream {
    let call_variants = model.calls.iter().map(|call| request(call, "A call of"));
    let cast_variants = model.casts.iter().map(|cast| request(cast, "A cast of"));
    let reply_variants = model.calls.iter().map(|call| {
        let Message { variant, method } = call;
        let (conditions, reply) = (&method.conditions, method.reply());
        let doc = format!("The reply of `{}`.", method.ident);
        quote!(#(#conditions)* #[doc = #doc] #variant(#reply))
    });
    let calls = message_enum(model, &names.call, "The calls", &model.calls, call_variants, false);
    let replies = message_enum(model, &names.reply, "The replies", &model.calls, reply_variants, false);
    let clone = model.options.clone;
    let casts = message_enum(model, &names.cast, "The casts", &model.casts, cast_variants, clone);
    quote!(#calls #replies #casts)
}

fn request(message: &Message, what: &str) -> TokenStream {
    let Message { variant, method } = message;
    let conditions = &method.conditions;
    let doc = format!("{what} `{}`.", method.ident);
    let fields = method.arguments.iter().map(|argument| {
        let (ident, ty) = (&argument.ident, &argument.ty);
        let doc = format!("Its argument `{ident}`.");
        quote!(#[doc = #doc] #ident: #ty)
    });
    let fields = if method.arguments.is_empty() { None } else { Some(quote!({ #(#fields),* })) };
    quote!(#(#conditions)* #[doc = #doc] #variant #fields)
}

fn message_enum(
    model: &Model,
    name: &Ident,
    what: &str,
    messages: &[Message],
    variants: impl Iterator<Item = TokenStream>,
    clone: bool,
) -> TokenStream {
    let clone = clone.then(|| quote!(#[derive(::core::clone::Clone)]));
    let (conditions, quiet) = (&model.conditions, quiet());
    let doc = format!("{what} of `{}`.", model.owner);
    let derives = model.options.name.as_ref().map(|_| {
        let (root, serde) = (&model.options.root, model.options.serde());
        quote! {
            #[derive(#root::__private::serde::Serialize, #root::__private::serde::Deserialize)]
            #[serde(crate = #serde)]
        }
    });
    let arms = messages.iter().map(|message| {
        let (conditions, variant) = (&message.method.conditions, &message.variant);
        let text = variant.to_string();
        quote!(#(#conditions)* #name::#variant { .. } => #text,)
    });
    let debug = if messages.is_empty() {
        quote!(match *self {})
    } else {
        quote!(__noex_f.write_str(match *self { #(#arms)* }))
    };
    quote! {
        #(#conditions)* #[doc = #doc] #derives #clone #quiet
        pub enum #name { #(#variants),* }

        #(#conditions)* #quiet
        impl ::core::fmt::Debug for #name {
            fn fmt(&self, __noex_f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result { #debug }
        }
    }
}

/// Asks of each type what its message will ask of it, so that the compiler shows the type and not the attribute.
/// Types with `Self` (in `Args`) are left out: they have no meaning here.
pub(crate) fn questions(model: &Model) -> TokenStream {
    let (conditions, quiet, root) = (&model.conditions, quiet(), &model.options.root);
    let ask = |method: &Method, question: &str, ty: &Type| {
        let (conditions, question) = (&method.conditions, Ident::new(question, Span::call_site()));
        quote!(#(#conditions)* #question::<#ty>();)
    };
    let messages = model.calls.iter().chain(&model.casts).flat_map(|message| {
        let method = &message.method;
        method.arguments.iter().map(move |argument| ask(method, "__noex_sent", &argument.ty))
    });
    let replies = model.calls.iter().map(|call| ask(&call.method, "__noex_sent", &call.method.reply()));
    let question = if model.options.name.is_some() { "__noex_wired" } else { "__noex_sent" };
    let arguments = model.init.iter().flat_map(|init| {
        let known = init.arguments.iter().filter(|argument| !names_self(argument.ty.to_token_stream()));
        known.map(|argument| ask(init, question, &argument.ty))
    });
    quote! {
        #(#conditions)* #quiet
        const _: () = {
            fn __noex_sent<T: ::core::marker::Send + 'static>() {}
            fn __noex_wired<T: #root::Wire>() {}
            fn __noex_questions() { #(#messages)* #(#replies)* #(#arguments)* }
        };
    }
}

fn names_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => names_self(group.stream()),
        _ => false,
    })
}

/// The client and its stubs.
pub(crate) fn client(model: &Model, names: &Names) -> TokenStream {
    let (conditions, quiet, this) = (&model.conditions, quiet(), &model.item.self_ty);
    let (root, client) = (&model.options.root, &names.client);
    let doc =
        format!("What a `Ref<{0}>` can do: a stub for each `#[call]` and `#[cast]` of `{0}`.", model.owner);
    let text = client.to_string();
    let calls = model.calls.iter().map(|call| call_stub(call, root, this, names));
    let casts = model.casts.iter().map(|cast| cast_stub(cast, root, names));
    quote! {
        #(#conditions)* #[doc = #doc] #quiet
        pub struct #client(#root::RawRef<#this>);

        #(#conditions)* #quiet
        impl #root::Client<#this> for #client {
            fn new(__noex_raw: #root::RawRef<#this>) -> Self { Self(__noex_raw) }
            fn raw(&self) -> &#root::RawRef<#this> { &self.0 }
        }

        #(#conditions)* #quiet
        impl ::core::fmt::Debug for #client {
            fn fmt(&self, __noex_f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                __noex_f.write_str(#text)
            }
        }

        #(#conditions)* #quiet
        impl #client { #(#calls)* #(#casts)* }
    }
}

fn call_stub(call: &Message, root: &Path, this: &Type, names: &Names) -> TokenStream {
    let Message { variant, method } = call;
    let head = attributes(method, "Calls");
    let (name, reply_type) = (&method.ident, method.reply());
    let (parameters, fields) = parameters(method);
    let (calls, replies) = (&names.call, &names.reply);
    quote! {
        #head
        pub fn #name(&self, #(#parameters),*) -> #root::Call<'_, #this, #reply_type> {
            self.0.call_map(#calls::#variant { #(#fields),* }, |__noex_reply| match __noex_reply {
                #replies::#variant(__noex_0) => ::core::option::Option::Some(__noex_0),
                _ => ::core::option::Option::None,
            })
        }
    }
}

fn cast_stub(cast: &Message, root: &Path, names: &Names) -> TokenStream {
    let Message { variant, method } = cast;
    let head = attributes(method, "Casts");
    let (name, casts) = (&method.ident, &names.cast);
    let (parameters, fields) = parameters(method);
    quote! {
        #head
        pub fn #name(&self, #(#parameters),*) -> ::core::result::Result<(), #root::CastError> {
            self.0.cast(#casts::#variant { #(#fields),* })
        }
    }
}

/// Parameters of a stub, and the fields of the message it makes of them.
fn parameters(method: &Method) -> (Vec<TokenStream>, Vec<TokenStream>) {
    let parameter = |argument: &crate::method::Argument| {
        let (ident, ty) = (&argument.ident, &argument.ty);
        (quote!(#ident: #ty), ident.to_token_stream())
    };
    method.arguments.iter().map(parameter).unzip()
}

fn attributes(method: &Method, what: &str) -> TokenStream {
    let Method { conditions, docs, deprecated, .. } = method;
    let doc = if docs.is_empty() {
        let text = format!("{what} `{}`.", method.ident);
        quote!(#[doc = #text])
    } else {
        quote!(#(#docs)*)
    };
    quote!(#(#conditions)* #doc #deprecated)
}

//! Which types may travel in a message, which names may be given, and how mistakes are gathered.
//!
//! A message is stored in a mailbox and may cross to another node, and its type stands outside of the `impl` block:
//! so it owns what it carries (no references, no lifetimes but `'static`) and spells it out (no `Self`, no
//! `impl Trait`, no `_`). The arguments of a function pointer or of `dyn Fn(…)` are not carried and may borrow.

use quote::ToTokens;
use syn::{
    Error, Ident, Lifetime, ParenthesizedGenericArguments, Path, Type, TypeFnPtr, TypeImplTrait, TypeInfer,
    TypeNever, TypePath, TypeReference, ext::IdentExt, visit, visit::Visit,
};

/// Methods that `Ref` has itself, and those it has from traits of the prelude (`Clone`, `Ord`, `AsRef`, `Into`, …).
const METHODS_OF_REF: [&str; 31] = [
    "call",
    "cast",
    "cast_wait",
    "cast_after",
    "try_cast",
    "stop",
    "kill",
    "monitor",
    "link",
    "unlink",
    "is_alive",
    "pid",
    "erase",
    "clone",
    "clone_from",
    "to_owned",
    "as_ref",
    "into",
    "try_into",
    "eq",
    "ne",
    "cmp",
    "partial_cmp",
    "lt",
    "le",
    "gt",
    "ge",
    "max",
    "min",
    "clamp",
    "deref",
];

/// Mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    /// Adds a mistake.
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Adds a mistake at `place`.
    pub(crate) fn at(&mut self, place: impl ToTokens, text: impl std::fmt::Display) {
        self.push(Error::new_spanned(place, text));
    }

    /// All of them as one error, if there is any.
    pub(crate) fn into_error(self) -> Option<Error> {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.iter().flatten().map(|error| error.to_string()).collect()
    }
}

/// What a type is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// A field of a generated message.
    Message,
    /// The value of a reply.
    Reply,
    /// An associated type (`Args`, `Info`), where `Self` has a meaning.
    Associated,
}

/// Reports what in `ty` cannot be carried. `owner` is what to write in place of `Self`.
pub(crate) fn carried(ty: &Type, carried: Carried, owner: &Ident, errors: &mut Errors) {
    Visitor { carried, owner, borrowing: 0, errors }.visit_type(ty);
}

struct Visitor<'a> {
    carried: Carried,
    owner: &'a Ident,
    /// How many signatures of functions we are in.
    borrowing: u32,
    errors: &'a mut Errors,
}

impl Visitor<'_> {
    fn what(&self) -> &'static str {
        match self.carried {
            Carried::Message | Carried::Associated => "an argument of a message",
            Carried::Reply => "a reply",
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_type_reference(&mut self, node: &'ast TypeReference) {
        if self.borrowing > 0 {
            return visit::visit_type_reference(self, node);
        }
        let text = format!("{} owns its data and cannot be a reference", self.what());
        self.errors.at(node, text);
    }

    fn visit_lifetime(&mut self, node: &'ast Lifetime) {
        if self.borrowing == 0 && node.ident != "static" {
            let text = format!("{} owns its data: no lifetime but `'static`", self.what());
            self.errors.at(node, text);
        }
    }

    fn visit_type_impl_trait(&mut self, node: &'ast TypeImplTrait) {
        let hint = match self.carried {
            Carried::Reply => ": write the type (and `async fn` for a future)",
            Carried::Message | Carried::Associated => ": write the type, or box it",
        };
        self.errors.at(node, format!("{} cannot be `impl Trait`{hint}", self.what()));
    }

    fn visit_type_infer(&mut self, node: &'ast TypeInfer) {
        self.errors.at(node, format!("{} has its type written out", self.what()));
    }

    fn visit_type_never(&mut self, node: &'ast TypeNever) {
        if self.borrowing == 0 {
            self.errors.at(node, format!("{} has a value: `!` has none", self.what()));
        }
    }

    fn visit_path(&mut self, node: &'ast Path) {
        if let Some(first) = node.segments.first()
            && first.ident == "Self"
            && self.carried != Carried::Associated
        {
            let text = format!("`Self` has no meaning in a message: write `{}`", self.owner);
            self.errors.at(&first.ident, text);
        }
        visit::visit_path(self, node);
    }

    fn visit_type_fn_ptr(&mut self, node: &'ast TypeFnPtr) {
        self.borrowing += 1;
        visit::visit_type_fn_ptr(self, node);
        self.borrowing -= 1;
    }

    fn visit_parenthesized_generic_arguments(&mut self, node: &'ast ParenthesizedGenericArguments) {
        self.borrowing += 1;
        visit::visit_parenthesized_generic_arguments(self, node);
        self.borrowing -= 1;
    }
}

/// Reports a stub that could not be called because `Ref` has a method of that name.
pub(crate) fn stub_name(method: &Ident, errors: &mut Errors) {
    let name = method.unraw().to_string();
    if METHODS_OF_REF.contains(&name.as_str()) {
        errors.at(
            method,
            format!("a stub `{name}` would be hidden by the method `{name}` of `Ref`: rename it"),
        );
    }
}

/// The variant of a method: `slow_add` is `SlowAdd`. `None` if that is no identifier.
pub(crate) fn variant(method: &Ident) -> Option<Ident> {
    let mut name = String::new();
    for word in method.unraw().to_string().split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        name.push_str(letters.as_str());
    }
    let mut variant: Ident = syn::parse_str(&name).ok()?;
    variant.set_span(method.span());
    Some(variant)
}

/// `ty` without parentheses and without the invisible group around a type that went through `macro_rules!`.
pub(crate) fn peeled(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peeled(&group.elem),
        Type::Paren(paren) => peeled(&paren.elem),
        other => other,
    }
}

/// The last segment of a type that is a path.
pub(crate) fn last_segment(ty: &Type) -> Option<&syn::PathSegment> {
    match peeled(ty) {
        Type::Path(TypePath { path, .. }) => path.segments.last(),
        _ => None,
    }
}

/// The types among the generic arguments of a path segment.
pub(crate) fn type_arguments(segment: &syn::PathSegment) -> Vec<&Type> {
    let syn::PathArguments::AngleBracketed(list) = &segment.arguments else { return Vec::new() };
    list.args
        .iter()
        .filter_map(|argument| match argument {
            syn::GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
        .collect()
}

/// Whether this is `()`.
pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(peeled(ty), Type::Tuple(tuple) if tuple.elems.is_empty())
}

#[cfg(test)]
mod tests {
    use quote::format_ident;
    use syn::parse_quote;

    use super::*;

    fn mistakes(ty: &Type, what: Carried) -> Vec<String> {
        let mut errors = Errors::default();
        carried(ty, what, &format_ident!("Counter"), &mut errors);
        errors.texts()
    }

    #[test]
    fn owned_types_may_be_carried() {
        let types: [Type; 6] = [
            parse_quote!(Vec<(u8, [String; 4])>),
            parse_quote!(Ref<Counter>),
            parse_quote!(fn(&str) -> &str),
            parse_quote!(Box<dyn Fn(&Thing, &mut u8) + Send + 'static>),
            parse_quote!(std::borrow::Cow<'static, str>),
            parse_quote!(<Vec<u8> as IntoIterator>::Item),
        ];
        for ty in types {
            assert_eq!(mistakes(&ty, Carried::Message), Vec::<String>::new());
        }
    }

    #[test]
    fn borrowed_and_unspelled_types_may_not_be_carried() {
        let types: [(Type, &str); 8] = [
            (parse_quote!(&str), "cannot be a reference"),
            (parse_quote!(Option<&'static str>), "cannot be a reference"),
            (parse_quote!(Cow<'_, str>), "no lifetime"),
            (parse_quote!(Vec<Self>), "write `Counter`"),
            (parse_quote!(<Self as Trait>::Out), "write `Counter`"),
            (parse_quote!(Box<dyn Fn(Self)>), "write `Counter`"),
            (parse_quote!(impl Future<Output = u8>), "impl Trait"),
            (parse_quote!(Vec<_>), "written out"),
        ];
        for (ty, text) in types {
            for what in [Carried::Message, Carried::Reply] {
                let found = mistakes(&ty, what);
                assert_eq!(found.len(), 1, "{}", ty.to_token_stream());
                assert!(found[0].contains(text), "{found:?}");
            }
        }
    }

    #[test]
    fn self_has_a_meaning_in_associated_types_only() {
        assert!(mistakes(&parse_quote!(Ref<Self>), Carried::Associated).is_empty());
        assert_eq!(mistakes(&parse_quote!(&Self), Carried::Associated).len(), 1);
    }

    #[test]
    fn variants_are_camel_case_or_nothing() {
        let of = |name: &str| variant(&syn::parse_str::<Ident>(name).unwrap()).map(|v| v.to_string());
        assert_eq!(of("get").as_deref(), Some("Get"));
        assert_eq!(of("slow_add_2").as_deref(), Some("SlowAdd2"));
        assert_eq!(of("_hidden").as_deref(), Some("Hidden"));
        assert_eq!(of("r#loop").as_deref(), Some("Loop"));
        assert_eq!(of("getURL").as_deref(), Some("GetURL"));
        for none in ["__", "_1", "self_"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn stubs_that_ref_would_hide_are_refused() {
        for (name, refused) in
            [("stop", true), ("clone", true), ("max", true), ("get", false), ("stopped", false)]
        {
            let mut errors = Errors::default();
            stub_name(&format_ident!("{name}"), &mut errors);
            assert_eq!(errors.into_error().is_some(), refused, "{name}");
        }
    }
}

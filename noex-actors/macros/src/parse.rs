//! Which method plays which role, and everything that holds between methods: what there must be one of, which names
//! may not meet.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Error, Ident, ImplItem, ItemImpl, Meta, Type};

use crate::{
    check::{self, Errors, last_segment, peeled, type_arguments},
    method::{Method, Role},
    options::Options,
};

/// A `#[call]` or a `#[cast]`.
pub(crate) struct Message {
    pub(crate) variant: Ident,
    pub(crate) method: Method,
}

/// All that is known about a behavior.
pub(crate) struct Model {
    pub(crate) options: Options,
    /// The user's block without our attributes.
    pub(crate) item: ItemImpl,
    /// `#[cfg]`s of the block.
    pub(crate) conditions: Vec<Attribute>,
    /// The last segment of the type: generated names begin with it.
    pub(crate) owner: Ident,
    /// `None` only if there are mistakes.
    pub(crate) init: Option<Method>,
    pub(crate) calls: Vec<Message>,
    pub(crate) casts: Vec<Message>,
    pub(crate) info: Option<Method>,
    pub(crate) continued: Option<Method>,
    pub(crate) terminate: Option<Method>,
    pub(crate) spawn_options: Option<Method>,
    /// `Behavior::Info`; `None`: never.
    pub(crate) info_type: Option<Type>,
}

/// What came of reading.
pub(crate) enum Reading {
    /// A behavior; with mistakes, it is what is left without the methods that have them.
    Behavior(Box<Model>, Option<Error>),
    /// No behavior: what to emit instead, and why.
    Nothing(TokenStream, Error),
}

impl Model {
    /// Reads options and block.
    pub(crate) fn read(options: TokenStream, tokens: TokenStream) -> Reading {
        let mut item: ItemImpl = match syn::parse2(tokens.clone()) {
            Ok(item) => item,
            Err(error) => {
                let text = format!("#[behavior] goes on an `impl` block of a type ({error})");
                return Reading::Nothing(tokens, Error::new(error.span(), text));
            }
        };
        let mut errors = Errors::default();
        let options = Options::read(options, &mut errors);
        let roles = take_roles(&mut item, &mut errors);
        let owner = match read_block(&item) {
            Ok(owner) => owner,
            Err(error) => {
                errors.push(error);
                let error = errors.into_error().unwrap_or_else(|| Error::new_spanned(&item.self_ty, ""));
                return Reading::Nothing(item.into_token_stream(), error);
            }
        };
        let mut parts = Parts::default();
        for (item, role) in item.items.iter().zip(roles) {
            if let (ImplItem::Fn(function), Some(role)) = (item, role) {
                let mut wrong = Errors::default();
                let method = Method::read(role, function, &owner, &mut wrong);
                parts.add(role, method, wrong, &mut errors);
            }
        }
        if !parts.has_init {
            errors.at(&item.self_ty, format!("`{owner}` has no #[init]: one function makes the state"));
        }
        let info_type = parts.info_type(&mut errors);
        let conditions = item.attrs.iter().filter(|a| a.path().is_ident("cfg")).cloned().collect();
        let Parts { has_init: _, init, calls, casts, info, continued, terminate, spawn_options } = parts;
        let model = Self {
            options,
            item,
            conditions,
            owner,
            init,
            calls,
            casts,
            info,
            continued,
            terminate,
            spawn_options,
            info_type,
        };
        Reading::Behavior(Box::new(model), errors.into_error())
    }
}

/// Removes our attributes from the block; says for each item which role it has.
fn take_roles(block: &mut ItemImpl, errors: &mut Errors) -> Vec<Option<Role>> {
    let mut roles = Vec::with_capacity(block.items.len());
    for item in &mut block.items {
        let (attributes, is_function) = match item {
            ImplItem::Fn(function) => (&mut function.attrs, true),
            ImplItem::Const(item) => (&mut item.attrs, false),
            ImplItem::Type(item) => (&mut item.attrs, false),
            ImplItem::Macro(item) => (&mut item.attrs, false),
            _ => {
                roles.push(None);
                continue;
            }
        };
        let mut role: Option<Role> = None;
        attributes.retain(|attribute| {
            let Some(found) = Role::of(attribute) else { return true };
            if !matches!(attribute.meta, Meta::Path(_)) {
                errors.at(attribute, format!("{} takes no arguments", found.text()));
            }
            match role {
                _ if !is_function => errors.at(attribute, format!("{} goes on a function", found.text())),
                None => role = Some(found),
                Some(first) => {
                    let text = format!("this method is {} already: one role per method", first.text());
                    errors.at(attribute, text);
                }
            }
            false
        });
        roles.push(role);
    }
    roles
}

/// Checks the head of the block; gives the name that generated names begin with.
fn read_block(block: &ItemImpl) -> Result<Ident, Error> {
    let generic = "a behavior cannot be generic: its messages have one type";
    if let Some((path, _)) = &block.trait_ {
        let text = "#[behavior] goes on the `impl` block of the type itself, not on that of a trait";
        return Err(Error::new_spanned(path, text));
    }
    if let Some(token) = &block.unsafety {
        return Err(Error::new_spanned(token, "a behavior cannot be unsafe"));
    }
    if !block.generics.params.is_empty() {
        return Err(Error::new_spanned(&block.generics, generic));
    }
    if let Some(clause) = &block.generics.where_clause {
        return Err(Error::new_spanned(clause, "a behavior cannot be generic: no `where`"));
    }
    let segment = match peeled(&block.self_ty) {
        Type::Path(path) if path.qself.is_none() => last_segment(&block.self_ty),
        _ => None,
    };
    match segment {
        None => Err(Error::new_spanned(&block.self_ty, "a behavior is a type with a name")),
        Some(segment) if segment.arguments.is_none() => Ok(segment.ident.clone()),
        Some(segment) => Err(Error::new_spanned(&segment.arguments, generic)),
    }
}

#[derive(Default)]
struct Parts {
    /// Whether there is one, right or wrong.
    has_init: bool,
    init: Option<Method>,
    calls: Vec<Message>,
    casts: Vec<Message>,
    info: Option<Method>,
    continued: Option<Method>,
    terminate: Option<Method>,
    spawn_options: Option<Method>,
}

impl Parts {
    /// Adds a method, if nothing is wrong with it.
    fn add(&mut self, role: Role, method: Method, wrong: Errors, errors: &mut Errors) {
        self.has_init |= role == Role::Init;
        if let Some(error) = wrong.into_error() {
            return errors.push(error);
        }
        let slot = match role {
            Role::Call => return add_message(&mut self.calls, method, errors),
            Role::Cast => return add_message(&mut self.casts, method, errors),
            Role::Init => &mut self.init,
            Role::Info => &mut self.info,
            Role::Continued => &mut self.continued,
            Role::Terminate => &mut self.terminate,
            Role::Options => &mut self.spawn_options,
        };
        match slot {
            None => *slot = Some(method),
            Some(first) => {
                let text = format!("a second {}: `{}` is it already", role.text(), first.ident);
                errors.at(&method.ident, text);
            }
        }
    }

    /// `U` of the `#[info]` method, or of the `#[continued]` method if that is the only one.
    fn info_type(&mut self, errors: &mut Errors) -> Option<Type> {
        let only = |method: &Option<Method>| Some(method.as_ref()?.arguments.first()?.ty.clone());
        let from_info = only(&self.info).map(|ty| {
            let user =
                last_segment(&ty).and_then(|segment| type_arguments(segment).first().map(|ty| (*ty).clone()));
            (user, ty)
        });
        match (from_info, only(&self.continued)) {
            (Some((user, _)), None) => user,
            (None, next) => next,
            (Some((user, ty)), Some(next)) => {
                let same = user.as_ref().is_some_and(|user| same_tokens(peeled(user), peeled(&next)));
                if !same {
                    let next = next.to_token_stream();
                    let text = format!("#[info] and #[continued] have one type: `Info<{next}>` and `{next}`");
                    errors.at(&ty, text);
                    self.continued = None;
                }
                user
            }
        }
    }
}

fn same_tokens(a: &Type, b: &Type) -> bool {
    quote!(#a).to_string() == quote!(#b).to_string()
}

fn add_message(messages: &mut Vec<Message>, method: Method, errors: &mut Errors) {
    check::stub_name(&method.ident, errors);
    let Some(variant) = check::variant(&method.ident) else {
        let text = format!("`{}` in CamelCase is no name for a variant: rename it", method.ident);
        return errors.at(&method.ident, text);
    };
    // Of two conditional methods, one may be absent.
    let met = |first: &&Message| {
        first.variant == variant && first.method.conditions.is_empty() && method.conditions.is_empty()
    };
    if let Some(first) = messages.iter().find(met) {
        let text =
            format!("`{}` and `{}` would both be the variant `{variant}`", first.method.ident, method.ident);
        return errors.at(&method.ident, text);
    }
    messages.push(Message { variant, method });
}

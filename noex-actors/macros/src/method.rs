//! What one method may look like in its role: its receiver, its arguments, its result.

use proc_macro2::Span;
use syn::{
    Attribute, FnArg, Ident, ImplItemFn, Pat, PatType, Receiver, ReceiverKind, ReturnType, Safety, Signature,
    Type, spanned::Spanned,
};

use crate::check::{self, Carried, Errors, is_unit, last_segment, peeled, type_arguments};

/// Types that are visibly no `Result`.
const NO_RESULT: [&str; 20] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64",
    "u128", "usize", "Option", "Self", "String", "Vec",
];

/// The role of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Init,
    Call,
    Cast,
    Info,
    Continued,
    Terminate,
    Options,
}

impl Role {
    /// The role that `attribute` gives.
    pub(crate) fn of(attribute: &Attribute) -> Option<Self> {
        let word = attribute.path().get_ident()?.to_string();
        Some(match word.as_str() {
            "init" => Self::Init,
            "call" => Self::Call,
            "cast" => Self::Cast,
            "info" => Self::Info,
            "continued" => Self::Continued,
            "terminate" => Self::Terminate,
            "options" => Self::Options,
            _ => return None,
        })
    }

    /// The attribute, as users write it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Init => "#[init]",
            Self::Call => "#[call]",
            Self::Cast => "#[cast]",
            Self::Info => "#[info]",
            Self::Continued => "#[continued]",
            Self::Terminate => "#[terminate]",
            Self::Options => "#[options]",
        }
    }

    /// Whether the method has a `self`.
    fn has_self(self) -> bool {
        !matches!(self, Self::Init | Self::Options)
    }

    /// What the type of an argument becomes, if it is checked here.
    fn carries(self) -> Option<Carried> {
        match self {
            Self::Call | Self::Cast => Some(Carried::Message),
            Self::Init | Self::Info | Self::Continued => Some(Carried::Associated),
            Self::Terminate | Self::Options => None,
        }
    }
}

/// What a handler passes at one place of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The context.
    Context,
    /// Who waits for a deferred reply.
    Caller,
    /// The argument of this number in [`Method::arguments`].
    Argument(usize),
}

/// An argument that is neither the context nor the caller.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
}

/// What comes back from a method that nobody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// Nothing.
    Nothing,
    /// A `Result<(), E>` of a type that stands here: `Err` stops the process.
    Result(Span),
}

/// One method with a role.
pub(crate) struct Method {
    pub(crate) ident: Ident,
    /// Its `#[cfg]`s.
    pub(crate) conditions: Vec<Attribute>,
    /// Its documentation.
    pub(crate) docs: Vec<Attribute>,
    /// Its `#[deprecated]`.
    pub(crate) deprecated: Option<Attribute>,
    pub(crate) is_async: bool,
    pub(crate) arguments: Vec<Argument>,
    /// What to pass, in order, after `self`.
    pub(crate) passes: Vec<Pass>,
    /// The `R` of `from: Caller<R>`.
    pub(crate) deferred: Option<Type>,
    pub(crate) output: ReturnType,
    pub(crate) outcome: Outcome,
}

impl Method {
    /// Reads a method in a role. What is wrong with it goes to `errors`; `owner` is the behavior.
    pub(crate) fn read(role: Role, function: &ImplItemFn, owner: &Ident, errors: &mut Errors) -> Self {
        let named = |word: &str| function.attrs.iter().filter(|a| a.path().is_ident(word)).cloned().collect();
        let signature = &function.sig;
        let deprecated: Vec<_> = named("deprecated");
        let mut method = Self {
            ident: signature.ident.clone(),
            conditions: named("cfg"),
            docs: named("doc"),
            deprecated: deprecated.into_iter().next(),
            is_async: signature.asyncness.is_some(),
            arguments: Vec::new(),
            passes: Vec::new(),
            deferred: None,
            output: signature.output.clone(),
            outcome: Outcome::Nothing,
        };
        method.read_signature(role, signature, errors);
        for input in &signature.inputs {
            if let FnArg::Typed(argument) = input {
                method.read_argument(role, argument, owner, errors);
            }
        }
        method.check_arguments(role, errors);
        method.check_output(role, owner, errors);
        method
    }

    /// The type of the reply of a call.
    pub(crate) fn reply(&self) -> Type {
        match (&self.deferred, &self.output) {
            (Some(ty), _) => ty.clone(),
            (None, ReturnType::Type(_, ty)) => (**ty).clone(),
            (None, ReturnType::Default) => syn::parse_quote!(()),
        }
    }

    fn read_signature(&self, role: Role, signature: &Signature, errors: &mut Errors) {
        let text = role.text();
        if !signature.generics.params.is_empty() {
            errors.at(&signature.generics, format!("a {text} method cannot be generic"));
        }
        if let Some(clause) = &signature.generics.where_clause {
            errors.at(clause, format!("a {text} method cannot be generic: no `where`"));
        }
        if let Safety::Unsafe(token) = &signature.safety {
            errors.at(token, format!("a {text} method cannot be unsafe"));
        }
        if let (Role::Options, Some(token)) = (role, &signature.asyncness) {
            errors.at(token, "#[options] cannot be async");
        }
        match (role.has_self(), signature.receiver()) {
            (true, None) => {
                errors.at(&signature.ident, format!("a {text} method takes `&self` or `&mut self`"));
            }
            (true, Some(receiver)) if !is_borrowed(receiver) => {
                errors.at(receiver, format!("a {text} method borrows: `&self` or `&mut self`"));
            }
            (false, Some(receiver)) => {
                errors.at(receiver, format!("{text} has no `self`: it runs before there is one"));
            }
            _ => {}
        }
    }

    fn read_argument(&mut self, role: Role, argument: &PatType, owner: &Ident, errors: &mut Errors) {
        for attribute in &argument.attrs {
            if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
                errors.at(attribute, "an argument cannot be conditional: put the `cfg` on the method");
            }
        }
        let ty = peeled(&argument.ty);
        if let Type::Reference(reference) = ty
            && let Some(segment) = last_segment(&reference.elem)
            && segment.ident == "Context"
            && role != Role::Options
        {
            if self.passes.contains(&Pass::Context) {
                errors.at(argument, "the context is passed once");
            }
            if !type_arguments(segment).first().is_none_or(|of| is_owner(of, owner)) {
                errors.at(&reference.elem, "the context is that of this behavior: `cx: &mut Context<Self>`");
            }
            self.passes.push(Pass::Context);
            return;
        }
        if let Some(segment) = last_segment(ty) {
            if segment.ident == "Context" && !segment.arguments.is_none() {
                errors.at(ty, "the context is borrowed: `cx: &mut Context<Self>`");
                return;
            }
            if segment.ident == "Caller" && role == Role::Call {
                return self.read_caller(argument, segment, owner, errors);
            }
        }
        let plain = match &*argument.pat {
            Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Some(name.ident.clone()),
            _ => None,
        };
        if plain.is_none() && matches!(role, Role::Init | Role::Call | Role::Cast) {
            errors.at(&argument.pat, "an argument of a message has a plain name: take it apart in the body");
        }
        if let Some(carried) = role.carries() {
            check::carried(&argument.ty, carried, owner, errors);
        }
        self.passes.push(Pass::Argument(self.arguments.len()));
        let ident = plain.unwrap_or_else(|| Ident::new("_unnamed", argument.pat.span()));
        self.arguments.push(Argument { ident, ty: (*argument.ty).clone() });
    }

    fn read_caller(
        &mut self,
        argument: &PatType,
        segment: &syn::PathSegment,
        owner: &Ident,
        errors: &mut Errors,
    ) {
        if self.deferred.is_some() {
            errors.at(argument, "a call has one caller");
        }
        match type_arguments(segment).as_slice() {
            [reply] => {
                check::carried(reply, Carried::Reply, owner, errors);
                self.deferred = Some((*reply).clone());
            }
            _ => errors.at(&argument.ty, "`Caller<R>` says what it waits for: one type"),
        }
        self.passes.push(Pass::Caller);
    }

    fn check_arguments(&self, role: Role, errors: &mut Errors) {
        let wanted = match role {
            Role::Init | Role::Call | Role::Cast => return,
            Role::Info => "`info: Info<U>`",
            Role::Continued => "`next: U`",
            Role::Terminate => "`reason: &ExitReason`",
            Role::Options if self.arguments.is_empty() => return,
            Role::Options => return errors.at(&self.ident, "#[options] takes no arguments"),
        };
        let text = role.text();
        let [argument] = self.arguments.as_slice() else {
            errors.at(&self.ident, format!("a {text} method takes {wanted}, and the context if it wants it"));
            return;
        };
        let named = |ty: &Type, name: &str| last_segment(ty).is_some_and(|segment| segment.ident == name);
        let right = match (role, peeled(&argument.ty)) {
            // A reference has been reported already.
            (Role::Info, ty) => named(ty, "Info") || matches!(ty, Type::Reference(_)),
            (Role::Terminate, Type::Reference(reference)) => {
                reference.mutability.is_none() && named(&reference.elem, "ExitReason")
            }
            (Role::Terminate, _) => false,
            _ => true,
        };
        if !right {
            errors.at(&argument.ty, format!("a {text} method takes {wanted}"));
        }
    }

    fn check_output(&mut self, role: Role, owner: &Ident, errors: &mut Errors) {
        let returned = match &self.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(&**ty),
        };
        match (role, returned) {
            (Role::Init, None) => {
                errors.at(&self.ident, "#[init] returns `Result<Self, ExitReason>`");
            }
            (Role::Init, Some(ty)) if !may_be_init_result(ty, owner) => {
                errors.at(ty, "#[init] returns `Result<Self, ExitReason>`");
            }
            (Role::Options, None) => errors.at(&self.ident, "#[options] returns `SpawnOptions`"),
            (Role::Call, Some(ty)) if self.deferred.is_none() => {
                check::carried(ty, Carried::Reply, owner, errors);
            }
            (Role::Call, Some(ty)) if !is_unit(ty) => {
                errors.at(ty, "a call with `from: Caller<R>` replies through it and returns nothing");
            }
            (Role::Terminate, Some(ty)) if !is_unit(ty) => {
                errors.at(ty, "a #[terminate] method returns nothing");
            }
            (Role::Cast | Role::Info | Role::Continued, Some(ty)) if !is_unit(ty) => {
                if may_be_result(ty) {
                    self.outcome = Outcome::Result(ty.span());
                } else {
                    let text = role.text();
                    errors.at(
                        ty,
                        format!("nobody waits for a {text} method: it returns nothing or `Result<(), E>`"),
                    );
                }
            }
            _ => {}
        }
    }
}

fn is_borrowed(receiver: &Receiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(..) => true,
        ReceiverKind::Typed(_, ty) => matches!(peeled(ty), Type::Reference(_)),
        _ => false,
    }
}

/// Whether this names the behavior.
fn is_owner(ty: &Type, owner: &Ident) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Self" || segment.ident == *owner)
}

/// Aliases cannot be seen through, so all that is not visibly wrong passes, and the compiler says the rest.
fn may_be_init_result(ty: &Type, owner: &Ident) -> bool {
    let Some(segment) = last_segment(ty) else { return false };
    if NO_RESULT.iter().any(|name| segment.ident == name) || segment.ident == *owner {
        return false;
    }
    match type_arguments(segment).first() {
        Some(made) => is_owner(made, owner),
        None => segment.ident != "Result",
    }
}

fn may_be_result(ty: &Type) -> bool {
    let Some(segment) = last_segment(ty) else { return false };
    let found = type_arguments(segment);
    if segment.ident == "Result" {
        return found.first().is_some_and(|ok| is_unit(ok));
    }
    !NO_RESULT.iter().any(|name| segment.ident == name)
}

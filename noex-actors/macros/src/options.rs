//! What stands in `#[behavior(…)]`, and how generated code names the crate it needs.
//!
//! The path is, in this order: `crate = "path"`; `noex` if the user's crate depends on it, under the name it has
//! there; `noex-actors` likewise; `::noex_actors`. Inside these two crates the path is their own name, which works
//! in their tests and examples, and in their sources through `extern crate self as …`.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident};
use syn::{Ident, LitStr, Path, meta::ParseNestedMeta, parse::Parser};

use crate::check::Errors;

/// The longest wire name, in characters.
const MAX_NAME: usize = 64;

/// What `#[behavior(…)]` says.
pub(crate) struct Options {
    /// The wire name. `None`: local only.
    pub(crate) name: Option<LitStr>,
    /// Where the types of noex are.
    pub(crate) root: Path,
    /// Casts can be cloned.
    pub(crate) clone: bool,
}

impl Options {
    /// Reads the options; what is wrong goes to `errors`, and the rest is read on.
    pub(crate) fn read(tokens: TokenStream, errors: &mut Errors) -> Self {
        let (mut name, mut root, mut clone) = (None, None, false);
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("name") {
                once(&meta, &mut name)
            } else if meta.path.is_ident("crate") {
                once(&meta, &mut root)
            } else if meta.path.is_ident("clone") {
                if std::mem::replace(&mut clone, true) { Err(twice(&meta)) } else { Ok(()) }
            } else {
                Err(meta
                    .error("unknown option: #[behavior] takes `name = \"…\"`, `clone` and `crate = \"…\"`"))
            }
        });
        if let Err(error) = parser.parse2(tokens) {
            errors.push(error);
        }
        if let Some(name) = &name {
            check_name(name, errors);
        }
        let given = root.and_then(|text: LitStr| match text.parse_with(Path::parse_mod_style) {
            Ok(path) => Some(path),
            Err(_) => {
                errors.at(&text, "`crate` takes a path, as in `crate = \"::noex\"`");
                None
            }
        });
        Self { name, root: given.unwrap_or_else(found), clone }
    }

    /// The path of serde as text, for `#[serde(crate = "…")]`.
    pub(crate) fn serde(&self) -> String {
        let root = self.root.to_token_stream().to_string();
        format!("{}::__private::serde", root.replace(' ', ""))
    }
}

fn once(meta: &ParseNestedMeta<'_>, slot: &mut Option<LitStr>) -> syn::Result<()> {
    let text = meta.value()?.parse()?;
    match slot.replace(text) {
        None => Ok(()),
        Some(_) => Err(twice(meta)),
    }
}

fn twice(meta: &ParseNestedMeta<'_>) -> syn::Error {
    meta.error("this option is given twice")
}

fn check_name(name: &LitStr, errors: &mut Errors) {
    let text = name.value();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(legal) {
        errors.at(name, "a wire name has 1 to 64 characters of `A-Z a-z 0-9 _ . -`");
    }
}

fn found() -> Path {
    let named = |package: &str| match crate_name(package) {
        Ok(FoundCrate::Itself) => Some(format_ident!("{}", package.replace('-', "_"))),
        Ok(FoundCrate::Name(name)) => Some(Ident::new(&name, Span::call_site())),
        Err(_) => None,
    };
    let name = named("noex").or_else(|| named("noex-actors")).unwrap_or_else(|| format_ident!("noex_actors"));
    syn::parse_quote!(::#name)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn read(tokens: TokenStream) -> Result<Options, Vec<String>> {
        let mut errors = Errors::default();
        let options = Options::read(tokens, &mut errors);
        match errors.texts() {
            texts if texts.is_empty() => Ok(options),
            texts => Err(texts),
        }
    }

    #[test]
    fn nothing_is_a_local_behavior_of_noex_actors() {
        let options = read(quote!()).ok().unwrap();
        assert!(options.name.is_none() && !options.clone);
        assert_eq!(options.serde(), "::noex_actors::__private::serde");
    }

    #[test]
    fn options_are_read_in_any_order() {
        let options = read(quote!(crate = "my::noex", clone, name = "a.b-c_9")).ok().unwrap();
        assert!(options.clone);
        assert_eq!(options.name.as_ref().unwrap().value(), "a.b-c_9");
        assert_eq!(options.serde(), "my::noex::__private::serde");
        let options = read(quote!(name = "x", crate = "crate")).ok().unwrap();
        assert_eq!(options.serde(), "crate::__private::serde");
    }

    #[test]
    fn wire_names_outside_of_the_alphabet_or_the_length_are_refused() {
        for name in ["", "a b", "é", "a/b", &"x".repeat(65)] {
            assert_eq!(read(quote!(name = #name)).err().unwrap().len(), 1, "{name:?}");
        }
        let longest = "x".repeat(64);
        assert!(read(quote!(name = #longest)).is_ok());
    }

    #[test]
    fn unknown_repeated_and_malformed_options_are_refused() {
        let of = |tokens| read(tokens).err().unwrap().remove(0);
        assert!(of(quote!(nam = "x")).starts_with("unknown option"));
        assert!(of(quote!(name = "x", name = "y")).contains("twice"));
        assert!(of(quote!(clone, clone)).contains("twice"));
        assert!(read(quote!(clone = true)).is_err());
        assert!(of(quote!(crate = "1 2")).contains("takes a path"));
        assert!(read(quote!(name)).is_err());
        assert!(read(quote!(name = 5)).is_err());
    }
}

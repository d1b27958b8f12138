//! Whether what one side writes is what the other reads.
//!
//! The additive rule: a variant is known by its name, and one that the reader lacks is refused when it comes; fields are known
//! by their position, further ones are passed over, missing ones need a default; a number may become wider, a value may
//! become optional.

use super::{Field, Shape, Variant};

/// Longest name that is quoted: it may come from a peer.
const MAX_QUOTED: usize = 100;

pub(super) fn check(what: &str, from: &Shape, to: &Shape) -> Result<(), String> {
    shape(&mut vec![what.to_owned()], from, to)
}

fn quoted(name: &str) -> String {
    name.chars().take(MAX_QUOTED).flat_map(char::escape_debug).collect()
}

fn differ<T>(path: &[String], says: &str) -> Result<T, String> {
    Err(format!("{}: {says}", path.join(" ")))
}

fn inside(path: &mut Vec<String>, step: String, from: &Shape, to: &Shape) -> Result<(), String> {
    path.push(step);
    shape(path, from, to)?;
    path.pop();
    Ok(())
}

fn shape(path: &mut Vec<String>, from: &Shape, to: &Shape) -> Result<(), String> {
    use Shape::{Enum, Float, Int, List, Map, Maybe, Struct, Tuple, Unknown};
    match (from, to) {
        (Unknown, _) | (_, Unknown) => Ok(()),
        (Int { signed, bits }, Int { signed: to_signed, bits: to_bits })
            if bits < to_bits && (*to_signed || !signed) || (bits, signed) == (to_bits, to_signed) =>
        {
            Ok(())
        }
        (Float(from), Float(to)) if from <= to => Ok(()),
        (Maybe(from), Maybe(to)) | (List(from), List(to)) => shape(path, from, to),
        // What may be missing elsewhere is there.
        (_, Maybe(to)) => shape(path, from, to),
        (Map(from), Map(to)) => {
            inside(path, "key".to_owned(), &from.0, &to.0)?;
            inside(path, "value".to_owned(), &from.1, &to.1)
        }
        (Tuple(from), Tuple(to)) if from.len() >= to.len() => {
            let mut pairs = from.iter().zip(to).enumerate();
            pairs.try_for_each(|(at, (from, to))| inside(path, format!("item {at}"), from, to))
        }
        (Struct(from), Struct(to)) => fields(path, from, to),
        (Enum(from), Enum(to)) => variants(path, from, to),
        (from, to) if from == to => Ok(()),
        (from, to) => differ(path, &format!("{} is sent, {} is expected", name(from), name(to))),
    }
}

fn fields(path: &mut Vec<String>, from: &[Field], to: &[Field]) -> Result<(), String> {
    for (at, (from, to)) in from.iter().zip(to).enumerate() {
        if from.name != to.name {
            let (from, to) = (quoted(&from.name), quoted(&to.name));
            return differ(
                path,
                &format!("field {at} is `{from}` where it is sent, `{to}` where it is expected"),
            );
        }
        inside(path, format!("field `{}`", quoted(&to.name)), &from.shape, &to.shape)?;
    }
    match to.get(from.len()) {
        Some(field) if field.required => differ(
            path,
            &format!("field `{}` is expected and not sent; it needs a default", quoted(&field.name)),
        ),
        _ => Ok(()),
    }
}

fn variants(path: &mut Vec<String>, from: &[Variant], to: &[Variant]) -> Result<(), String> {
    let mut common = from.is_empty() || to.is_empty();
    for sent in from {
        if let Some(expected) = to.iter().find(|variant| variant.name == sent.name) {
            common = true;
            inside(path, format!("`{}`", quoted(&sent.name)), &sent.shape, &expected.shape)?;
        }
    }
    if common { Ok(()) } else { differ(path, "no variant is known to both") }
}

fn name(shape: &Shape) -> String {
    let name = match shape {
        Shape::Int { signed, bits } => return format!("{}{bits}", if *signed { 'i' } else { 'u' }),
        Shape::Float(bits) => return format!("f{bits}"),
        Shape::Tuple(items) => return format!("a tuple of {}", items.len()),
        Shape::Unknown => "something",
        Shape::Unit => "nothing",
        Shape::Bool => "a bool",
        Shape::Char => "a char",
        Shape::Text => "text",
        Shape::Bytes => "bytes",
        Shape::Ref => "a Ref",
        Shape::AnyRef => "an AnyRef",
        Shape::Maybe(_) => "an option",
        Shape::List(_) => "a list",
        Shape::Map(_) => "a map",
        Shape::Struct(_) => "a struct",
        Shape::Enum(_) => "an enum",
    };
    name.to_owned()
}

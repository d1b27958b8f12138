//! Bytes of messages, pinned in a file. What has none fails the test: variants, and fields that may be missing, are found out from
//! the `Deserialize` of a type.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    reason = "shared by several test programs"
)]

use std::{collections::BTreeSet, fmt::Debug};

use noex_actors::schema::Shape;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Lines of the file.
#[derive(Default)]
pub struct Table(pub Vec<(String, Vec<u8>)>);

impl Table {
    pub fn add(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        self.0.push((name.into(), bytes));
    }

    /// Values of an enum: each variant must be there, and each field that may be missing, at least once with something in it and
    /// once without. What enums inside of it have belongs into tables of their own.
    pub fn every<T: Serialize + DeserializeOwned + Debug>(
        &mut self,
        what: &str,
        wrap: impl Fn(&T) -> Vec<u8>,
        values: &[T],
    ) {
        let shape = Shape::of::<T>();
        let Shape::Enum(variants) = &shape else { panic!("{what} has variants: {shape:?}") };
        let (mut wanted, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for variant in variants {
            wanted.insert(variant.name.clone());
            options(&variant.shape, &variant.name, &mut wanted);
        }
        for value in values {
            let (name, content) = match serde_json::to_value(value).unwrap() {
                Value::Object(object) => object.into_iter().next().unwrap(),
                text => (text.as_str().unwrap().to_owned(), Value::Null),
            };
            let variant = variants.iter().find(|variant| variant.name == name).unwrap();
            filled(&variant.shape, &content, &name, &mut seen);
            self.add(format!("{what} {name}"), wrap(value));
            seen.insert(name);
        }
        let missing: Vec<_> = wanted.difference(&seen).collect();
        assert!(missing.is_empty(), "{what}: no golden bytes for {missing:?}");
    }

    fn text(&self) -> String {
        self.0.iter().map(|(name, bytes)| format!("{name}: {}\n", bytes.escape_ascii())).collect()
    }

    /// Compares with what the file has.
    pub fn check(&self, golden: &str) {
        let text = self.text();
        let differs = text.lines().zip(golden.lines()).find(|(line, golden)| line != golden);
        assert_eq!(differs, None, "the second is pinned: CONTRIBUTING.md says when bytes may change");
        assert_eq!(text.lines().count(), golden.lines().count(), "a line for each");
    }

    /// Writes the file anew.
    pub fn write(&self, file: &str) {
        std::fs::write(file, self.text()).unwrap();
    }
}

fn with(place: &str) -> String {
    format!("something in {place}")
}

fn without(place: &str) -> String {
    format!("nothing in {place}")
}

/// What may be missing in a shape.
fn options(shape: &Shape, place: &str, found: &mut BTreeSet<String>) {
    match shape {
        Shape::Maybe(inner) => {
            found.extend([with(place), without(place)]);
            options(inner, place, found);
        }
        Shape::List(inner) => options(inner, &format!("{place}[]"), found),
        Shape::Map(both) => options(&both.1, &format!("{place}[]"), found),
        Shape::Tuple(shapes) => {
            shapes.iter().enumerate().for_each(|(at, shape)| options(shape, &format!("{place}.{at}"), found));
        }
        Shape::Struct(fields) => {
            fields.iter().for_each(|field| options(&field.shape, &format!("{place}.{}", field.name), found));
        }
        _ => {}
    }
}

/// What a value has of that.
fn filled(shape: &Shape, value: &Value, place: &str, found: &mut BTreeSet<String>) {
    match (shape, value) {
        (Shape::Maybe(_), Value::Null) => {
            found.insert(without(place));
        }
        (Shape::Maybe(inner), value) => {
            found.insert(with(place));
            filled(inner, value, place, found);
        }
        (Shape::List(inner), Value::Array(values)) => {
            values.iter().for_each(|value| filled(inner, value, &format!("{place}[]"), found));
        }
        (Shape::Map(both), Value::Object(values)) => {
            values.values().for_each(|value| filled(&both.1, value, &format!("{place}[]"), found));
        }
        (Shape::Tuple(shapes), value) => {
            for (at, shape) in shapes.iter().enumerate() {
                filled(shape, value.get(at).unwrap_or(&Value::Null), &format!("{place}.{at}"), found);
            }
        }
        (Shape::Struct(fields), value) => {
            for (at, field) in fields.iter().enumerate() {
                let value = value.get(&field.name).or_else(|| value.get(at)).unwrap_or(&Value::Null);
                filled(&field.shape, value, &format!("{place}.{}", field.name), found);
            }
        }
        _ => {}
    }
}

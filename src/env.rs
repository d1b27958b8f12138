//! Settings from the environment: decides what a variable may say, and how its error reads.
//!
//! An unset variable is its default; a variable that is set to nothing, or to anything that is not a value of its
//! type, is an error that names the variable, the value and the rule.

use std::{any::type_name, ops::RangeInclusive, str::FromStr};

use noex_net::InvalidClusterConfig;

/// Whole numbers: anything but digits (`+5`, ` 5`, `5e3`) would be a surprise later.
const UNSIGNED: [&str; 6] = ["u8", "u16", "u32", "u64", "u128", "usize"];

/// Reads a variable; `default` if it is unset.
///
/// ```
/// let port = noex::env::parse("NOEX_DOC_PORT", 8080u16)?;
/// assert_eq!(port, 8080);
/// # Ok::<(), noex::InvalidClusterConfig>(())
/// ```
///
/// # Errors
/// [`InvalidClusterConfig`] with the variable in `field`, when it is set and not a value of `T`.
pub fn parse<T: FromStr>(var: &str, default: T) -> Result<T, InvalidClusterConfig> {
    parse_text(var, text(var)?, default)
}

/// Reads a variable that must lie in a range; `default` if it is unset.
///
/// # Errors
/// [`InvalidClusterConfig`] with the variable in `field`, when it is set and not a number in that range.
pub fn parse_in<T>(var: &str, default: T, range: RangeInclusive<T>) -> Result<T, InvalidClusterConfig>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let Some(value) = text(var)? else { return Ok(default) };
    match number::<T>(&value) {
        Some(number) if range.contains(&number) => Ok(number),
        Some(_) | None => {
            let rule = format!("must be a whole number from {} to {}", range.start(), range.end());
            Err(InvalidClusterConfig::new(var, &value, rule))
        }
    }
}

/// Reads a variable as text; `None` if it is unset.
///
/// # Errors
/// [`InvalidClusterConfig`] when it is not valid UTF-8.
pub fn text(var: &str) -> Result<Option<String>, InvalidClusterConfig> {
    match std::env::var(var) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(value)) => {
            Err(InvalidClusterConfig::new(var, &value.to_string_lossy(), "must be valid UTF-8"))
        }
    }
}

/// The error of a variable whose value breaks a rule of the program.
#[must_use]
pub fn invalid(var: &str, value: &str, rule: &str) -> InvalidClusterConfig {
    InvalidClusterConfig::new(var, value, rule)
}

fn parse_text<T: FromStr>(var: &str, text: Option<String>, default: T) -> Result<T, InvalidClusterConfig> {
    let Some(value) = text else { return Ok(default) };
    let parsed = if UNSIGNED.contains(&type_name::<T>()) { number(&value) } else { value.parse().ok() };
    parsed.ok_or_else(|| InvalidClusterConfig::new(var, &value, rule::<T>(&value)))
}

fn number<T: FromStr>(value: &str) -> Option<T> {
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

fn rule<T>(value: &str) -> String {
    let mut rule = match type_name::<T>() {
        "u8" => format!("must be a whole number from 0 to {}", u8::MAX),
        "u16" => format!("must be a whole number from 0 to {}", u16::MAX),
        "u32" => format!("must be a whole number from 0 to {}", u32::MAX),
        "u64" => format!("must be a whole number from 0 to {}", u64::MAX),
        "bool" => "must be true or false".to_owned(),
        other => format!("must be a {}", other.rsplit("::").next().unwrap_or(other)),
    };
    if value.is_empty() {
        rule.push_str("; leave it unset for the default");
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromStr>(value: Option<&str>, default: T) -> Result<T, String> {
        parse_text("PORT", value.map(str::to_owned), default).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unset_variable_is_its_default() {
        assert_eq!(read(None, 8080u16), Ok(8080));
        assert_eq!(parse_in("NOEX_TEST_UNSET", 3u32, 1..=5).unwrap(), 3);
    }

    #[test]
    fn a_bad_value_is_named_with_its_variable_and_rule() {
        assert_eq!(read(Some("65535"), 8080u16), Ok(65535));
        for bad in ["65536", "+5", " 5", "5e3", "-1", "0x10", "five"] {
            let error = read(Some(bad), 8080u16).unwrap_err();
            assert_eq!(error, format!("PORT is \"{bad}\": must be a whole number from 0 to 65535"));
        }
        let empty = read(Some(""), 8080u16).unwrap_err();
        assert!(empty.ends_with("leave it unset for the default"), "{empty}");
        assert_eq!(read(Some("yes"), true).unwrap_err(), "PORT is \"yes\": must be true or false");
        assert_eq!(read(Some("-1"), 0i64), Ok(-1), "signs are for signed numbers");
    }
}

//! Which keys a pattern means.
//!
//! | In a pattern | Stands for |
//! |---|---|
//! | `*` | any characters but `/`, or none |
//! | `**` | any characters, `/` too, or none |
//! | `?` | one character but `/` |
//! | anything else | itself: `[`, `{`, `!` and `\` too |
//!
//! The time that a key takes grows with key × pattern and no faster, whatever the pattern is.

use regex_lite::Regex;

use crate::names::MAX_NAME;

/// A pattern, ready to be compared with keys. `None` means no key.
pub(crate) struct Glob(Option<Regex>);

impl Glob {
    /// Any text is a pattern. One that asks for more characters than a key may have means none.
    pub(crate) fn new(pattern: &str) -> Self {
        if pattern.chars().filter(|c| *c != '*').count() > MAX_NAME {
            return Self(None);
        }
        let mut regex = String::from(r"(?s)\A");
        let mut rest = pattern;
        while let Some(next) = rest.chars().next() {
            rest = match next {
                '*' => {
                    let after = rest.trim_start_matches('*');
                    regex.push_str(if rest.len() - after.len() == 1 { "[^/]*" } else { ".*" });
                    after
                }
                '?' => {
                    regex.push_str("[^/]");
                    &rest[1..]
                }
                _ => {
                    let end = rest.find(['*', '?']).unwrap_or(rest.len());
                    regex.push_str(&regex_lite::escape(&rest[..end]));
                    &rest[end..]
                }
            };
        }
        regex.push_str(r"\z");
        Self(Regex::new(&regex).ok())
    }

    pub(crate) fn means(&self, key: &str) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_what_the_table_says() {
        for (pattern, key, means) in [
            ("user:*", "user:1", true),
            ("user:*", "user:", true),
            ("user:*", "user:1/2", false),
            ("user:*", "users", false),
            ("room:**", "room:1/2/3", true),
            ("a/**", "a/", true),
            ("a/**", "a", false),
            ("**/z", "a/b/z", true),
            ("**/z", "z", false),
            ("a**b", "a/b", true),
            ("***", "a/b", true),
            ("**", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a?c", "a/c", false),
            ("?", "é", true),
            ("*é*", "xéy", true),
            ("", "", true),
            ("", "a", false),
            ("a", "A", false),
            ("a\nb*", "a\nbc", true),
        ] {
            assert_eq!(Glob::new(pattern).means(key), means, "{pattern:?} and {key:?}");
        }
    }

    #[test]
    fn signs_that_other_globs_give_a_meaning_stand_for_themselves() {
        for sign in ["[ab]", "{a,b}", "!a", "\\a", "a.c", "(a|b)", "^a$", "a+", "#", "a-z", "~"] {
            assert!(Glob::new(sign).means(sign), "{sign:?}");
        }
        assert!(!Glob::new("[ab]").means("a"));
        assert!(!Glob::new("{a,b}").means("a"));
        assert!(!Glob::new("!a").means("b"));
        assert!(!Glob::new("\\*").means("*") && Glob::new("\\*").means("\\x"));
        assert!(!Glob::new("a.c").means("abc"));
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_key_times_pattern() {
        let (pattern, key) = ("*a".repeat(100), "a".repeat(255));
        assert!(Glob::new(&pattern).means(&key));
        assert!(!Glob::new(&format!("{pattern}b")).means(&key));
        assert!(Glob::new(&"?".repeat(255)).means(&key));
        assert!(Glob::new(&"?".repeat(2_000_000)).0.is_none());
        assert!(Glob::new(&"*?".repeat(255)).means(&key) && Glob::new(&"*".repeat(2_000_000)).means(&key));
    }

    /// The definition, without any cleverness.
    fn naive(pattern: &[char], key: &[char]) -> bool {
        match pattern {
            [] => key.is_empty(),
            ['*', '*', rest @ ..] => {
                let rest = &rest[rest.iter().take_while(|c| **c == '*').count()..];
                (0..=key.len()).any(|at| naive(rest, &key[at..]))
            }
            ['*', rest @ ..] => {
                let reach = key.iter().take_while(|c| **c != '/').count();
                (0..=reach).any(|at| naive(rest, &key[at..]))
            }
            ['?', rest @ ..] => key.first().is_some_and(|c| *c != '/') && naive(rest, &key[1..]),
            [sign, rest @ ..] => key.first() == Some(sign) && naive(rest, &key[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_means_what_the_definition_means(pattern in "[ab/*?é\\[]{0,8}", key in "[ab/é\\[]{0,8}") {
            let (letters, of_key): (Vec<char>, Vec<char>) = (pattern.chars().collect(), key.chars().collect());
            prop_assert_eq!(Glob::new(&pattern).means(&key), naive(&letters, &of_key));
        }
    }
}

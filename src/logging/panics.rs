//! Panics: decides which are a matter of a process, and which of noex itself.
//!
//! A panic in user code is the end of one process and reaches its supervisor. A panic in noex is a broken invariant:
//! some part of the node is gone, and nobody would start it again. The place of the panic tells them apart.

use std::{
    panic::{self, PanicHookInfo},
    path::{Component, Path},
};

use super::{LAST_LINES, lines::Lines};

/// The crates whose panics end the program.
const OWN: [&str; 3] = ["noex-actors", "noex-net", "noex-supervisor"];

pub(super) fn set_hook(lines: Lines) {
    panic::set_hook(Box::new(move |info| {
        let place = info.location();
        let own = place.is_some_and(|place| is_own(place.file()));
        let (at, text) = (place.map(ToString::to_string).unwrap_or_default(), text(info));
        tracing::error!(panic = text, at, thread = std::thread::current().name(), own, "panic");
        if own {
            lines.flush(LAST_LINES);
            std::process::exit(1);
        }
    }));
}

fn text(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no text)").to_owned()
}

/// Whether a source file is of noex: `…/noex-net/src/…`, or `…/noex-net-1.2.3/src/…` from a registry.
fn is_own(file: &str) -> bool {
    let parts: Vec<&str> = Path::new(file)
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    parts.windows(2).any(|pair| {
        let [of, "src"] = pair else { return false };
        let version = |rest: &str| {
            rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        OWN.iter().filter_map(|own| of.strip_prefix(own)).any(|rest| rest.is_empty() || version(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_noex_are_told_from_those_of_its_users() {
        for own in [
            "noex-net/src/actor/cluster_manager.rs",
            "/home/me/noex/noex-actors/src/host.rs",
            "/root/.cargo/registry/src/index-1/noex-supervisor-0.1.0/src/lib.rs",
        ] {
            assert!(is_own(own), "{own}");
        }
        for other in [
            "src/main.rs",
            "examples/support/counter.rs",
            "my-noex-net/src/lib.rs",
            "noex-net-tools/src/lib.rs",
            "noex-net/tests/panics.rs",
            "/rustc/abc/library/core/src/option.rs",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }
}

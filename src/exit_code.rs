//! The result of `main` as an exit code: decides what is a matter of configuration.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use noex_net::{ClusterStartError, InvalidClusterConfig};

/// A bad configuration, or a port in use.
const CONFIGURATION: u8 = 2;

/// The exit code of a program, and one line on standard error if it failed.
///
/// | Result | Code |
/// |---|---|
/// | `Ok` | 0 |
/// | [`InvalidClusterConfig`], [`ClusterStartError::Config`], [`ClusterStartError::Bind`] | 2 |
/// | any other error | 1 |
#[must_use]
pub fn exit_code(result: Result<(), Box<dyn Error + Send + Sync>>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "{}", line(error.as_ref()));
    if is_configuration(error.as_ref()) { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE }
}

fn is_configuration(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(this) = error {
        let start = this.downcast_ref::<ClusterStartError>();
        if this.is::<InvalidClusterConfig>()
            || matches!(
                start,
                Some(
                    ClusterStartError::Config(_)
                        | ClusterStartError::Bind { .. }
                        | ClusterStartError::Advertise { .. }
                )
            )
        {
            return true;
        }
        error = this.source();
    }
    false
}

/// The error and its causes on one line. A cause that its effect repeats is left out.
fn line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configuration_is_2() {
        let bad = ClusterConfigError::bad();
        assert!(is_configuration(bad.as_ref()));
        assert!(line(bad.as_ref()).starts_with("node_name is \"1a\": "), "{}", line(bad.as_ref()));
        let other: Box<dyn Error + Send + Sync> = "out of\ncoffee".into();
        assert!(!is_configuration(other.as_ref()));
        assert_eq!(line(other.as_ref()), "out of coffee");
    }

    #[test]
    fn a_port_in_use_is_a_matter_of_configuration() {
        let source = io::Error::from(io::ErrorKind::AddrInUse);
        let error = ClusterStartError::Bind { addr: "0.0.0.0:4369".to_owned(), source };
        assert!(is_configuration(&error));
        assert!(line(&error).contains("0.0.0.0:4369"));
    }

    struct ClusterConfigError;
    impl ClusterConfigError {
        fn bad() -> Box<dyn Error + Send + Sync> {
            noex_net::ClusterConfig::builder("1a").build().unwrap_err().into()
        }
    }
}

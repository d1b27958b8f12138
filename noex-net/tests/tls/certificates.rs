//! What a `TlsConfig` is made from, and what it says of what it is not made from.

use noex_net::{ClusterConfig, TlsConfig, TlsPart};

use crate::support::{Res, certificates::Ca};

fn wrong(ca: &str, cert: &str, key: &str) -> (TlsPart, String) {
    let error = TlsConfig::from_pem(ca.as_bytes(), cert.as_bytes(), key.as_bytes()).unwrap_err();
    (error.part, error.to_string())
}

#[test]
fn each_part_that_is_wrong_is_named_with_what_to_do() {
    let ca = Ca::new("ca");
    let good = ca.issue(&["a"]);
    assert_eq!(good.tls(&ca.pem).names(), ["a"]);
    for (ca, cert, key, part, text) in [
        ("", good.cert.as_str(), good.key.as_str(), TlsPart::Ca, "TLS ca: there is no certificate in PEM"),
        (good.key.as_str(), &good.cert, &good.key, TlsPart::Ca, "there is no certificate in PEM"),
        (&ca.pem, "", &good.key, TlsPart::Certificate, "there is no certificate in PEM"),
        (&ca.pem, &good.key, &good.key, TlsPart::Certificate, "there is no certificate in PEM"),
        (&ca.pem, &good.cert, "", TlsPart::Key, "there is no private key in PEM"),
        (&ca.pem, &good.cert, &good.cert, TlsPart::Key, "there is no private key in PEM"),
        (&ca.pem, &good.cert, &ca.issue(&["a"]).key, TlsPart::Key, "not the key of the certificate"),
    ] {
        let (found, error) = wrong(ca, cert, key);
        assert!(found == part && error.contains(text), "{error}");
        assert!(!error.contains(&good.key[40..60]), "{error}");
    }
    let nameless = ca.issue(&[]);
    let (part, error) = wrong(&ca.pem, &nameless.cert, &nameless.key);
    assert!(part == TlsPart::Certificate && error.contains("holds no DNS name"), "{error}");
    let missing = TlsConfig::from_pem_files("/nowhere/ca", "/nowhere/cert", "/nowhere/key").unwrap_err();
    assert!(missing.to_string().starts_with("TLS ca: cannot read the file"), "{missing}");
}

#[test]
fn a_key_is_neither_shown_nor_serialised() -> Res {
    let ca = Ca::new("ca");
    let config = ClusterConfig::builder("a").tls(ca.tls("a")).build()?;
    let shown = format!("{config:?} {}", serde_json::to_string(&config)?);
    assert!(shown.contains("TlsConfig { names: [\"a\"], .. }"), "{shown}");
    assert!(!shown.to_lowercase().contains("private") && !shown.contains("BEGIN"), "{shown}");
    assert_eq!(config.tls(), config.clone().tls());
    let error = ClusterConfig::builder("b").tls(ca.tls("a")).build().unwrap_err();
    assert_eq!((error.field.as_str(), error.value.as_str()), ("tls", "a"));
    Ok(())
}

#[test]
fn the_environment_names_all_three_files_or_none() -> Res {
    let (ca, dir) = (Ca::new("ca"), tempdir()?);
    let good = ca.issue(&["a"]);
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).map(|()| path.display().to_string())
    };
    let (ca, cert, key) = (file("ca", &ca.pem)?, file("cert", &good.cert)?, file("key", &good.key)?);
    let from = |ca: &str, cert: &str, key: &str, name: &str| {
        ClusterConfig::from_vars(|variable| {
            let value = match variable {
                "NODE_NAME" => name,
                "CLUSTER_TLS_CA" => ca,
                "CLUSTER_TLS_CERT" => cert,
                "CLUSTER_TLS_KEY" => key,
                _ => return None,
            };
            (!value.is_empty()).then(|| value.to_owned())
        })
    };
    assert!(from("", "", "", "a")?.tls().is_none());
    assert_eq!(from(&ca, &cert, &key, "a")?.tls().unwrap().names(), ["a"]);
    for (result, field, value) in [
        (from("", &cert, &key, "a"), "CLUSTER_TLS_CA", ""),
        (from(&ca, "", &key, "a"), "CLUSTER_TLS_CERT", ""),
        (from(&ca, &cert, "", "a"), "CLUSTER_TLS_KEY", ""),
        (from(&key, &cert, &key, "a"), "CLUSTER_TLS_CA", &key),
        (from(&ca, "/nowhere", &key, "a"), "CLUSTER_TLS_CERT", "/nowhere"),
        (from(&ca, &cert, "/nowhere", "a"), "CLUSTER_TLS_KEY", "***"),
        (from(&ca, &cert, &ca, "a"), "CLUSTER_TLS_KEY", "***"),
        (from(&ca, &cert, &key, "b"), "CLUSTER_TLS_CERT", "a"),
    ] {
        let error = result.unwrap_err();
        assert_eq!((error.field.as_str(), error.value.as_str()), (field, value), "{error}");
    }
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// A fresh directory.
fn tempdir() -> std::io::Result<std::path::PathBuf> {
    let dir = std::env::temp_dir().join(format!("noex-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

//! Nodes whose connections are TLS: by three files each, which are read again on SIGHUP.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;

use crate::{
    lab::{Lab, Node, SOON, Setup},
    wait,
};

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key of a node, as PEM.
    fn issue(&self, name: &str) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
        [certificate.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem()]
    }
}

/// The three files of a node.
struct Files([PathBuf; 3]);

const VARIABLES: [&str; 3] = ["CLUSTER_TLS_CA", "CLUSTER_TLS_CERT", "CLUSTER_TLS_KEY"];

impl Files {
    fn new(lab: &Lab, name: &str, ca: &str, [cert, key]: &[String; 2]) -> Self {
        // Beside the directory of the witnesses, which tests count.
        let files = Self(["ca", "cert", "key"].map(|part| lab.dir.with_extension(format!("{name}.{part}"))));
        files.write(ca, cert, key);
        files
    }

    fn write(&self, ca: &str, cert: &str, key: &str) {
        for (path, text) in self.0.iter().zip([ca, cert, key]) {
            fs::write(path, text).unwrap();
        }
    }

    fn name(&self, setup: Setup) -> Setup {
        VARIABLES.iter().zip(&self.0).fold(setup, |setup, (var, path)| setup.var(var, path.display()))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

#[track_caller]
fn refused_as_tls(nodes: [&Node; 2]) {
    wait::until(SOON, "both count it", || {
        match nodes.map(|node| node.metric("noex_refused_total{reason=\"tls\"}")) {
            [one, two] if one > 0 && two > 0 => Ok(()),
            counts => Err(format!("{counts:?}")),
        }
    });
}

#[test]
fn nodes_with_certificates_meet_and_one_without_is_refused_at_both_ends() {
    let (lab, ca) = (Lab::new(), Ca::new("ca"));
    let files = ["a", "b"].map(|name| Files::new(&lab, name, &ca.pem, &ca.issue(name)));
    let a = files[0].name(lab.node("a")).start();
    let b = files[1].name(lab.node("b")).seed(&a.id).start();
    a.sees(1);
    b.sees(1);
    let plain = lab.node("c").seed(&a.id).start();
    refused_as_tls([&a, &plain]);
    assert_eq!(plain.metric("noex_connected_nodes"), 0);
    for node in [&a, &b] {
        assert!(!(node.out.text() + &node.err.text()).contains("PRIVATE"));
    }
}

#[test]
fn another_ca_comes_by_file_and_sighup_without_a_node_down() {
    let (lab, old, new) = (Lab::new(), Ca::new("old"), Ca::new("new"));
    let both = format!("{}{}", old.pem, new.pem);
    let nodes = ["a", "b"].map(|name| (name, old.issue(name), new.issue(name)));
    let files = nodes.each_ref().map(|(name, before, _)| Files::new(&lab, name, &old.pem, before));
    let a = files[0].name(lab.node("a")).start();
    let b = files[1].name(lab.node("b")).seed(&a.id).start();
    a.sees(1);
    b.sees(1);
    let replaced = |node: &Node| node.out.text().matches("the certificates were replaced").count();
    for (step, ca) in [&both, &both, &new.pem].into_iter().enumerate() {
        for ((node, files), (_, before, after)) in [&a, &b].into_iter().zip(&files).zip(&nodes) {
            let [cert, key] = if step == 0 { before } else { after };
            files.write(ca, cert, key);
            node.signal(Signal::HUP);
            wait::until(SOON, "it took them", || match replaced(node) {
                n if n == step + 1 => Ok(()),
                n => Err(n.to_string()),
            });
        }
    }
    // What is wrong changes nothing.
    files[0].write("", "", "");
    a.signal(Signal::HUP);
    wait::until(SOON, "it says so", || {
        let text = a.out.text();
        let said = text.contains("CLUSTER_TLS_CA") && text.contains("the certificates stay as they are");
        if said { Ok(()) } else { Err(text) }
    });
    for node in [&a, &b] {
        assert_eq!((node.metric("noex_connected_nodes"), node.metric_sum("noex_node_down_total")), (1, 0));
    }
    let inside = Files::new(&lab, "c", &new.pem, &new.issue("c"));
    let inside = inside.name(lab.node("c")).seed(&a.id).start();
    inside.sees(2);
    let outside = Files::new(&lab, "d", &both, &old.issue("d"));
    let outside = outside.name(lab.node("d")).seed(&a.id).start();
    refused_as_tls([&a, &outside]);
}

#[test]
fn what_is_wrong_with_the_files_ends_with_2_and_names_the_variable() {
    let (lab, ca) = (Lab::new(), Ca::new("ca"));
    let good = ca.issue("a");
    let key = good[1].lines().nth(1).unwrap();
    for (n, (ca, cert, own, variable)) in [
        ("", &*good[0], &*good[1], VARIABLES[0]),
        (&*ca.pem, &*good[1], &*good[1], VARIABLES[1]),
        (&*ca.pem, &*ca.issue("b")[0], &*good[1], VARIABLES[2]),
        (&*ca.pem, &*good[0], "", VARIABLES[2]),
    ]
    .into_iter()
    .enumerate()
    {
        let files = Files::new(&lab, &format!("a{n}"), ca, &[cert.to_owned(), own.to_owned()]);
        let line = crate::configuration::refused(&files.name(lab.node("a")));
        assert!(line.starts_with(&format!("{variable} is \"")) && !line.contains(key), "{line}");
    }
    let files = Files::new(&lab, "b", &ca.pem, &good);
    let line = crate::configuration::refused(&files.name(lab.node("b")));
    assert!(line.starts_with("CLUSTER_TLS_CERT is \"a\": must hold the name of the node, b"), "{line}");
    let line = crate::configuration::refused(&lab.node("a").var("CLUSTER_TLS_CA", files.0[0].display()));
    assert!(line.starts_with("CLUSTER_TLS_CERT is \"\": must be the path of a PEM file"), "{line}");
}

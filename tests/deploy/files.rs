//! The files of the project as values.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use crate::tools::python;

/// Returns the path of a file of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|err| panic!("{path}: {err}"))
}

pub(crate) fn toml(path: &str) -> toml::Table {
    read(path).parse().unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// Returns the documents of a YAML file.
pub(crate) fn yaml(path: &str) -> Vec<Value> {
    let program = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let mut python = python();
    let mut child =
        python.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(read(path).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{path}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the files below a folder of the project whose names end with this extension, sorted.
pub(crate) fn with_extension(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(project(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            found.extend(with_extension(&name, extension));
        } else if path.extension().is_some_and(|ending| ending == extension) {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// Returns a configuration in which the settings that are commented out take effect.
pub(crate) fn uncommented(text: &str) -> String {
    let is_setting = |line: &str| {
        let name = line.split(" = ").next().unwrap_or_default();
        line.starts_with('[') || (line.contains(" = ") && !name.contains(' '))
    };
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) => rest,
        _ => line,
    });
    lines.fold(String::new(), |all, line| all + line + "\n")
}

/// Writes a certificate and its key as certbot names them.
pub(crate) fn certificate(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let names = vec!["hearken.example.com".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join("fullchain.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("privkey.pem"), key.serialize_pem()).unwrap();
}

//! The checks of the key `ca`, which are the same for every kind that has it.

use std::{fs, path::PathBuf};

use bikhook::handler::KINDS;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    handlers::{delivery, open},
    support::{
        events::incoming,
        servers::{
            certificate::Certificate,
            web::{Answer, Web},
        },
    },
};

/// Settings with TLS, for a destination that does not exist.
fn settings(kind: &str) -> &'static str {
    match kind {
        "http" => "url = \"https://127.0.0.1:1\"",
        "postgres" => "url = \"postgres://me@127.0.0.1:1/d?sslmode=require\"",
        "nats" => "url = \"tls://127.0.0.1:1\"",
        "redis" => "url = \"rediss://127.0.0.1:1\"",
        "rabbitmq" => "url = \"amqps://127.0.0.1:1\"\nexchange = \"bik\"",
        "kafka" => "brokers = \"127.0.0.1:1\"\ntls = true",
        "s3" => {
            "bucket = \"bik\"\nendpoint = \"https://127.0.0.1:1\"\naccess_key_id = \"k\"\nsecret_access_key = \"s\""
        }
        other => panic!("the kind {other:?} has no settings here: add some with which it speaks TLS"),
    }
}

/// Invalid files, and the error for each.
fn wrong_files(certificate: &Certificate) -> [(PathBuf, &'static str); 8] {
    let good = fs::read_to_string(certificate.ca()).unwrap();
    let der = CertificateDer::from_pem_file(certificate.ca()).unwrap();
    let pem = |inside: &str| format!("-----BEGIN CERTIFICATE-----\n{inside}\n-----END CERTIFICATE-----\n");
    let cut = &good[..good.len() / 2];
    [
        (certificate.ca().with_file_name("none"), "cannot be read: No such file"),
        (certificate.ca().with_file_name(""), "cannot be read: Is a directory"),
        (
            certificate.file("empty", ""),
            "contains no PEM certificate: one begins with -----BEGIN CERTIFICATE",
        ),
        (certificate.key(), "contains a private key: use a file with the certificate of the server's CA"),
        (certificate.file("der", &der), "is in DER format: convert it with `openssl x509"),
        (certificate.file("cut", cut), "is not valid PEM from certificate 1 on"),
        (certificate.file("base64", good.clone() + &pem("*")), "is not valid PEM from certificate 2 on"),
        (
            certificate.file("garbage", good.clone() + &pem("Z2FyYmFnZQ==")),
            "cannot be used: certificate 2 is damaged",
        ),
    ]
}

#[tokio::test]
async fn every_kind_with_the_key_ca_checks_each_certificate_with_equal_errors() {
    let certificate = Certificate::make();
    let mut looked_at = 0;
    for row in KINDS.iter().filter(|row| (row.keys)().contains(&"ca")) {
        for (file, words) in wrong_files(&certificate) {
            let with = format!("{}\nca = {file:?}", settings(row.name));
            let error =
                open(row.name, &with).await.err().unwrap_or_else(|| panic!("{} took {file:?}", row.name));
            let expected = format!("ca: {} {words}", file.display());
            assert!(error.starts_with(&expected), "{error}\n  is not\n{expected}");
        }
        looked_at += 1;
    }
    assert!(looked_at >= 1);
}

/// NATS always uses TLS with `ca`, whatever its address says; its own tests check that.
#[tokio::test]
async fn an_authority_for_a_way_without_tls_is_an_error() {
    let certificate = Certificate::make();
    let plain = [
        ("https:", "http:"),
        ("rediss:", "redis:"),
        ("amqps:", "amqp:"),
        ("=require", "=disable"),
        ("= true", "= false"),
    ];
    for row in KINDS.iter().filter(|row| row.name != "nats" && (row.keys)().contains(&"ca")) {
        let settings =
            plain.iter().fold(settings(row.name).to_owned(), |text, (tls, plain)| text.replace(tls, plain));
        let with = format!("{settings}\nca = {:?}", certificate.ca());
        let error = open(row.name, &with).await.err().unwrap_or_else(|| panic!("{} took it", row.name));
        assert!(error.contains("ca: needs TLS"), "{}: {error}", row.name);
    }
}

/// Everything that is not a certificate is ignored: a misplaced private key, and text between the certificates.
#[tokio::test]
async fn one_of_many_authorities_suffices_even_if_it_has_expired() {
    let (one, expired) = (Certificate::make(), Certificate::of_an_expired_authority());
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let all = format!("Ours:\n{}{}Old:\n{}", read(one.ca()), read(one.key()), read(expired.ca()));
    let ca = one.file("all", all);
    for certificate in [&one, &expired] {
        let web = Web::with(Some(certificate.server_config()), |_| Answer::status(200));
        let settings = format!("url = \"https://{}/hook\"\nca = {ca:?}", web.address());
        let handler = open("http", &settings).await.unwrap();
        handler.deliver(&[delivery(1, &incoming("1", "m"))]).await.unwrap();
    }
}

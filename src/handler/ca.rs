//! Reads the file of the setting `ca`, for every kind that uses TLS. The file contains PEM certificates; each is
//! checked before use. Other content of the file is ignored; the TLS libraries ignore it too.
//!
//! An expired CA certificate is still trusted by rustls, which checks only the name and the key of a trust anchor.
//! OpenSSL, which kind `kafka` uses, rejects it.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{
    CertificateError, Error, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The certificates of a file. There is at least one.
#[derive(Debug)]
pub(super) struct Ca(Vec<CertificateDer<'static>>);

impl Ca {
    /// Reads and checks the certificates of a file.
    ///
    /// # Errors
    /// Returns what is wrong with the file, starting with `ca: `.
    pub(super) async fn read(path: &Path) -> Result<Self, String> {
        let wrong = |what: String| format!("ca: {} {what}", path.display());
        let bytes = tokio::fs::read(path).await.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        certificates(&bytes).map(Self).map_err(wrong)
    }

    /// All certificates of the file, in order.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// The certificates as PEM (RFC 7468), without the other content of the file.
    #[allow(dead_code, reason = "a build may have no kind that uses it")]
    pub(super) fn pem(&self) -> String {
        let mut pem = String::new();
        for certificate in &self.0 {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            for line in certificate.chunks(48) {
                BASE64_STANDARD.encode_string(line, &mut pem);
                pem.push('\n');
            }
            pem.push_str("-----END CERTIFICATE-----\n");
        }
        pem
    }
}

/// The first byte of a certificate in DER: the tag of a sequence (X.690).
const DER: u8 = 0x30;

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut certificates = Vec::new();
    for (at, certificate) in (1..).zip(CertificateDer::pem_slice_iter(bytes)) {
        let certificate =
            certificate.map_err(|error| format!("is not valid PEM from certificate {at} on: {error}"))?;
        is_certificate(&certificate).map_err(|what| format!("cannot be used: certificate {at} {what}"))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() { Err(instead(bytes)) } else { Ok(certificates) }
}

fn is_certificate(certificate: &CertificateDer<'static>) -> Result<(), String> {
    match RootCertStore::empty().add(certificate.clone()) {
        Ok(()) => Ok(()),
        Err(Error::InvalidCertificate(CertificateError::BadEncoding)) => Err("is damaged".to_owned()),
        Err(error) => Err(format!("is rejected: {error}")),
    }
}

/// Describes what a file without certificates contains instead.
fn instead(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("PRIVATE KEY-----") {
        "contains a private key: use a file with the certificate of the server's CA".to_owned()
    } else if bytes.first() == Some(&DER) {
        "is in DER format: convert it with `openssl x509 -inform DER -in FILE -out FILE.pem`".to_owned()
    } else {
        "contains no PEM certificate: one begins with -----BEGIN CERTIFICATE-----".to_owned()
    }
}

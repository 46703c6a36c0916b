//! A certificate for a server on the loopback, signed by an authority that no system knows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// An authority, and a certificate of it.
pub struct Certificate {
    dir: TempDir,
}

impl Certificate {
    /// Makes one for 127.0.0.1, by way of OpenSSL.
    pub fn make() -> Self {
        let made = Self { dir: TempDir::new().unwrap() };
        let subject = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        made.openssl(
            &[
                &["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=an authority"],
                &subject[..],
            ]
            .concat(),
        );
        made.openssl(
            &[&["req", "-keyout", "key.pem", "-out", "request", "-subj", "/CN=a server"], &subject[..]]
                .concat(),
        );
        fs::write(made.path("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        made.openssl(&[
            "x509",
            "-req",
            "-in",
            "request",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-set_serial",
            "1",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            "cert.pem",
        ]);
        made
    }

    /// Who signed it.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The certificate itself.
    pub fn cert(&self) -> PathBuf {
        self.path("cert.pem")
    }

    /// Its key.
    pub fn key(&self) -> PathBuf {
        self.path("key.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let done = Command::new("openssl").args(arguments).current_dir(self.dir.path() as &Path).output();
        let done = done
            .unwrap_or_else(|error| panic!("{error}: Debian's package is `openssl`; tests/run installs it"));
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

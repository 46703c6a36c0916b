//! A certificate for a server on the loopback, signed by an authority that no system knows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

/// An authority, and a certificate of it.
pub struct Certificate {
    dir: TempDir,
}

impl Certificate {
    /// Makes a certificate for 127.0.0.1 with OpenSSL.
    pub fn make() -> Self {
        Self::of_an_authority_for("2")
    }

    /// The same, from an authority that expired yesterday.
    pub fn of_an_expired_authority() -> Self {
        Self::of_an_authority_for("-1")
    }

    fn of_an_authority_for(days: &str) -> Self {
        let made = Self { dir: TempDir::new().unwrap() };
        // The name is unique: authorities with the same name would differ only by their key.
        let authority = format!("/CN=the authority in {}", made.dir.path().file_name().unwrap().display());
        for (name, subject) in [("ca", authority.as_str()), ("server", "/CN=a server")] {
            let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
            let curve = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
            made.openssl(
                &[&["req", "-keyout", &key, "-out", &request, "-subj", subject], &curve[..]].concat(),
            );
        }
        fs::write(made.path("constraints"), "basicConstraints=critical,CA:TRUE\n").unwrap();
        fs::write(made.path("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let sign = |request: &str, by: &[&str], days: &str, extensions: &str, out: &str| {
            let request =
                ["x509", "-req", "-in", request, "-days", days, "-extfile", extensions, "-out", out];
            made.openssl(&[&request[..], by].concat());
        };
        sign("ca.csr", &["-signkey", "ca.key"], days, "constraints", "ca.pem");
        let by_authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "1"];
        sign("server.csr", &by_authority, "2", "names", "cert.pem");
        made
    }

    /// A file next to them.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// For a server of the test's own.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_file(self.cert()).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.key()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    /// For a client of the test's own, which trusts who signed it.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth())
    }

    /// The authority that signed it.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The certificate itself.
    pub fn cert(&self) -> PathBuf {
        self.path("cert.pem")
    }

    /// Its key.
    pub fn key(&self) -> PathBuf {
        self.path("server.key")
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

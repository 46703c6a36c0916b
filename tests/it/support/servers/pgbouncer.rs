//! PgBouncer, of Debian's package `pgbouncer`: a pooler of two connections in front of a server of the tests.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use super::{
    free_ports,
    postgres::{Server, as_nobody, psql},
    process::ServerProcess,
};

/// A pooler. Killed when it is dropped.
pub struct PgBouncer {
    port: u16,
    own: TempDir,
    _process: ServerProcess,
}

impl PgBouncer {
    /// Starts one with this `pool_mode`.
    pub fn start_new(server: &Server, pool_mode: &str) -> Self {
        let own = TempDir::new().unwrap();
        fs::set_permissions(own.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let users = own.path().join("users.txt");
        fs::write(&users, "\"bik\" \"secret\"\n").unwrap();
        let [port] = free_ports();
        let config = own.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\nbik = host=127.0.0.1 port={} dbname=bik\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = {pool_mode}\ndefault_pool_size = 2\n",
            server.port(),
            users.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = as_nobody(Path::new("pgbouncer"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.arg(config).env("PATH", format!("{path}:/usr/sbin"));
        let process =
            ServerProcess::start(&mut command, own.path(), || psql(port, "bik", "SELECT 1").is_ok());
        Self { port, own, _process: process }
    }

    /// Its URL, without a password.
    pub fn url(&self) -> String {
        format!("postgres://bik@127.0.0.1:{}/bik", self.port)
    }

    /// The result of a statement that another application sends through it.
    pub fn sql(&self, statement: &str) -> String {
        psql(self.port, "bik", statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.own.path().join("log")).unwrap()
    }
}

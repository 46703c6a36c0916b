//! Credentials of a NATS operator: JWTs signed by nkeys, and the `.creds` file of a user.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

/// When everything was issued, in seconds since 1970.
const ISSUED: u64 = 1_700_000_000;

/// An operator with an account that may do anything.
pub struct Operator {
    operator: KeyPair,
    account: KeyPair,
}

impl Operator {
    pub fn new() -> Self {
        Self { operator: KeyPair::new_operator(), account: KeyPair::new_account() }
    }

    /// The server configuration for it.
    pub fn server_config(&self) -> String {
        let system = KeyPair::new_account();
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1
        });
        let operator = signed(&self.operator, &self.operator, json!({ "type": "operator" }), None);
        let account = json!({ "type": "account", "limits": unlimited });
        format!(
            "operator: {operator:?}\nsystem_account: {0}\nresolver: MEMORY\nresolver_preload: {{ {0}: {1:?}, {2}: {3:?} }}\n",
            system.public_key(),
            signed(&self.operator, &system, json!({ "type": "account" }), None),
            self.account.public_key(),
            signed(&self.operator, &self.account, account, None),
        )
    }

    /// The content of the file of a user, which may have expired.
    pub fn credentials(&self, expired: bool) -> String {
        let user = KeyPair::new_user();
        let limits = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
        let jwt = signed(&self.account, &user, limits, expired.then_some(ISSUED + 1));
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed().unwrap()
        )
    }
}

fn signed(issuer: &KeyPair, subject: &KeyPair, mut nats: Value, expires: Option<u64>) -> String {
    nats["version"] = json!(2);
    let mut claims = json!({
        "jti": "for a test", "iat": ISSUED, "iss": issuer.public_key(), "name": "a test's", "sub": subject.public_key(),
        "nats": nats
    });
    if let Some(expires) = expires {
        claims["exp"] = json!(expires);
    }
    let part = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let text = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

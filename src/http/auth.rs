//! Authentication of senders (BIK T1).
//!
//! The value of the `Authorization` header is parsed into at most one candidate per [`Form`], and each candidate is
//! hashed. The digest of every candidate is compared with the digest of every credential, in constant time, and the
//! comparison does not stop at the first match. A credential that is a user name and password matches only in
//! [`Form::Pair`]. A credential that is a key matches only in the other forms. The settings `form` and `not_after` of a
//! credential are checked after a match. This check need not take constant time, because these settings are not secret.
//! If there are several `Authorization` headers, only the first counts; no sender has a reason to send two.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
};

use axum::http::HeaderValue;
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prometheus_client::metrics::counter::Counter;
use schemars::JsonSchema;
use serde::Serialize;
use subtle::ConstantTimeEq;

use super::{
    rules::{CheckedCredential, CredentialKind, sha256},
    settings::Form,
};
use crate::{clock::Timestamp, metrics::Metrics, names::names};

/// The longest header value that is checked, in bytes. A longer one matches nothing, because no credential can be that
/// long.
const LONGEST: usize = 8 * 1024;

/// The credentials of a source.
pub(super) struct Keyring {
    credentials: Vec<Credential>,
    /// True if any credential is a key. If not, only [`Form::Pair`] needs a candidate.
    has_keys: bool,
    denied: [Counter; Denied::ALL.len()],
}

impl Keyring {
    pub(super) fn new(source: &Arc<str>, credentials: &[CheckedCredential], metrics: &Metrics) -> Self {
        let has_keys = credentials.iter().any(|credential| credential.kind == CredentialKind::Key);
        let credentials =
            credentials.iter().map(|credential| Credential::new(source, credential, metrics)).collect();
        let denied = Denied::ALL.map(|why| {
            let labels = vec![("source", Arc::clone(source)), ("reason", why.as_str().into())];
            metrics.authentication_failures.get_or_create_owned(&labels)
        });
        Self { credentials, has_keys, denied }
    }

    /// Checks an `Authorization` header. Counts the match (credential and form), or the reason for the denial.
    pub(super) fn judge(&self, header: Option<&HeaderValue>, now: Timestamp) -> Result<(), Denied> {
        self.matching(header, now).inspect_err(|why| {
            self.denied[*why as usize].inc();
        })
    }

    fn matching(&self, header: Option<&HeaderValue>, now: Timestamp) -> Result<(), Denied> {
        let candidates = Candidates::of(header.ok_or(Denied::Missing)?.as_bytes(), self.has_keys);
        let mut denied = Denied::Wrong;
        let mut matched = None;
        for credential in &self.credentials {
            for (form, digest) in candidates.iter() {
                if !credential.is(form, digest) {
                    continue;
                }
                match credential.allows(form, now) {
                    Ok(()) => matched = matched.or(Some((credential, form))),
                    Err(why) => denied = why,
                }
            }
        }
        let (credential, form) = matched.ok_or(denied)?;
        credential.used(form, now);
        Ok(())
    }

    /// The status of each credential, sorted by name.
    pub(super) fn status(&self, source: &Arc<str>) -> impl Iterator<Item = CredentialStatus> {
        self.credentials.iter().map(|credential| credential.status(Arc::clone(source)))
    }
}

names! {
    /// Why a credential was not accepted. The log and the metrics contain the reason, the answer does not. The names
    /// are the values of the label `reason` in metrics.
    #[derive(thiserror::Error)]
    pub enum Denied {
        /// The request has no `Authorization` header.
        #[error("no Authorization header")]
        Missing = "missing",
        /// No credential matches the header.
        #[error("no credential matches")]
        Wrong = "wrong",
        /// The matching credential is past its `not_after`.
        #[error("the credential has expired (not_after)")]
        Expired = "expired",
        /// The matching credential is limited to another form.
        #[error("the credential came in a form that its setting `form` does not allow")]
        OtherForm = "other_form",
    }
}

/// A credential of a source with its last use, without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Credential")]
pub struct CredentialStatus {
    pub source: Arc<str>,
    pub name: Arc<str>,
    pub kind: CredentialKind,
    /// The only accepted form; null if every form of the credential's kind is accepted.
    pub pinned: Option<Form>,
    /// The form in which the credential last came; null if it was not used since the start of the process.
    pub form: Option<Form>,
    /// When the credential was last used; null if it was not used since the start of the process.
    pub last_used_at: Option<Timestamp>,
    /// Number of uses since the start of the process.
    pub uses: u64,
    /// The last moment at which the credential is accepted; null if it does not expire.
    pub not_after: Option<Timestamp>,
}

struct Credential {
    settings: CheckedCredential,
    uses: AtomicU64,
    last_used_ms: AtomicI64,
    last_form: AtomicU8,
    by_form: [Counter; Form::ALL.len()],
}

impl Credential {
    fn new(source: &Arc<str>, settings: &CheckedCredential, metrics: &Metrics) -> Self {
        let by_form = Form::ALL.map(|form| {
            metrics.authenticated.get_or_create_owned(&vec![
                ("source", Arc::clone(source)),
                ("credential", Arc::clone(&settings.name)),
                ("form", form.as_str().into()),
            ])
        });
        Self {
            settings: settings.clone(),
            uses: AtomicU64::new(0),
            last_used_ms: AtomicI64::new(0),
            last_form: AtomicU8::new(0),
            by_form,
        }
    }

    /// Returns whether the candidate is this credential. Takes the same time for a match and a mismatch.
    fn is(&self, form: Form, digest: &[u8; 32]) -> bool {
        self.settings.kind.comes_as(form) & bool::from(self.settings.digest.ct_eq(digest))
    }

    fn allows(&self, form: Form, now: Timestamp) -> Result<(), Denied> {
        if self.settings.form.is_some_and(|pinned| pinned != form) {
            Err(Denied::OtherForm)
        } else if self.settings.not_after.is_some_and(|end| now > end) {
            Err(Denied::Expired)
        } else {
            Ok(())
        }
    }

    fn used(&self, form: Form, now: Timestamp) {
        self.last_used_ms.store(now.as_ms(), Ordering::Relaxed);
        self.last_form.store(form as u8, Ordering::Relaxed);
        self.uses.fetch_add(1, Ordering::Relaxed);
        self.by_form[form as usize].inc();
    }

    fn status(&self, source: Arc<str>) -> CredentialStatus {
        let CheckedCredential { name, kind, form: pinned, not_after, .. } = &self.settings;
        let uses = self.uses.load(Ordering::Relaxed);
        let last_form = usize::from(self.last_form.load(Ordering::Relaxed));
        CredentialStatus {
            source,
            name: Arc::clone(name),
            kind: *kind,
            pinned: *pinned,
            form: Form::ALL.get(last_form).copied().filter(|_| uses > 0),
            last_used_at: (uses > 0).then(|| Timestamp::from_ms(self.last_used_ms.load(Ordering::Relaxed))),
            uses,
            not_after: *not_after,
        }
    }
}

/// The possible meanings of a header: at most one digest per form, in the order of [`Form::ALL`].
struct Candidates([Option<[u8; 32]>; Form::ALL.len()]);

impl Candidates {
    fn of(header: &[u8], as_keys: bool) -> Self {
        if header.len() > LONGEST {
            return Self([None; Form::ALL.len()]);
        }
        let whole = header.trim_ascii();
        let token = after_basic(whole);
        let decoded = token.and_then(decode);
        let pair = decoded.as_deref().and_then(split_pair);
        let digest = decoded.as_deref().filter(|_| as_keys || pair.is_some()).map(sha256);
        let key = |bytes: Option<&[u8]>| bytes.filter(|_| as_keys).map(sha256);
        let digests = [
            digest.filter(|_| pair.is_some()),
            key(Some(whole)),
            key(token),
            digest.filter(|_| as_keys),
            key(pair.map(|(user, _)| user)),
            key(pair.map(|(_, password)| password)),
        ];
        Self(digests)
    }

    fn iter(&self) -> impl Iterator<Item = (Form, &[u8; 32])> {
        let by_form = Form::ALL.into_iter().zip(&self.0);
        by_form.filter_map(|(form, digest)| digest.as_ref().map(|digest| (form, digest)))
    }
}

/// Returns the rest after the scheme `Basic` (in upper or lower case) and the blanks that follow it. `None` if the
/// header does not begin with them.
fn after_basic(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(5)?;
    let blank = rest.first().is_some_and(u8::is_ascii_whitespace);
    (blank && scheme.eq_ignore_ascii_case(b"basic")).then(|| rest.trim_ascii_start())
}

/// Decodes standard or URL-safe base64, with or without padding.
fn decode(token: &[u8]) -> Option<Vec<u8>> {
    const TOLERANT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let standard: Vec<u8> = token
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    TOLERANT.decode(standard).ok()
}

/// Splits into user name and password at the first colon, because a password may contain colons and a user name may
/// not (RFC 7617).
fn split_pair(decoded: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((&decoded[..colon], &decoded[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};

    use super::{
        super::{
            rules::{LONGEST_SECRET, Sources},
            settings::{AuthMode, CredentialSettings, SourceSettings},
        },
        *,
    };
    use crate::secret::Secret;

    fn ring(credentials: &[(&str, CredentialSettings)]) -> Keyring {
        let checked = credentials.iter().map(|(name, settings)| settings.check(name).unwrap());
        Keyring::new(&"bik".into(), &checked.collect::<Vec<_>>(), &Metrics::new())
    }

    fn key(key: &str) -> CredentialSettings {
        CredentialSettings { key: Some(Secret::new(key)), ..CredentialSettings::default() }
    }

    fn pair(username: &str, password: &str) -> CredentialSettings {
        CredentialSettings {
            username: Some(username.to_owned()),
            password: Some(Secret::new(password)),
            ..CredentialSettings::default()
        }
    }

    fn judge(ring: &Keyring, header: &str) -> Result<Form, Denied> {
        ring.judge(Some(&HeaderValue::from_str(header).unwrap()), Timestamp::from_ms(1_000))?;
        let last = ring.status(&"bik".into()).max_by_key(|status| status.uses).unwrap();
        Ok(last.form.unwrap())
    }

    fn wrong(settings: CredentialSettings) -> String {
        let source = SourceSettings {
            path: "/webhook".to_owned(),
            auth: AuthMode::Basic,
            credentials: BTreeMap::from([("portal".to_owned(), settings)]),
            rate: None,
            tenant: None,
        };
        let wrong = Sources::check([("bik", &source)]).err().expect("accepted");
        format!("sources.{}", wrong[0])
    }

    #[test]
    fn a_key_matches_in_every_form_except_as_a_pair() {
        let ring = ring(&[("portal", key("s3cret?key>"))]);
        let b64 = |text: &str| BASE64_STANDARD.encode(text);
        for (header, form) in [
            ("s3cret?key>".to_owned(), Form::Header),
            ("  s3cret?key> ".to_owned(), Form::Header),
            ("Basic s3cret?key>".to_owned(), Form::Plain),
            ("bAsIc \t s3cret?key> ".to_owned(), Form::Plain),
            (format!("Basic {}", b64("s3cret?key>")), Form::Base64),
            (format!("basic   {}", BASE64_URL_SAFE.encode("s3cret?key>")), Form::Base64),
            (format!("Basic {}", b64("s3cret?key>").trim_end_matches('=')), Form::Base64),
            (format!("Basic {}", b64("s3cret?key>:")), Form::User),
            (format!("Basic {}", b64("s3cret?key>:anything")), Form::User),
            (format!("Basic {}", b64(":s3cret?key>")), Form::Password),
            (format!("Basic {}", b64("anything:s3cret?key>")), Form::Password),
        ] {
            assert_eq!(judge(&ring, &header), Ok(form), "{header}");
        }
    }

    #[test]
    fn a_pair_matches_rfc_7617_only_and_splits_at_the_first_colon() {
        let ring = ring(&[("portal", pair("bik", "pa:ss"))]);
        let b64 = |text: &str| BASE64_STANDARD_NO_PAD.encode(text);
        assert_eq!(judge(&ring, &format!("Basic {}", b64("bik:pa:ss"))), Ok(Form::Pair));
        for header in [
            "bik:pa:ss".to_owned(),
            "Basic bik:pa:ss".to_owned(),
            format!("Basic {}", b64("bik:pa")),
            format!("Basic {}", b64("bik:pa:s")),
            format!("Basic {}", b64("bik")),
            format!("Basic {}", b64("pa:ss")),
            format!("Basic {}", b64(":pa:ss")),
            format!("Bearer {}", b64("bik:pa:ss")),
            format!("Basic{}", b64("bik:pa:ss")),
            "Basic".to_owned(),
            "Basic ".to_owned(),
            "Basic !!!".to_owned(),
            String::new(),
        ] {
            assert_eq!(judge(&ring, &header), Err(Denied::Wrong), "{header:?}");
        }
    }

    #[test]
    fn a_wrong_header_does_not_match_a_key() {
        let ring = ring(&[("portal", key("abcd"))]);
        for header in ["abc", "abcde", "ABCD", "Basic abc", "Bearer abcd", "Basic YWJj", "abcd abcd", ":"] {
            assert_eq!(judge(&ring, header), Err(Denied::Wrong), "{header:?}");
        }
        assert_eq!(ring.judge(None, Timestamp::from_ms(0)), Err(Denied::Missing));
        assert_eq!(judge(&ring, &"a".repeat(LONGEST + 1)), Err(Denied::Wrong));
    }

    #[test]
    fn a_pinned_form_is_the_only_one() {
        let ring = ring(&[("portal", CredentialSettings { form: Some(Form::Plain), ..key("abcd") })]);
        assert_eq!(judge(&ring, "Basic abcd"), Ok(Form::Plain));
        assert_eq!(judge(&ring, "abcd"), Err(Denied::OtherForm));
    }

    #[test]
    fn a_credential_expires_after_not_after_and_another_one_still_matches() {
        let old = CredentialSettings { not_after: Some(Timestamp::from_ms(999)), ..key("same") };
        let expired = ring(&[("old", old.clone())]);
        assert_eq!(judge(&expired, "same"), Err(Denied::Expired));
        let rotated = ring(&[("new", key("same")), ("old", old)]);
        assert_eq!(judge(&rotated, "same"), Ok(Form::Header));
        let last = CredentialSettings { not_after: Some(Timestamp::from_ms(1_000)), ..key("same") };
        assert_eq!(judge(&ring(&[("last", last)]), "same"), Ok(Form::Header));
    }

    #[test]
    fn a_use_is_recorded_with_its_form_and_time() {
        let ring = ring(&[("a", key("first")), ("b", pair("bik", "second"))]);
        let before: Vec<_> = ring.status(&"bik".into()).map(|s| (s.uses, s.form, s.last_used_at)).collect();
        assert_eq!(before, [(0, None, None), (0, None, None)]);
        judge(&ring, "Basic YmlrOnNlY29uZA").unwrap();
        let after: Vec<_> = ring.status(&"bik".into()).collect();
        assert_eq!(after[0].uses, 0);
        assert_eq!(
            after[1],
            CredentialStatus {
                source: "bik".into(),
                name: "b".into(),
                kind: CredentialKind::Pair,
                pinned: None,
                form: Some(Form::Pair),
                last_used_at: Some(Timestamp::from_ms(1_000)),
                uses: 1,
                not_after: None,
            }
        );
    }

    #[test]
    fn an_invalid_credential_is_refused() {
        let at = |key: &str| format!("sources.bik.credentials.portal{key}: ");
        assert_eq!(wrong(key(" ")), at(".key") + "must not be empty");
        assert_eq!(wrong(pair("", "x")), at(".username") + "must not be empty");
        assert_eq!(wrong(pair("x", "")), at(".password") + "must not be empty");
        assert!(wrong(pair("a:b", "x")).contains("colon"));
        let without_password = CredentialSettings { password: None, ..pair("a", "b") };
        assert_eq!(wrong(without_password), at("") + "the key `password` is missing");
        let both = CredentialSettings { key: Some(Secret::new("k")), ..pair("a", "b") };
        assert!(wrong(both).contains("only one"));
        assert!(wrong(CredentialSettings { form: Some(Form::User), ..pair("a", "b") }).contains(".form"));
        assert!(wrong(CredentialSettings { form: Some(Form::Pair), ..key("k") }).contains(".form"));
        let too_long = "k".repeat(LONGEST_SECRET + 1);
        assert_eq!(wrong(key(&too_long)), at(".key") + "must not be longer than 2 KiB");
        assert_eq!(wrong(pair("u", &too_long[2..])), at(".password") + "must not be longer than 2 KiB");
    }
}

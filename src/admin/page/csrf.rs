//! Makes the CSRF tokens of forms, and signs notices (the results of forms) and the permission to see personal data.
//! All signatures use a random key of this process, so that the server stores nothing per browser.
//!
//! A browser gets a random name in a cookie. The token in each form is a signature over that name. Another site can at
//! most make the browser send the cookie; that site never learns the token. The permission to see personal data is a
//! second cookie: a signature over the name and an expiry time. A third cookie carries the notice to the next page.

use axum::http::{HeaderMap, HeaderValue, header::COOKIE};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;

/// The cookie with the browser's name.
const BROWSER: &str = "bikhook-browser";
/// The cookie with the result of a form, for the browser's next page.
const NOTICE: &str = "bikhook-notice";
/// The lifetime of a notice. The answer to a form redirects to the next page, so the browser usually shows the notice
/// at once. A notice not shown within this time is lost.
const NOTICE_SECS: i64 = 60;
/// The cookie that lets a browser see personal data until the time in the cookie.
const SHOWN: &str = "bikhook-shown";
/// How long personal data is shown, in milliseconds.
pub(super) const SHOWN_MS: i64 = 15 * 60 * 1_000;

/// The signing key of this process; `None` if the system provided no random bytes. Without a key no token is valid, no
/// personal data is shown, and no notice is kept.
pub(in crate::admin) struct CsrfKey(Option<Hmac<Sha256>>);

/// The result of a form, for the browser's next page.
pub(super) struct Notice {
    /// True if the notice is shown as a success, false if it is shown as a warning.
    pub(super) done: bool,
    /// The result in a sentence.
    pub(super) text: String,
}

/// A browser, identified by the random name in its cookie.
#[derive(Clone)]
pub(super) struct Browser {
    name: String,
    /// The name is new, and the browser does not have its cookie yet.
    fresh: bool,
}

impl CsrfKey {
    /// Generates a random key. Signatures from before a restart become invalid.
    pub(in crate::admin) fn new() -> Self {
        Self(random::<32>().and_then(|key| Hmac::new_from_slice(&key).ok()))
    }

    /// The token for forms of this browser.
    pub(super) fn token(&self, browser: &Browser) -> String {
        self.sign(&format!("form {}", browser.name)).unwrap_or_default()
    }

    /// Returns whether `token` is valid for forms of this browser.
    pub(super) fn knows(&self, browser: &Browser, token: &str) -> bool {
        !browser.fresh && self.is(&format!("form {}", browser.name), token)
    }

    /// The time until which the browser is shown personal data; `None` if it is masked.
    pub(super) fn shown_until(
        &self,
        browser: &Browser,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let (until, signature) = cookie(headers, SHOWN)?.split_once('.')?;
        let until = Timestamp::from_ms(until.parse().ok()?);
        let holds = self.is(&format!("shown {} {}", browser.name, until.as_ms()), signature);
        (holds && until > now && until.ms_since(now) <= SHOWN_MS).then_some(until)
    }

    /// The cookie that lets a browser see personal data for [`SHOWN_MS`] from now.
    pub(super) fn show(&self, browser: &Browser, now: Timestamp) -> Option<HeaderValue> {
        let until = now.plus_ms(SHOWN_MS).as_ms();
        let signature = self.sign(&format!("shown {} {until}", browser.name))?;
        set(SHOWN, &format!("{until}.{signature}"), Some(SHOWN_MS / 1_000))
    }

    /// An expired cookie, which deletes the cookie of [`Self::show`]. Personal data is then masked again.
    pub(super) fn hide(&self) -> Option<HeaderValue> {
        set(SHOWN, "", Some(0))
    }

    /// The cookie with a signed notice for the browser's next page.
    pub(super) fn notice(&self, browser: &Browser, notice: &Notice) -> Option<HeaderValue> {
        let signature = self.sign(&notice.signed(browser))?;
        let text = BASE64_URL_SAFE_NO_PAD.encode(&notice.text);
        set(NOTICE, &format!("{}.{text}.{signature}", u8::from(notice.done)), Some(NOTICE_SECS))
    }

    /// The notice in the request's cookie, if its signature is valid.
    pub(super) fn noticed(&self, browser: &Browser, headers: &HeaderMap) -> Option<Notice> {
        let (done, rest) = cookie(headers, NOTICE)?.split_once('.')?;
        let done = match done {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let (text, signature) = rest.split_once('.')?;
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let notice = Notice { done, text };
        self.is(&notice.signed(browser), signature).then_some(notice)
    }

    fn sign(&self, text: &str) -> Option<String> {
        let mut mac = self.0.clone()?;
        mac.update(text.as_bytes());
        Some(BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// Returns whether `signature` is the signature of `text`.
    fn is(&self, text: &str, signature: &str) -> bool {
        self.sign(text).is_some_and(|right| right.as_bytes().ct_eq(signature.as_bytes()).into())
    }
}

impl Notice {
    fn signed(&self, browser: &Browser) -> String {
        format!("notice {} {} {}", browser.name, self.done, self.text)
    }
}

impl Browser {
    /// Identifies the browser of a request by its cookie. A browser without a valid cookie gets a new name.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let known = cookie(headers, BROWSER).filter(|name| {
            name.len() == 43 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        });
        match known {
            Some(name) => Self { name: name.to_owned(), fresh: false },
            None => {
                let name = random::<32>().map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
                Self { name: name.unwrap_or_default(), fresh: true }
            }
        }
    }

    /// The cookie with the browser's name, if the name is new.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        self.fresh.then(|| set(BROWSER, &self.name, None))?
    }
}

/// The cookie that deletes a notice after it was shown.
pub(super) fn expired_notice() -> Option<HeaderValue> {
    set(NOTICE, "", Some(0))
}

/// Cryptographically random bytes; `None` if the system provides none.
pub(super) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(bytes),
        Err(error) => {
            tracing::error!(%error, "random bytes unavailable: forms of the page are rejected");
            None
        }
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn set(name: &str, value: &str, max_age_secs: Option<i64>) -> Option<HeaderValue> {
    let age = max_age_secs.map(|secs| format!("; Max-Age={secs}")).unwrap_or_default();
    HeaderValue::try_from(format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{age}")).ok()
}

//! Maps errors of the store to delivery failures. The store's error codes are those of the S3 API ("List of error
//! codes"). The library gives a code only inside the text of an error.

use std::{error::Error as StdError, io, iter};

use object_store::Error;

use crate::handler::{Failure, FailureText, tls};

/// Codes that a retry cannot resolve: the credentials, the account, the bucket or this machine's clock is wrong, never
/// the event.
const WRONG: [&str; 16] = [
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "IllegalLocationConstraintException",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidToken",
    "KMS.NotFoundException",
    "NoSuchBucket",
    "NotSignedUp",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// Codes of a store that is temporarily unwell.
const UNWELL: [&str; 5] =
    ["InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"];

/// The address of the machine's metadata service, where the library searches for credentials last.
const METADATA: &str = "169.254.169.254";

/// The status with which a proxy in front of the store rejects an object that is too large. The batch is then halved
/// and retried, because half of it may fit. The store itself has an error code for this. The text is the library's
/// format of the status (RFC 9110, section 15.5.14).
const TOO_LARGE: &str = "413 Payload Too Large";

/// The failure for an error of the store.
pub(super) fn of(error: &Error) -> Failure {
    let text = FailureText::with_causes(error);
    let whole = text.whole();
    if let Some(code) = code(&whole) {
        let known = |codes: &[&'static str]| codes.iter().find(|known| **known == code).copied();
        return match (known(&WRONG), known(&UNWELL)) {
            (Some(class), _) => Failure::misconfigured(class, text),
            (None, Some(class)) => Failure::retry(class, text),
            (None, None) if code == "EntityTooLarge" => Failure::refuse("EntityTooLarge", text),
            (None, None) => Failure::retry("unknown error", text),
        };
    }
    if whole.contains(METADATA) {
        let advice = "set `access_key_id` and `secret_access_key`, or the variables AWS_ACCESS_KEY_ID and \
                    AWS_SECRET_ACCESS_KEY, or run on a machine that has a role";
        let failure = Failure::misconfigured("no credentials", "no credentials found");
        return failure.saying(format_args!("{advice} ({whole})"));
    }
    if let Some(advice) = tls::advice(error) {
        return Failure::misconfigured("tls", text.saying(advice));
    }
    if whole.contains(TOO_LARGE) {
        return Failure::refuse("too large", text);
    }
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Failure::misconfigured("AccessDenied", text)
        }
        Error::NotFound { .. } => Failure::misconfigured("not found", text),
        _ => Failure::retry(network_class(error), text),
    }
}

fn code(text: &str) -> Option<&str> {
    text.split_once("<Code>")?.1.split_once("</Code>").map(|(code, _)| code)
}

fn network_class(error: &Error) -> &'static str {
    let mut causes = iter::successors(StdError::source(error), |cause| (*cause).source());
    let class = |cause: &(dyn StdError + 'static)| match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some("connection refused"),
        io::ErrorKind::TimedOut => Some("timeout"),
        _ => None,
    };
    causes.find_map(class).unwrap_or("no usable answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_misconfigured_or_retried() {
        let answer =
            |code| format!("status code: 403: <Error><Code>{code}</Code><Message>m</Message></Error>");
        for (text, expected) in [
            (answer("NoSuchBucket"), ("misconfigured", "NoSuchBucket")),
            (answer("SlowDown"), ("retry", "SlowDown")),
            (answer("Nonsense +910000000000"), ("retry", "unknown error")),
            ("PUT http://169.254.169.254/latest/api/token".to_owned(), ("misconfigured", "no credentials")),
            ("status code: 502".to_owned(), ("retry", "no usable answer")),
        ] {
            let failure = of(&Error::Generic { store: "S3", source: text.into() });
            assert_eq!(failure.outcome(), expected, "{failure}");
        }
    }
}

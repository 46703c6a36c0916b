//! Detects valid JSON (RFC 8259) that `jsonb` cannot hold: `\u0000`, an unpaired surrogate, or a number with more
//! digits than `numeric` allows.

/// Maximum number of digits of a `numeric` before the decimal point (PostgreSQL, "Numeric Types").
const WHOLE_DIGITS: i64 = 131_072;
/// Maximum number of digits of a `numeric` after the decimal point.
const FRACTION_DIGITS: i64 = 16_383;

/// Returns whether `jsonb` can hold this text, which must be valid JSON.
pub(super) fn can_hold(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let good = match bytes[at] {
            b'"' => string(bytes, &mut at),
            b'-' | b'0'..=b'9' => number(bytes, &mut at),
            _ => {
                at += 1;
                true
            }
        };
        if !good {
            return false;
        }
    }
    true
}

/// Skips the string that starts at `at`. Returns false if jsonb cannot hold it.
fn string(bytes: &[u8], at: &mut usize) -> bool {
    *at += 1;
    while *at < bytes.len() {
        match bytes[*at] {
            b'"' => {
                *at += 1;
                return true;
            }
            b'\\' => match unit(bytes, *at) {
                None => *at += 2,
                Some(0 | 0xdc00..=0xdfff) => return false,
                Some(0xd800..=0xdbff) => {
                    if !matches!(unit(bytes, *at + 6), Some(0xdc00..=0xdfff)) {
                        return false;
                    }
                    *at += 12;
                }
                Some(_) => *at += 6,
            },
            _ => *at += 1,
        }
    }
    true
}

/// The code unit of the escape `\uXXXX` at `at`; `None` if there is no such escape.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
}

/// Skips the number that starts at `at`. Returns false if jsonb cannot hold it.
fn number(bytes: &[u8], at: &mut usize) -> bool {
    let is_of_it = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = bytes[*at..].iter().take_while(is_of_it).count();
    let text = &bytes[*at..*at + length];
    *at += length;
    let mantissa_end = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let exponent = text.get(mantissa_end + 1..).unwrap_or_default();
    let Ok(exponent) = std::str::from_utf8(exponent)
        .unwrap_or_default()
        .parse::<i64>()
        .or_else(|error| if exponent.is_empty() { Ok(0) } else { Err(error) })
    else {
        return false;
    };
    let digits = |part: &[u8]| part.iter().filter(|byte| byte.is_ascii_digit()).count() as i64;
    let point = text[..mantissa_end].iter().position(|byte| *byte == b'.').unwrap_or(mantissa_end);
    let whole = digits(&text[..point]).saturating_add(exponent);
    let fraction = digits(&text[point..mantissa_end]).saturating_sub(exponent);
    whole <= WHOLE_DIGITS && fraction <= FRACTION_DIGITS
}

#[cfg(test)]
mod tests {
    use super::can_hold;

    #[test]
    fn json_that_jsonb_cannot_hold_is_detected() {
        for good in [
            r#"{"a":"\ud83d\ude00 \\u0000 \" \u0001","b":-1.5e10}"#,
            "1e131071",
            "1e-16383",
            "123456789012345678901234567890.5",
            r#"["0e5","1e999999999"]"#,
        ] {
            assert!(can_hold(good), "{good}");
        }
        for bad in [
            r#"{"a":"\u0000"}"#,
            r#"{"\u0000":1}"#,
            r#""\\\u0000""#,
            r#""\ud83d""#,
            r#""\ud83d x""#,
            r#""\ude00\ud83d""#,
            r#""\ud83d\ud83d\ude00""#,
            "1e131072",
            "[1e99999999999999999999]",
            "1e-16384",
        ] {
            assert!(!can_hold(bad), "{bad}");
        }
    }
}

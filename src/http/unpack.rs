//! Decompression by Content-Encoding (BIK T12): gzip and deflate, with a limit on the decompressed size.

use std::io::{self, Read};

use axum::http::{HeaderMap, header::CONTENT_ENCODING};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, bufread::GzDecoder};
use tokio::time::Instant;

use super::body::extend_within;

/// Deflate expands one byte to at most this many bytes.
const MOST_PER_BYTE: u64 = 1032;
const STEP: usize = 16 * 1024;
/// The maximum number of members of a gzip body.
const MEMBERS_MAX: usize = 10_000;

/// The supported values of Content-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    /// zlib (RFC 9110), or raw deflate, which some senders use under this name.
    Deflate,
}

/// A Content-Encoding that is not supported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownCoding;

impl Coding {
    /// Reads the headers. Several codings on top of each other are not supported.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, UnknownCoding> {
        let mut coding = Self::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            for name in value.to_str().map_err(|_not_ascii| UnknownCoding)?.split(',') {
                let next = Self::named(name.trim())?;
                if next == Self::Identity {
                    continue;
                }
                if coding != Self::Identity {
                    return Err(UnknownCoding);
                }
                coding = next;
            }
        }
        Ok(coding)
    }

    fn named(name: &str) -> Result<Self, UnknownCoding> {
        match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            _ => Err(UnknownCoding),
        }
    }

    /// Returns the most memory that a body can take, compressed plus decompressed, in bytes. `declared` is its
    /// Content-Length.
    pub(super) fn most_bytes(self, declared: Option<u64>, limit: u64) -> u64 {
        let packed = declared.unwrap_or(limit).min(limit);
        match self {
            Self::Identity => packed,
            Self::Gzip | Self::Deflate => packed + packed.saturating_mul(MOST_PER_BYTE).min(limit),
        }
    }

    /// Decompresses a body. Fails as soon as the result exceeds `limit` bytes, or at `until`.
    pub(super) fn unpack(self, packed: &Bytes, limit: usize, until: Instant) -> Result<Bytes, UnpackError> {
        match self {
            Self::Identity => Ok(packed.clone()),
            Self::Gzip => gunzip(packed, limit, until),
            Self::Deflate => match inflate(packed, limit, until, true) {
                Err(UnpackError::Broken(_)) => inflate(packed, limit, until, false),
                unpacked => unpacked,
            },
        }
    }
}

/// Why a body could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("the decompressed body is larger than the limit")]
    TooLarge,
    #[error("decompression took too long")]
    TooLate,
    #[error("the body is not valid for its Content-Encoding: {0}")]
    Broken(#[from] io::Error),
}

/// Decompresses one or several gzip members; each ends with a checksum. The number of members is limited because
/// starting one costs as much as decompressing some KB, even if the member is empty.
fn gunzip(packed: &[u8], limit: usize, until: Instant) -> Result<Bytes, UnpackError> {
    let mut rest = packed;
    let mut unpacked = Vec::new();
    let mut step = [0; STEP];
    for _ in 0..MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        loop {
            in_time(until)?;
            match member.read(&mut step)? {
                0 => break,
                n => extend(&mut unpacked, &step[..n], limit)?,
            }
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(unpacked.into());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "too many gzip members").into())
}

fn in_time(until: Instant) -> Result<(), UnpackError> {
    if Instant::now() < until { Ok(()) } else { Err(UnpackError::TooLate) }
}

/// Decompresses one zlib stream (or raw deflate if `zlib` is false). The stream must end exactly at the last byte,
/// because raw deflate has no checksum, and the start of other data may look like a valid stream. (flate2's readers are
/// not used, because they do not tell a complete stream from a truncated one.)
fn inflate(packed: &[u8], limit: usize, until: Instant, zlib: bool) -> Result<Bytes, UnpackError> {
    let mut decoder = Decompress::new(zlib);
    let mut unpacked = Vec::new();
    let mut step = [0; STEP];
    loop {
        let rest =
            usize::try_from(decoder.total_in()).ok().and_then(|read| packed.get(read..)).unwrap_or(&[]);
        in_time(until)?;
        let before = decoder.total_out();
        let status = decoder.decompress(rest, &mut step, FlushDecompress::None).map_err(io::Error::from)?;
        let n = (decoder.total_out() - before) as usize;
        extend(&mut unpacked, &step[..n], limit)?;
        let read_all = decoder.total_in() == packed.len() as u64;
        match status {
            Status::StreamEnd if read_all => return Ok(unpacked.into()),
            Status::StreamEnd => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
            Status::Ok | Status::BufError if n == 0 && read_all => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

fn extend(unpacked: &mut Vec<u8>, more: &[u8], limit: usize) -> Result<(), UnpackError> {
    if more.len() > limit - unpacked.len() {
        return Err(UnpackError::TooLarge);
    }
    extend_within(limit, unpacked, more);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use axum::http::HeaderValue;
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    fn coding(values: &[&str]) -> Result<Coding, UnknownCoding> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        Coding::of(&headers)
    }

    #[test]
    fn codings_are_read_in_any_case_and_only_one_is_supported() {
        assert_eq!(coding(&[]), Ok(Coding::Identity));
        assert_eq!(coding(&[" identity , GZip"]), Ok(Coding::Gzip));
        assert_eq!(coding(&["identity", "deflate"]), Ok(Coding::Deflate));
        for other in [&["br"][..], &["zstd"], &["gzip, gzip"], &["gzip", "deflate"]] {
            assert_eq!(coding(other), Err(UnknownCoding), "{other:?}");
        }
    }

    #[test]
    fn the_most_memory_of_a_body_counts_both_its_sizes() {
        assert_eq!(Coding::Identity.most_bytes(Some(100), 5_000), 100);
        assert_eq!(Coding::Identity.most_bytes(None, 5_000), 5_000);
        assert_eq!(Coding::Gzip.most_bytes(Some(2), 5_000), 2 + 2_064);
        assert_eq!(Coding::Gzip.most_bytes(Some(100), 5_000), 100 + 5_000);
        assert_eq!(Coding::Deflate.most_bytes(None, 5_000), 10_000);
    }

    #[test]
    fn gzip_with_one_or_several_members_is_unpacked() {
        let packed = Bytes::from([gzip(b"[1,"), gzip(b"2]")].concat());
        assert_eq!(Coding::Gzip.unpack(&packed, 100, later()).unwrap(), "[1,2]");
        assert_eq!(Coding::Gzip.unpack(&gzip(b"[]").into(), 2, later()).unwrap(), "[]");
    }

    #[test]
    fn deflate_is_zlib_or_raw_and_truncated_data_is_an_error() {
        let body = vec![b"[1,2]".as_slice(); 20_000].concat();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&body).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&body).unwrap();
        for packed in [zlib.finish().unwrap(), raw.finish().unwrap()] {
            let unpack = |packed: &[u8], limit| {
                Coding::Deflate.unpack(&Bytes::copy_from_slice(packed), limit, later())
            };
            assert_eq!(unpack(&packed, 100_000).unwrap(), body);
            assert!(matches!(unpack(&packed, 99_999), Err(UnpackError::TooLarge)));
            for torn in [1, packed.len() / 2, packed.len() - 1] {
                assert!(matches!(unpack(&packed[..torn], 100_000), Err(UnpackError::Broken(_))), "{torn}");
            }
            let longer = [packed.as_slice(), b"x"].concat();
            assert!(matches!(unpack(&longer, 100_000), Err(UnpackError::Broken(_))));
        }
    }

    #[test]
    fn exactly_the_limit_is_not_too_large() {
        let packed = Bytes::from(gzip(&[b' '; 5_000]));
        assert_eq!(Coding::Gzip.unpack(&packed, 5_000, later()).unwrap().len(), 5_000);
        assert!(matches!(Coding::Gzip.unpack(&packed, 4_999, later()), Err(UnpackError::TooLarge)));
    }

    #[test]
    fn truncated_data_and_other_data_are_an_error() {
        let whole = gzip(b"[1,2,3]");
        for packed in [&whole[..whole.len() - 3], &b"[1,2,3]"[..], b""] {
            let unpacked = Coding::Gzip.unpack(&Bytes::copy_from_slice(packed), 100, later());
            assert!(matches!(unpacked, Err(UnpackError::Broken(_))), "{packed:?}");
        }
        let unpacked = Coding::Deflate.unpack(&Bytes::from_static(b"{\"eventName\":\"x\"}"), 100, later());
        assert!(matches!(unpacked, Err(UnpackError::Broken(_))));
    }

    #[test]
    fn a_gzip_body_with_too_many_members_is_an_error() {
        let unpack = |members| {
            let packed: Bytes = [gzip(b"").repeat(members - 1), gzip(b"[]")].concat().into();
            Coding::Gzip.unpack(&packed, 100, later())
        };
        assert_eq!(unpack(MEMBERS_MAX).unwrap(), "[]");
        assert!(matches!(unpack(MEMBERS_MAX + 1), Err(UnpackError::Broken(_))));
    }

    #[test]
    fn unpacking_stops_at_its_deadline() {
        let past = Instant::now();
        for (coding, packed) in [(Coding::Gzip, gzip(b"[]")), (Coding::Deflate, b"\x03\x00".to_vec())] {
            assert!(
                matches!(coding.unpack(&packed.into(), 100, past), Err(UnpackError::TooLate)),
                "{coding:?}"
            );
        }
    }
}

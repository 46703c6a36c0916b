//! Content-Encoding (BIK T12): gzip and deflate, with a cap on what comes out.

use std::io::{self, Read};

use axum::http::{HeaderMap, header::CONTENT_ENCODING};
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::body::extend_within;

/// Deflate makes at most so many bytes of one.
const MOST_PER_BYTE: u64 = 1032;
const STEP: usize = 16 * 1024;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    /// zlib (RFC 9110), or raw deflate, which some senders mean by it.
    Deflate,
}

/// A Content-Encoding that is not read here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownCoding;

impl Coding {
    /// From the headers; several codings on top of each other are not read.
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

    /// The most memory that a body can take, packed and unpacked, of which `declared` bytes come in by the wire.
    pub(super) fn most_bytes(self, declared: Option<u64>, limit: u64) -> u64 {
        let packed = declared.unwrap_or(limit).min(limit);
        match self {
            Self::Identity => packed,
            Self::Gzip | Self::Deflate => packed + packed.saturating_mul(MOST_PER_BYTE).min(limit),
        }
    }

    /// Unpacks a body to at most `limit` bytes, never holding more.
    pub(super) fn unpack(self, packed: &Bytes, limit: usize) -> Result<Bytes, UnpackError> {
        match self {
            Self::Identity => Ok(packed.clone()),
            Self::Gzip => read(MultiGzDecoder::new(packed.as_ref()), limit),
            Self::Deflate => match read(ZlibDecoder::new(packed.as_ref()), limit) {
                Err(UnpackError::Broken(_)) => read(DeflateDecoder::new(packed.as_ref()), limit),
                unpacked => unpacked,
            },
        }
    }
}

/// Why a body could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("more than the limit comes out of it")]
    TooLarge,
    #[error("it is not what its Content-Encoding says: {0}")]
    Broken(#[source] io::Error),
}

fn read(mut packed: impl Read, limit: usize) -> Result<Bytes, UnpackError> {
    let mut unpacked = Vec::new();
    let mut step = [0; STEP];
    loop {
        match packed.read(&mut step) {
            Ok(0) => return Ok(unpacked.into()),
            Ok(n) if n > limit - unpacked.len() => return Err(UnpackError::TooLarge),
            Ok(n) => extend_within(limit, &mut unpacked, &step[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(UnpackError::Broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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

    fn coding(values: &[&str]) -> Result<Coding, UnknownCoding> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        Coding::of(&headers)
    }

    #[test]
    fn codings_are_read_in_any_case_and_one_at_a_time() {
        assert_eq!(coding(&[]), Ok(Coding::Identity));
        assert_eq!(coding(&[" identity , GZip"]), Ok(Coding::Gzip));
        assert_eq!(coding(&["identity", "deflate"]), Ok(Coding::Deflate));
        for other in [&["br"][..], &["zstd"], &["gzip, gzip"], &["gzip", "deflate"]] {
            assert_eq!(coding(other), Err(UnknownCoding), "{other:?}");
        }
    }

    #[test]
    fn the_most_that_a_body_can_take_counts_both_its_sizes() {
        assert_eq!(Coding::Identity.most_bytes(Some(100), 5_000), 100);
        assert_eq!(Coding::Identity.most_bytes(None, 5_000), 5_000);
        assert_eq!(Coding::Gzip.most_bytes(Some(2), 5_000), 2 + 2_064);
        assert_eq!(Coding::Gzip.most_bytes(Some(100), 5_000), 100 + 5_000);
        assert_eq!(Coding::Deflate.most_bytes(None, 5_000), 10_000);
    }

    #[test]
    fn gzip_of_one_and_of_several_members_comes_out_whole() {
        let packed = Bytes::from([gzip(b"[1,"), gzip(b"2]")].concat());
        assert_eq!(Coding::Gzip.unpack(&packed, 100).unwrap(), "[1,2]");
        assert_eq!(Coding::Gzip.unpack(&gzip(b"[]").into(), 2).unwrap(), "[]");
    }

    #[test]
    fn deflate_is_zlib_or_raw() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"[1,2]").unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(b"[1,2]").unwrap();
        for packed in [zlib.finish().unwrap(), raw.finish().unwrap()] {
            assert_eq!(Coding::Deflate.unpack(&packed.into(), 100).unwrap(), "[1,2]");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = Bytes::from(gzip(&vec![b' '; 10_000_000]));
        assert!(bomb.len() < 20_000);
        assert!(matches!(Coding::Gzip.unpack(&bomb, 1_000_000), Err(UnpackError::TooLarge)));
    }

    #[test]
    fn exactly_the_limit_is_not_too_large() {
        let packed = Bytes::from(gzip(&[b' '; 5_000]));
        assert_eq!(Coding::Gzip.unpack(&packed, 5_000).unwrap().len(), 5_000);
        assert!(matches!(Coding::Gzip.unpack(&packed, 4_999), Err(UnpackError::TooLarge)));
    }

    #[test]
    fn what_is_cut_off_or_no_gzip_at_all_is_broken() {
        let whole = gzip(b"[1,2,3]");
        for packed in [&whole[..whole.len() - 3], &b"[1,2,3]"[..], b""] {
            let unpacked = Coding::Gzip.unpack(&Bytes::copy_from_slice(packed), 100);
            assert!(matches!(unpacked, Err(UnpackError::Broken(_))), "{packed:?}");
        }
        let unpacked = Coding::Deflate.unpack(&Bytes::from_static(b"[1,2,3]"), 100);
        assert!(matches!(unpacked, Err(UnpackError::Broken(_))));
    }
}

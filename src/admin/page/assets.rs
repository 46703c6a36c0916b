//! The page's static files. They are embedded in the binary, and their URLs contain a digest of their bytes, so that a
//! browser fetches each version once. Third-party files in `assets/` are unmodified; its `README.md` lists their
//! origins.

use std::sync::LazyLock;

use axum::{
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use crate::admin::error::RequestError;

/// A static file with its content type.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr,)*) => {
        const ASSETS: &[Asset] =
            &[$(Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("assets/", $name)) },)*];
    };
}

assets! {
    "htmx.min.js": SCRIPT,
    "icon.svg": "image/svg+xml",
    "live.js": SCRIPT,
    "page.css": STYLE,
    "page.js": SCRIPT,
    "htmx.LICENSE": TEXT,
    "uPlot.LICENSE": TEXT,
    "uPlot.iife.min.js": SCRIPT,
    "uPlot.min.css": STYLE,
}

/// The URLs, in the order of [`ASSETS`].
static URLS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let url = |asset: &Asset| format!("/assets/{}/{}", digest(asset.bytes), asset.name);
    ASSETS.iter().map(url).collect()
});

/// The URL of a file, or an empty string if the file does not exist. A test fetches the files of two pages.
pub(super) fn url(name: &str) -> &'static str {
    let at = ASSETS.iter().position(|asset| asset.name == name);
    at.and_then(|at| URLS.get(at)).map_or("", String::as_str)
}

/// The file with this digest and name, which a browser may store for a year.
pub(super) fn file(digest: &str, name: &str) -> Result<Response, RequestError> {
    let path = format!("/assets/{digest}/{name}");
    let asset = ASSETS.iter().zip(URLS.iter()).find(|(_, url)| **url == path);
    let (asset, _) = asset.ok_or_else(|| RequestError::NotFound("such file".to_owned()))?;
    let forever = "public, max-age=31536000, immutable";
    Ok(([(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, forever)], asset.bytes).into_response())
}

/// The first 16 hex digits of the SHA-256.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn third_party_files_match_their_checksums() {
        let sums = include_str!("assets/SHA256SUMS");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page/assets");
        let mut looked_at = 0;
        for line in sums.lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            let bytes = std::fs::read(folder.join(name)).unwrap();
            assert_eq!(digest(&bytes), sum[..16], "{name}");
            looked_at += 1;
        }
        assert_eq!(looked_at, 5);
        for asset in ASSETS {
            let own = ["icon.svg", "live.js", "page.css", "page.js"].contains(&asset.name);
            assert!(own || sums.contains(asset.name), "{} has no checksum", asset.name);
        }
    }
}

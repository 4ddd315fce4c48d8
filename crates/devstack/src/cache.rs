//! The cache of downloaded engines, which all clones of a user share.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The folder of the cache, which is created if it does not exist.
pub fn engine_cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache"),
    };
    let cache = base.join("bigtech-chat/engines");
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    Ok(cache)
}

/// Creates a folder under a temporary name beside `folder` and renames it, so that an interrupted or concurrent start
/// leaves no incomplete folder.
pub async fn create_atomically(folder: &Path, fill: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    let draft = folder.with_extension(format!("new-{}", std::process::id()));
    let filled = fill(&draft).await;
    if filled.is_err() || fs::rename(&draft, folder).is_err() {
        // The draft is incomplete, or a concurrent start has created the folder.
        let _ = fs::remove_dir_all(&draft);
    }
    filled
}

/// The first 64 bits of the SHA-256 digest: the same for every version of this program, and short enough for paths.
pub fn digest(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes).iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_beginning_of_the_sha_256_digest() {
        assert_eq!(digest(b"abc"), 0xba78_16bf_8f01_cfea);
    }
}

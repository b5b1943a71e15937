//! The fingerprint of the border: two libraries that were built from different versions of it must
//! not call each other.
//!
//! The sources that declare the border are hashed as text, so that a change of meaning that keeps
//! every size (two fields swapped, a flag renumbered) counts, too; sizes are added for what the
//! target decides. See "Upgrades under a running Apache" in ARCHITECTURE.md.

use crate::{EngineTable, Failure, Hook, HostTable, Load, Record, Request, Start, Stop};

/// First field of every table that crosses the border.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Size of the whole table in bytes.
    pub size: u64,
    /// [`ABI`] of the build that made the table.
    pub abi: u64,
}

impl Header {
    /// The header of a `T` made by this build.
    pub const fn of<T>() -> Header {
        Header { size: size_of::<T>() as u64, abi: ABI }
    }

    /// Whether a `T` of this build can be read behind this header.
    pub const fn fits<T>(&self) -> bool {
        self.size == size_of::<T>() as u64 && self.abi == ABI
    }
}

/// Hash of everything that crosses the border.
pub const ABI: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    hash = add(hash, env!("CARGO_PKG_VERSION").as_bytes());
    hash = add(hash, include_bytes!("table.rs"));
    hash = add(hash, include_bytes!("hook.rs"));
    hash = add(hash, include_bytes!("place.rs"));
    hash = add(hash, include_bytes!("scoreboard.rs"));
    hash = add(hash, include_bytes!("slice.rs"));
    hash = add(hash, include_bytes!("failure.rs"));
    hash = add(hash, include_bytes!("worker.rs"));
    let sizes = [
        size_of::<EngineTable>(),
        size_of::<HostTable>(),
        size_of::<Start<'_>>(),
        size_of::<Request<'_>>(),
        size_of::<Hook<'_>>(),
        size_of::<Load<'_>>(),
        size_of::<Stop<'_>>(),
        size_of::<Record<'_>>(),
        size_of::<Failure>(),
        align_of::<EngineTable>(),
    ];
    let mut i = 0;
    while i < sizes.len() {
        hash = add(hash, &(sizes[i] as u64).to_le_bytes());
        i += 1;
    }
    hash
};

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>: not a defence, only a fingerprint.
const fn add(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x100_0000_01b3);
        i += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_declares_what_crosses_counts() {
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for entry in std::fs::read_dir(sources).expect("the sources are there") {
            let path = entry.expect("a file").path();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let declares = text.contains("#[repr(C)]") || text.contains("Serialize");
            let is_counted =
                include_str!("abi.rs").contains(&format!("include_bytes!(\"{name}\")"));
            assert!(!declares || is_counted || name == "abi.rs", "{name}");
        }
    }

    #[test]
    fn header_of_another_build_or_type_does_not_fit() {
        let header = Header::of::<EngineTable>();
        assert!(header.fits::<EngineTable>());
        assert!(!header.fits::<HostTable>());
        assert!(!Header { abi: header.abi ^ 1, ..header }.fits::<EngineTable>());
    }

    #[test]
    fn hash_depends_on_every_byte() {
        assert_ne!(add(1, b"ab"), add(1, b"ba"));
        assert_ne!(add(1, b"a"), add(1, b"a\0"));
    }
}

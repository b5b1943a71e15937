//! The fingerprint of everything that processes of different builds could disagree on.
//!
//! Checked wherever two processes meet: in the board, in HELLO, in each first message of a channel.
//! What differs is refused with one clear error; see "Upgrades under a running Apache" in
//! ARCHITECTURE.md.

use crate::wire::fingerprint;

/// Hash of the frames, the control messages, the configuration, the layout of shared memory and what
/// the parent keeps.
pub const ABI: u64 = {
    let mut hash = crate::wire::ABI;
    hash = fingerprint(hash, include_bytes!("board/layout.rs"));
    hash = fingerprint(hash, include_bytes!("board/routing.rs"));
    hash = fingerprint(hash, include_bytes!("board/directory.rs"));
    hash = fingerprint(hash, include_bytes!("board/cells.rs"));
    hash = fingerprint(hash, include_bytes!("config.rs"));
    hash = fingerprint(hash, include_bytes!("log.rs"));
    hash = fingerprint(hash, include_bytes!("control/children.rs"));
    hash = fingerprint(hash, include_bytes!("control/kept.rs"));
    hash = fingerprint(hash, include_bytes!("control/message.rs"));
    hash = fingerprint(hash, include_bytes!("control/parent.rs"));
    hash = fingerprint(hash, include_bytes!("control/places.rs"));
    hash = fingerprint(hash, include_bytes!("control/start.rs"));
    hash = fingerprint(hash, include_bytes!("control/worker.rs"));
    hash = fingerprint(hash, include_bytes!("parent/retained.rs"));
    fingerprint(hash, include_bytes!("worker/status.rs"))
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    /// What declares no format: lists of modules, and the reading of frames.
    const OTHERS: [&str; 2] = ["mod.rs", "decoder.rs"];

    #[test]
    fn every_file_of_a_format_counts() {
        let counted = [include_str!("abi.rs"), include_str!("wire/mod.rs")].concat();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for folder in ["board", "control", "wire"] {
            for entry in std::fs::read_dir(sources.join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let is_counted = [name.clone(), format!("{folder}/{name}")]
                    .iter()
                    .any(|path| counted.contains(&format!("include_bytes!(\"{path}\")")));
                assert!(is_counted || OTHERS.contains(&name.as_str()), "{folder}/{name}");
            }
        }
    }
}

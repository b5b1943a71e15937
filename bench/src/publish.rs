//! One run for the record: its tables in `docs/benchmark.md`, the short form in the README.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{Written, place};

const BEGIN: &str = "<!-- Written by `cargo xtask bench --publish`. -->\n";
const END: &str = "<!-- The end of what it wrote. -->\n";

/// Writes both files, or none where the README has no place for it.
pub(crate) fn write(written: &Written) -> Result<()> {
    let readme = place::root().join("README.md");
    let text = fs::read_to_string(&readme).with_context(|| readme.display().to_string())?;
    let text = replaced(&text, &written.short)?;
    fs::write(place::root().join("docs/benchmark.md"), page(written))?;
    fs::write(&readme, text)?;
    Ok(())
}

fn page(written: &Written) -> String {
    format!(
        "# One run of the benchmark\n\n\
         Written by `cargo xtask bench --publish`; [Performance](performance.md) says what is \
         measured and how.\n\n{}\n{}",
        written.short, written.tables
    )
}

/// The text with what stands between the two lines replaced.
fn replaced(text: &str, new: &str) -> Result<String> {
    let Some((before, rest)) = text.split_once(BEGIN) else {
        bail!("README.md has no line {}", BEGIN.trim_end());
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("README.md has no line {}", END.trim_end());
    };
    Ok(format!("{before}{BEGIN}\n{}\n\n{END}{after}", new.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_readme_has_a_place_for_it() {
        let text = fs::read_to_string(place::root().join("README.md")).unwrap();
        let once = replaced(&text, "| a | b |").unwrap();
        assert!(once.contains("\n\n| a | b |\n\n"));
        assert_eq!(replaced(&once, "| a | b |").unwrap(), once);
    }

    #[test]
    fn a_readme_without_a_place_is_left_alone() {
        assert!(replaced("nothing", "new").is_err());
        assert!(replaced(&format!("a\n{BEGIN}b"), "new").is_err());
    }
}

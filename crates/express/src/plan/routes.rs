//! URLs that do not go to the application: aliases and proxied servers.

use std::path::Path;

use serde::Serialize;

use super::paths::writable;
use crate::machine::Machine;
use crate::quote::regex;
use crate::values::Values;

/// A file or directory at a URL path.
#[derive(Debug, Serialize)]
pub(crate) struct Alias {
    url: String,
    pub(crate) target: String,
    /// The directory that has to be opened up for it.
    directory: String,
    /// The one file in it that is meant, if it is not all of it.
    file: Option<String>,
}

/// Another server below a URL path.
#[derive(Debug, Serialize)]
pub(crate) struct Proxy {
    /// The path with a slash at its end, and what it stands for.
    path: String,
    url: String,
    /// The path without that slash.
    prefix: String,
    /// A regular expression for just that.
    bare: String,
}

/// Longer paths first, for Apache takes the first that fits.
pub(super) fn aliases(values: &Values, machine: &Machine) -> Result<Vec<Alias>, String> {
    let mut pairs = values.pairs("url-alias").to_vec();
    pairs.sort_by(|a, b| b.0.cmp(&a.0));
    let alias = |(url, path): (String, String)| {
        let target = writable("--url-alias", &path, machine)?;
        let as_path = Path::new(&target);
        let (directory, file) = match (as_path.parent(), as_path.file_name()) {
            (Some(parent), Some(name)) if as_path.is_file() => {
                (parent.to_string_lossy().into_owned(), Some(name.to_string_lossy().into_owned()))
            }
            _ => (target.clone(), None),
        };
        Ok(Alias { url, target, directory, file })
    };
    pairs.into_iter().map(alias).collect()
}

pub(super) fn proxies(values: &Values) -> Vec<Proxy> {
    let proxy = |(path, url): &(String, String)| {
        let prefix = path.trim_end_matches('/').to_owned();
        let url = match path.ends_with('/') {
            true => url.clone(),
            false => format!("{}/", url.trim_end_matches('/')),
        };
        Proxy { path: format!("{prefix}/"), url, bare: format!("^{}$", regex(&prefix)), prefix }
    };
    values.pairs("proxy-mount-point").iter().map(proxy).collect()
}

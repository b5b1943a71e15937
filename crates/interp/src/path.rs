//! Settings of an interpreter that Python has no configuration for.

use py::{Bound, Token};

/// Which step of extending `sys.path` failed.
#[derive(Debug)]
pub enum PathError<'py> {
    /// `site` cannot be imported.
    NoSite(py::Error<'py>),
    /// `site` has no `addsitedir`.
    NoFunction(py::Error<'py>),
    /// `sys` has no usable `path`.
    NoPath(py::Error<'py>),
    /// An entry made `site.addsitedir` raise; it and what follows was not added.
    Entry(Vec<u8>, py::Error<'py>),
}

/// Adds directories as [`site.addsitedir`] does (so `.pth` files in them count), then moves all
/// that is new in `sys.path` to its front, in order.
///
/// # Errors
/// [`PathError`]; what was added before stays, at the front.
///
/// [`site.addsitedir`]: https://docs.python.org/3/library/site.html#site.addsitedir
pub fn add_to_path<'py>(
    py: Token<'py>,
    directories: &[&[u8]],
    mut before_each: impl FnMut(&[u8]),
) -> Result<(), PathError<'py>> {
    let sys = py.import(c"sys").map_err(PathError::NoPath)?;
    let entries = |sys: &Bound<'py>| sys.attr(c"path")?.items();
    let old = entries(&sys).map_err(PathError::NoPath)?;
    let site = py.import(c"site").map_err(PathError::NoSite)?;
    let add = site.attr(c"addsitedir").map_err(PathError::NoFunction)?;
    let mut failed = None;
    for directory in directories {
        before_each(directory);
        if let Err(error) = py.fs_str(directory).and_then(|name| add.call(&[&name])) {
            failed = Some(PathError::Entry(directory.to_vec(), error));
            break;
        }
    }
    move_to_front(py, &sys, &old).map_err(PathError::NoPath)?;
    failed.map_or(Ok(()), Err)
}

/// `sys.setswitchinterval(seconds)`
///
/// # Errors
/// What it raises.
pub fn set_switch_interval(py: Token<'_>, seconds: f64) -> py::Result<'_, ()> {
    py.import(c"sys")?.call_method(c"setswitchinterval", &[&py.float(seconds)?])?;
    Ok(())
}

/// Moves entries of `sys.path` that are not in `old` before those that are.
fn move_to_front<'py>(py: Token<'py>, sys: &Bound<'py>, old: &[Bound<'py>]) -> py::Result<'py, ()> {
    let path = sys.attr(c"path")?;
    let old = py.list(old.iter().cloned())?;
    let (mut new, mut rest) = (Vec::new(), Vec::new());
    for entry in path.items()? {
        let known = old.call_method(c"__contains__", &[&entry])?.is_true()?;
        if known { rest.push(entry) } else { new.push(entry) }
    }
    // In place, for whoever keeps a reference to the list.
    path.call_method(c"clear", &[])?;
    path.call_method(c"extend", &[&py.list(new.into_iter().chain(rest))?])?;
    Ok(())
}

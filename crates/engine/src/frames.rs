//! The frames of a thread, as another thread sees them that has the lock of the interpreter.

use engine_api::Frame;
use interp::Interpreter;
use py::{Bound, NoCollector, Token};

/// Longest name that is looked at, in characters.
const MOST_NAME: usize = 512;

/// The innermost frame of a thread, which is as `pthread_self` says, in the interpreter that the
/// caller is attached to; nothing if it is in no Python code there.
///
/// Where there is no lock, `sys._current_frames` stops the world to answer. Elsewhere it looks into
/// all interpreters, also those that run meanwhile with a lock of their own, and is not used.
pub(crate) fn innermost<'py>(
    py: Token<'py>,
    interpreter: Interpreter,
    thread: u64,
) -> py::Result<'py, Option<Bound<'py>>> {
    if Interpreter::TELLS_FRAMES {
        return Ok(interpreter.frame_of(py, thread));
    }
    let frames = py.import(c"sys")?.call_method(c"_current_frames", &[])?;
    let ident = i64::try_from(thread).unwrap_or(0);
    let frame = frames.call_method(c"get", &[&py.int(ident)?])?;
    Ok((!frame.is_none()).then_some(frame))
}

/// The innermost frames of threads, by what `pthread_self` says of each.
pub(crate) type Innermost<'py> = Vec<(u64, Bound<'py>)>;

/// The innermost frames of all threads of the process, also of those that an application has started
/// itself. Only where all interpreters share the lock that the caller has, or where there is none: see
/// [`innermost`].
pub(crate) fn of_all_threads(py: Token<'_>) -> py::Result<'_, Innermost<'_>> {
    // It holds a lock of Python's own that the collector may wait for.
    let _alone = NoCollector::begin(py);
    let frames = py.import(c"sys")?.call_method(c"_current_frames", &[])?;
    let mut innermost = Vec::new();
    for item in frames.call_method(c"items", &[])?.items()? {
        if let [ident, frame] = &item.items()?[..] {
            innermost.push((u64::try_from(ident.to_int()?).unwrap_or(0), frame.clone()));
        }
    }
    Ok(innermost)
}

/// The innermost frames of threads that were attached by this project, in the interpreter that the
/// caller is attached to.
pub(crate) fn of_known_threads(py: Token<'_>, interpreter: Interpreter) -> Innermost<'_> {
    let frame = |thread: u64| Some((thread, interpreter.frame_of(py, thread)?));
    interpreter.threads().into_iter().filter_map(frame).collect()
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// As a traceback has it.
    Plain,
    /// With its class, since Python 3.11.
    Qualified,
}

/// This frame and those that called it, so many at most.
pub(crate) fn from<'py>(
    innermost: Bound<'py>,
    most: usize,
    names: Names,
) -> py::Result<'py, Vec<Frame>> {
    // What is behind a frame is there only as long as its thread does not run.
    let _alone = NoCollector::begin(innermost.py());
    let mut frames = Vec::new();
    let mut frame = innermost;
    while !frame.is_none() && frames.len() < most {
        let code = frame.attr(c"f_code")?;
        let qualified = match names {
            Names::Plain => None,
            Names::Qualified => code.attr_opt(c"co_qualname")?,
        };
        let name = qualified.map_or_else(|| code.attr(c"co_name"), Ok)?;
        let line = frame.attr(c"f_lineno")?.to_int().unwrap_or(0);
        frames.push(Frame {
            file: code.attr(c"co_filename")?.to_text_end(MOST_NAME)?,
            line: u32::try_from(line).unwrap_or(0),
            function: name.to_text_end(MOST_NAME)?,
        });
        frame = frame.attr(c"f_back")?;
    }
    Ok(frames)
}

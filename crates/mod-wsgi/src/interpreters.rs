//! What is configured for interpreters: at the top level, and in `<WSGIInterpreterOptions>` blocks
//! for some of them.
//!
//! Which block wins is decided by the engine when an interpreter is made, since names may be made
//! of requests. What concerns a whole process is decided here.

use engine_api::{Bytes, InterpreterOptions, Switch};

use crate::settings::Global;

/// One `<WSGIInterpreterOptions>` block. A selector that was not given selects everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    pub(crate) process_group: Option<Vec<u8>>,
    pub(crate) application_group: Option<Vec<u8>>,
    /// What it says, where these directives are outside of any block.
    pub(crate) options: Box<Global>,
}

impl Block {
    fn is_for(&self, process_group: &[u8]) -> bool {
        self.process_group.as_deref().is_none_or(|name| name == process_group)
    }

    fn specificity(&self) -> u32 {
        [&self.process_group, &self.application_group]
            .map(|name| u32::from(name.is_some()))
            .iter()
            .sum()
    }
}

/// What an engine gets to know in a process of this group (empty: a child of the server).
/// `python_path` is that of the process.
pub(crate) fn options<'a>(
    global: &'a Global,
    process_group: &[u8],
    python_path: Option<&'a [u8]>,
) -> Vec<InterpreterOptions<'a>> {
    let base = InterpreterOptions { python_path: python_path.into(), ..said(global) };
    let blocks = global.interpreter_options.iter().filter(|block| block.is_for(process_group));
    let blocks = blocks.map(|block| InterpreterOptions {
        application_group: block.application_group.as_deref().into(),
        specificity: block.specificity(),
        ..said(&block.options)
    });
    [base].into_iter().chain(blocks).collect()
}

fn said(options: &Global) -> InterpreterOptions<'_> {
    InterpreterOptions {
        application_group: Bytes::ABSENT,
        specificity: 0,
        python_path: options.python_path.as_deref().into(),
        switch_interval: options.switch_interval.unwrap_or(0.0),
        own_gil: switch(options.per_interpreter_gil),
        replicas: options.interpreter_replicas.unwrap_or(0),
        restrict_stdin: switch(options.restrict_stdin),
        restrict_stdout: switch(options.restrict_stdout),
        restrict_signal: switch(options.restrict_signal),
    }
}

/// Whether a process of this group runs without the GIL, where its Python can: a block for an
/// application group has no say, since that is not a whole process.
pub(crate) fn free_threading(global: &Global, process_group: &[u8]) -> bool {
    let blocks = global.interpreter_options.iter();
    let blocks =
        blocks.filter(|block| block.application_group.is_none() && block.is_for(process_group));
    // Of several with the same number of selectors the last counts, as `max_by_key` has it.
    blocks
        .filter_map(|block| Some((block.specificity(), block.options.free_threading?)))
        .max_by_key(|(specificity, _)| *specificity)
        .map(|(_, on)| on)
        .or(global.free_threading)
        .unwrap_or(false)
}

/// Whether anything asks for an interpreter with a GIL of its own.
pub(crate) fn wants_own_gil(global: &Global) -> bool {
    each(global).any(|options| options.per_interpreter_gil == Some(true))
}

/// Whether anything asks for Python without a GIL.
pub(crate) fn wants_free_threading(global: &Global) -> bool {
    each(global).any(|options| options.free_threading == Some(true))
}

/// Whether free threading is set where it has no say.
pub(crate) fn misplaces_free_threading(global: &Global) -> bool {
    global
        .interpreter_options
        .iter()
        .any(|block| block.application_group.is_some() && block.options.free_threading.is_some())
}

fn each(global: &Global) -> impl Iterator<Item = &Global> {
    let blocks = global.interpreter_options.iter().map(|block| &*block.options);
    std::iter::once(global).chain(blocks)
}

fn switch(value: Option<bool>) -> Switch {
    match value {
        None => Switch::Unset,
        Some(true) => Switch::On,
        Some(false) => Switch::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(process: Option<&str>, application: Option<&str>, free: Option<bool>) -> Block {
        let name = |name: &str| name.as_bytes().to_vec();
        Block {
            process_group: process.map(name),
            application_group: application.map(name),
            options: Box::new(Global { free_threading: free, ..Global::default() }),
        }
    }

    #[test]
    fn blocks_of_other_processes_are_left_out() {
        let global = Global {
            switch_interval: Some(0.1),
            interpreter_options: vec![
                block(None, None, None),
                block(Some(""), Some("shop"), None),
                block(Some("blue"), None, None),
            ],
            ..Global::default()
        };
        let names = |process: &str| {
            let options = options(&global, process.as_bytes(), Some(b"/lib"));
            assert_eq!(options[0].python_path.get(), Some(&b"/lib"[..]));
            assert!(options[0].switch_interval > 0.0);
            let found = options.iter().map(|o| (o.specificity, o.application_group.get()));
            found.map(|(n, name)| (n, name.map(<[u8]>::to_vec))).collect::<Vec<_>>()
        };
        assert_eq!(names(""), [(0, None), (0, None), (2, Some(b"shop".to_vec()))]);
        assert_eq!(names("blue"), [(0, None), (0, None), (1, None)]);
    }

    #[test]
    fn free_threading_is_a_matter_of_the_process() {
        let mut global = Global {
            free_threading: Some(true),
            interpreter_options: vec![
                block(Some("blue"), None, Some(false)),
                block(None, None, Some(true)),
                block(Some("blue"), Some("shop"), Some(true)),
            ],
            ..Global::default()
        };
        assert!(free_threading(&global, b""));
        assert!(!free_threading(&global, b"blue"));
        assert!(wants_free_threading(&global) && misplaces_free_threading(&global));
        global.interpreter_options.push(block(Some("blue"), None, Some(true)));
        assert!(free_threading(&global, b"blue"));
        assert!(!free_threading(&Global::default(), b"") && !wants_own_gil(&global));
    }
}

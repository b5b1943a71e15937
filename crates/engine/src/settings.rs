//! What `start` was told, kept: an owned copy, and the rules by which one interpreter gets its part.
//!
//! Scalars come from the matching `<WSGIInterpreterOptions>` block with the most selectors, the
//! later one on a tie, else from the top level, which comes first in the list. Search paths add up,
//! the most specific in front.

use engine_api::worker::Telemetry;
use engine_api::{InterpreterOptions, Start, Switch};
use metrics::Recorder;

/// What `start` was told.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Empty in a server's own process.
    pub(crate) process_group: Vec<u8>,
    /// First entry of the search path.
    pub(crate) home: Option<Vec<u8>>,
    /// The group that runs in the main interpreter under its own name.
    pub(crate) main_group: Option<Vec<u8>>,
    /// stdout and stdin are left alone.
    pub(crate) single_process: bool,
    /// Run without the GIL, if the build can.
    pub(crate) free_threading: bool,
    /// `mod_wsgi.version`
    pub(crate) module_version: [u32; 3],
    /// `mod_wsgi.maximum_processes`
    pub(crate) maximum_processes: u32,
    /// `mod_wsgi.threads_per_process`
    pub(crate) threads_per_process: u32,
    /// For the `apache` module.
    pub(crate) server: Server,
    /// What is reported of the process.
    pub(crate) telemetry: Telemetry,
    blocks: Vec<Block>,
}

/// What the `apache` module says.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) version: [u32; 3],
    pub(crate) description: Vec<u8>,
    pub(crate) mpm_name: Vec<u8>,
    pub(crate) build_date: Vec<u8>,
    pub(crate) processes: u32,
    pub(crate) threads: u32,
}

/// The part of one interpreter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupSettings {
    /// Lists of directories, in the order in which they are put in front of the search path.
    pub(crate) python_path: Vec<Vec<Vec<u8>>>,
    pub(crate) switch_interval: Option<SwitchInterval>,
    pub(crate) own_gil: bool,
    /// Number of interpreters; 0 is as good as 1.
    pub(crate) replicas: u32,
    pub(crate) restrict_stdin: bool,
    pub(crate) restrict_stdout: bool,
    pub(crate) restrict_signal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SwitchInterval {
    pub(crate) seconds: f64,
    /// It is meant for one interpreter only.
    pub(crate) scoped: bool,
}

impl Settings {
    pub(crate) fn new(start: &Start<'_>) -> Settings {
        Settings {
            process_group: start.process_group.or_empty().to_vec(),
            home: None,
            main_group: start.main_group.get().map(<[u8]>::to_vec),
            single_process: start.single_process,
            free_threading: start.free_threading && cfg!(Py_GIL_DISABLED),
            module_version: start.module_version,
            maximum_processes: start.maximum_processes,
            threads_per_process: start.threads_per_process,
            server: Server {
                version: start.server_version,
                description: start.server_description.or_empty().to_vec(),
                mpm_name: start.mpm_name.or_empty().to_vec(),
                build_date: start.server_build_date.or_empty().to_vec(),
                processes: start.server_processes,
                threads: start.server_threads,
            },
            telemetry: Telemetry::new(&start.telemetry),
            blocks: start.interpreters.get().iter().map(Block::new).collect(),
        }
    }

    /// What goes for the interpreter of this name.
    pub(crate) fn of(&self, application_group: &[u8]) -> GroupSettings {
        let mut blocks: Vec<&Block> = self
            .blocks
            .iter()
            .filter(|block| block.name.as_deref().is_none_or(|name| name == application_group))
            .collect();
        // Stable: later blocks of the same rank stay later, and win.
        blocks.sort_by_key(|block| block.specificity);
        let last = |pick: fn(&Block) -> Option<bool>, default| {
            blocks.iter().rev().find_map(|block| pick(block)).unwrap_or(default)
        };
        GroupSettings {
            python_path: blocks.iter().filter_map(|block| block.python_path.clone()).collect(),
            switch_interval: blocks.iter().rev().find_map(|block| {
                let scoped = block.name.is_some();
                block.switch_interval.map(|seconds| SwitchInterval { seconds, scoped })
            }),
            own_gil: last(|block| block.own_gil, false),
            replicas: blocks
                .iter()
                .rev()
                // What is said of all cannot be meant of the main interpreter, which is one.
                .filter(|block| block.name.is_some() || !application_group.is_empty())
                .find_map(|block| block.replicas)
                .unwrap_or(0),
            restrict_stdin: last(|block| block.restrict_stdin, false),
            restrict_stdout: last(|block| block.restrict_stdout, false),
            restrict_signal: last(|block| block.restrict_signal, true) && !self.is_service(),
        }
    }

    /// The record of this process, which begins now. Where it is reported, it is nobody else's.
    pub(crate) fn recorder(&self) -> Recorder {
        let recorder = Recorder::new(self.threads_per_process, !self.embedded());
        if self.telemetry.target.is_some() {
            py::measure_waits();
            recorder.start();
            recorder.claim();
        }
        recorder
    }

    /// `embedded mode` or `daemon process 'GROUP'`.
    pub(crate) fn place(&self) -> String {
        if self.process_group.is_empty() {
            "embedded mode".to_owned()
        } else {
            format!("daemon process '{}'", String::from_utf8_lossy(&self.process_group))
        }
    }

    /// Whether this process loads scripts and takes no requests.
    pub(crate) fn is_service(&self) -> bool {
        !self.embedded() && self.threads_per_process == 0
    }

    /// Whether this is a server's own process.
    pub(crate) fn embedded(&self) -> bool {
        self.process_group.is_empty()
    }
}

#[derive(Debug)]
struct Block {
    name: Option<Vec<u8>>,
    specificity: u32,
    python_path: Option<Vec<Vec<u8>>>,
    switch_interval: Option<f64>,
    own_gil: Option<bool>,
    replicas: Option<u32>,
    restrict_stdin: Option<bool>,
    restrict_stdout: Option<bool>,
    restrict_signal: Option<bool>,
}

impl Block {
    fn new(options: &InterpreterOptions<'_>) -> Block {
        let switch = |switch| match switch {
            Switch::Unset => None,
            Switch::On => Some(true),
            Switch::Off => Some(false),
        };
        let seconds = options.switch_interval;
        Block {
            name: options.application_group.get().map(<[u8]>::to_vec),
            specificity: options.specificity,
            python_path: options.python_path.get().map(split),
            switch_interval: (seconds > 0.0).then_some(seconds),
            own_gil: switch(options.own_gil),
            replicas: (options.replicas > 0).then_some(options.replicas),
            restrict_stdin: switch(options.restrict_stdin),
            restrict_stdout: switch(options.restrict_stdout),
            restrict_signal: switch(options.restrict_signal),
        }
    }
}

/// Takes a search path apart; empty entries say nothing.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b':').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use engine_api::Bytes;

    use super::*;

    fn settings(blocks: &[InterpreterOptions<'_>]) -> Settings {
        Settings {
            process_group: Vec::new(),
            home: None,
            main_group: None,
            single_process: false,
            free_threading: false,
            module_version: [0; 3],
            maximum_processes: 1,
            threads_per_process: 1,
            server: Server {
                version: [0; 3],
                description: Vec::new(),
                mpm_name: Vec::new(),
                build_date: Vec::new(),
                processes: 1,
                threads: 1,
            },
            telemetry: Telemetry::default(),
            blocks: blocks.iter().map(Block::new).collect(),
        }
    }

    const NONE: InterpreterOptions<'static> = InterpreterOptions::NONE;

    #[test]
    fn defaults() {
        let expected = GroupSettings { restrict_signal: true, ..GroupSettings::default() };
        assert_eq!(settings(&[]).of(b""), expected);
        assert_eq!(settings(&[NONE]).of(b"x"), expected);
    }

    #[test]
    fn most_selectors_win_then_the_later_block() {
        let shop = Bytes::new(b"shop");
        let settings = settings(&[
            InterpreterOptions { switch_interval: 0.1, own_gil: Switch::On, ..NONE },
            InterpreterOptions {
                application_group: shop,
                specificity: 2,
                switch_interval: 0.2,
                ..NONE
            },
            InterpreterOptions {
                application_group: shop,
                specificity: 1,
                switch_interval: 0.3,
                own_gil: Switch::Off,
                ..NONE
            },
            InterpreterOptions { switch_interval: 0.4, ..NONE },
        ]);
        let of_shop = settings.of(b"shop");
        assert_eq!(of_shop.switch_interval, Some(SwitchInterval { seconds: 0.2, scoped: true }));
        assert!(!of_shop.own_gil);
        let of_other = settings.of(b"other");
        assert_eq!(of_other.switch_interval, Some(SwitchInterval { seconds: 0.4, scoped: false }));
        assert!(of_other.own_gil);
    }

    #[test]
    fn paths_add_up_least_specific_first() {
        let settings = settings(&[
            InterpreterOptions { python_path: Bytes::new(b"/base:/two:"), ..NONE },
            InterpreterOptions {
                application_group: Bytes::new(b""),
                specificity: 1,
                python_path: Bytes::new(b"/main"),
                ..NONE
            },
            InterpreterOptions { python_path: Bytes::new(b"/all"), ..NONE },
        ]);
        let list = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let expected: Vec<Vec<Vec<u8>>> =
            vec![list(&["/base", "/two"]), list(&["/all"]), list(&["/main"])];
        assert_eq!(settings.of(b"").python_path, expected);
        assert_eq!(settings.of(b"x").python_path, expected[..2]);
    }
}

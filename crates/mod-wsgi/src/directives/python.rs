//! Directives that say how Python is started, and what its interpreters may do.

use std::marker::PhantomData;

use super::{Contexts, Directive, Setter};

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"WSGIPythonHome",
            contexts: Contexts::SERVER,
            help: c"Python prefix/exec_prefix absolute path names.",
            default: "the Python that the module was built for",
            setter: Setter::Word(|target, home| {
                target.global.python_home = Some(home.to_vec());
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonPath",
            contexts: Contexts::SERVER,
            help: c"Python module search path.",
            default: "none",
            setter: Setter::Word(|target, path| {
                target.global.python_path = Some(path.to_vec());
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonEggs",
            contexts: Contexts::SERVER,
            help: c"Python eggs cache directory.",
            default: "none",
            setter: Setter::Word(|target, directory| {
                target.global.python_eggs = Some(directory.to_vec());
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonOptimize",
            contexts: Contexts::SERVER,
            help: c"Set level of Python compiler optimisations.",
            default: "0",
            setter: Setter::Word(|target, level| {
                let level = number(level).ok_or_else(|| {
                    format!(
                        "WSGIPythonOptimize must be an integer, not \"{}\"",
                        level.escape_ascii()
                    )
                })?;
                target.global.python_optimize = Some(level);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonWarnings",
            contexts: Contexts::SERVER,
            help: c"Control Python warning messages.",
            default: "none",
            setter: Setter::Word(|target, filter| {
                target.global.python_warnings.push(filter.to_vec());
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonHashSeed",
            contexts: Contexts::SERVER,
            help: c"Python hash seed.",
            default: "random",
            setter: Setter::Word(|target, seed| {
                target.global.python_hash_seed = match seed {
                    b"random" => None,
                    seed => Some(number(seed).ok_or(
                        "WSGIPythonHashSeed must be \"random\" or an integer in range \
                         [0; 4294967295]",
                    )?),
                };
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIDontWriteBytecode",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable writing of byte code.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.global.dont_write_bytecode = Some(on)),
        },
        Directive {
            name: c"WSGIDestroyInterpreter",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable destruction of Python interpreter.",
            default: "On",
            setter: Setter::Flag(|target, on| target.global.destroy_interpreter = Some(on)),
        },
        Directive {
            name: c"WSGISwitchInterval",
            contexts: Contexts::SERVER,
            help: c"Override Python GIL switch interval (seconds).",
            default: "Python's own",
            setter: Setter::Word(|target, seconds| {
                let seconds = std::str::from_utf8(seconds)
                    .ok()
                    .and_then(|text| text.parse::<f64>().ok())
                    .filter(|seconds| seconds.is_finite() && *seconds > 0.0)
                    .ok_or("WSGISwitchInterval must be a positive number of seconds.")?;
                target.global.switch_interval = Some(seconds);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPerInterpreterGIL",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable per-interpreter GIL for sub-interpreters (Python 3.12+).",
            default: "Off",
            setter: Setter::Flag(|target, on| target.global.per_interpreter_gil = Some(on)),
        },
        Directive {
            name: c"WSGIRestrictStdin",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable restrictions on use of STDIN.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.global.restrict_stdin = Some(on)),
        },
        Directive {
            name: c"WSGIRestrictStdout",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable restrictions on use of STDOUT.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.global.restrict_stdout = Some(on)),
        },
        Directive {
            name: c"WSGIRestrictSignal",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable restrictions on use of signal().",
            default: "On",
            setter: Setter::Flag(|target, on| target.global.restrict_signal = Some(on)),
        },
        Directive {
            name: c"WSGIVerboseDebugging",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable verbose debugging messages.",
            default: "Off: it has no effect, LogLevel has",
            setter: Setter::Flag(|target, _| target.global.verbose_debugging = true),
        },
        Directive {
            name: c"WSGIServerMetrics",
            contexts: Contexts::SERVER,
            help: c"Enabled/Disable access to server metrics.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.global.server_metrics = Some(on)),
        },
    ];
}

/// A whole decimal number; what follows one is an error, not ignored.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{read, refused};

    #[test]
    fn values() {
        let global = read(
            "WSGIPythonHome /opt/venv
             WSGIPythonWarnings ignore
             WSGIPythonWarnings error::UserWarning
             WSGIPythonHashSeed 4294967295
             WSGIPythonOptimize 2
             WSGISwitchInterval 1e-3",
        )
        .unwrap()
        .global;
        assert_eq!(global.python_home.as_deref(), Some(&b"/opt/venv"[..]));
        assert_eq!(global.python_warnings, [b"ignore".to_vec(), b"error::UserWarning".to_vec()]);
        assert_eq!(global.python_hash_seed, Some(u32::MAX));
        assert_eq!(global.python_optimize, Some(2));
        assert_eq!(global.switch_interval, Some(0.001));
    }

    #[test]
    fn errors() {
        for bad in ["4294967296", "-1", "Random", "0x1"] {
            refused(
                &format!("WSGIPythonHashSeed {bad}"),
                "WSGIPythonHashSeed must be \"random\" or an integer in range [0; 4294967295]",
            );
        }
        for bad in ["0", "-1", "nan", "inf", "5ms"] {
            refused(
                &format!("WSGISwitchInterval {bad}"),
                "WSGISwitchInterval must be a positive number of seconds.",
            );
        }
        refused("WSGIPythonOptimize 2x", "WSGIPythonOptimize must be an integer, not \"2x\"");
    }

    #[test]
    fn directives_14_random_hash_seed_is_pythons_default() {
        let global = read("WSGIPythonHashSeed 1\nWSGIPythonHashSeed random").unwrap().global;
        assert_eq!(global.python_hash_seed, None);
    }
}

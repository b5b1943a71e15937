//! Debugging: one process, one thread, and tools around the application.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Debugging",
    about: "Each of the `--enable-…` options implies `--debug-mode`.",
    options: &[
        Opt::flag("debug-mode")
            .help(
                "Run everything in one process with one thread that keeps the terminal, so that \
                 a debugger can be used. Nothing is reloaded.",
            )
            .makes("`-DONE_PROCESS`"),
        Opt::flag("enable-debugger")
            .help("Enter pdb where an exception leaves the application.")
            .makes("`enable_debugger` in `handler.wsgi`"),
        Opt::flag("debugger-startup")
            .help("Enter pdb at start, too, to set breakpoints.")
            .makes("`debugger_startup` in `handler.wsgi`"),
        Opt::flag("enable-coverage")
            .help("Measure coverage and write a report at exit. Needs the package coverage.")
            .makes("`enable_coverage` in `handler.wsgi`"),
        Opt::text("coverage-directory", "DIRECTORY-PATH")
            .otherwise("htmlcov in the server root")
            .help("Where that report goes.")
            .makes("`coverage_directory` in `handler.wsgi`"),
        Opt::flag("enable-profiler")
            .help("Profile the application and write the statistics at exit.")
            .makes("`enable_profiler` in `handler.wsgi`"),
        Opt::text("profiler-directory", "DIRECTORY-PATH")
            .otherwise("pstats in the server root")
            .help("Where those statistics go.")
            .makes("`profiler_directory` in `handler.wsgi`"),
        Opt::flag("enable-recorder")
            .help("Record requests and responses in files.")
            .makes("`enable_recorder` in `handler.wsgi`"),
        Opt::text("recorder-directory", "DIRECTORY-PATH")
            .otherwise("archive in the server root")
            .help("Where those files go.")
            .makes("`recorder_directory` in `handler.wsgi`"),
        Opt::flag("enable-gdb")
            .help("Run Apache under gdb.")
            .makes("`gdb.cmds`, and gdb in `apachectl`"),
        Opt::text("gdb-executable", "FILE-PATH")
            .default("gdb")
            .help("The program gdb.")
            .makes("gdb in `apachectl`"),
    ],
};

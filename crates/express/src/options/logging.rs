//! Logs.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Logs",
    about: "",
    options: &[
        Opt::text("log-directory", "DIRECTORY-PATH")
            .otherwise("the server root")
            .help("The directory for log files. Giving it turns --log-to-terminal off.")
            .makes("`ErrorLog`, `CustomLog`"),
        Opt::text("log-level", "NAME")
            .default("warn")
            .help("What is worth logging; levels of modules may follow, as in 'warn wsgi:info'.")
            .makes("`LogLevel`"),
        Opt::flag("access-log").help("Log requests.").makes("`CustomLog`"),
        Opt::flag("startup-log")
            .help("Log to a file what Apache says before its log is open.")
            .makes("`-E FILE` for Apache"),
        Opt::flag("log-to-terminal")
            .help(
                "Log errors to standard error and requests to standard output, instead of files. \
                 Turns --rotate-logs off.",
            )
            .makes("`ErrorLog \"/dev/stderr\"`, `CustomLog \"/dev/stdout\"`"),
        Opt::text("access-log-format", "FORMAT")
            .otherwise("common")
            .help("'common', 'combined', or a format of your own as in LogFormat.")
            .makes("`LogFormat`"),
        Opt::text("error-log-format", "FORMAT")
            .help("A format of your own as in ErrorLogFormat.")
            .makes("`ErrorLogFormat`"),
        Opt::text("error-log-name", "FILE-NAME")
            .default("error_log")
            .help("The name of the error log.")
            .makes("`ErrorLog`"),
        Opt::text("access-log-name", "FILE-NAME")
            .default("access_log")
            .help("The name of the access log.")
            .makes("`CustomLog`"),
        Opt::text("startup-log-name", "FILE-NAME")
            .default("startup_log")
            .help("The name of the startup log.")
            .makes("`-E FILE` for Apache"),
        Opt::flag("rotate-logs")
            .help("Begin a new log file when one is full. The date is added to the name.")
            .makes("logs piped to `rotatelogs`"),
        Opt::integer("max-log-size", "MB")
            .default("5")
            .help("When a log file is full, in megabytes.")
            .makes("the size for `rotatelogs`"),
        Opt::text("rotatelogs-executable", "FILE-PATH")
            .otherwise("the one beside Apache's executable")
            .help("The program `rotatelogs`.")
            .makes("the command logs are piped to"),
        Opt::flag("verbose-debugging").help("Let mod_wsgi log more of what it does.").hidden(),
    ],
};

//! The life of daemon processes, and the time requests may take.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Life cycle and timeouts",
    about: "These are options of the same meaning of `WSGIDaemonProcess`, so they apply in daemon \
            mode, except where something else is said. Times are in whole seconds, and 0 turns a \
            limit off.",
    options: &[
        Opt::integer("maximum-requests", "NUMBER")
            .default("0")
            .help("After how many requests a process is replaced by a fresh one.")
            .makes("`maximum-requests=`; with `--embedded-mode` `MaxConnectionsPerChild`"),
        Opt::integer("startup-timeout", "SECONDS")
            .default("15")
            .help("How long a process may take to load the application before it is replaced.")
            .makes("`startup-timeout=`"),
        Opt::integer("shutdown-timeout", "SECONDS")
            .default("5")
            .help(
                "How long a process that should end may take over its last requests and Python's \
                 exit functions.",
            )
            .makes("`shutdown-timeout=`"),
        Opt::integer("restart-interval", "SECONDS")
            .default("0")
            .help("After how long a process is replaced by a fresh one, whatever it did.")
            .makes("`restart-interval=`"),
        Opt::integer("cpu-time-limit", "SECONDS")
            .default("0")
            .help("After how much CPU time a process is replaced by a fresh one.")
            .makes("`cpu-time-limit=`"),
        Opt::integer("graceful-timeout", "SECONDS")
            .default("15")
            .help(
                "How long a process that reached one of these limits may wait for an idle moment, \
                 still taking requests, before it shuts down.",
            )
            .makes("`graceful-timeout=`"),
        Opt::integer("eviction-timeout", "SECONDS")
            .default("0")
            .otherwise("0, as --graceful-timeout")
            .help("The same for a process that is told by signal to make room for a fresh one.")
            .makes("`eviction-timeout=`"),
        Opt::integer("deadlock-timeout", "SECONDS")
            .default("60")
            .help("How long no thread of a process may get the GIL before it is replaced.")
            .makes("`deadlock-timeout=`"),
        Opt::integer("inactivity-timeout", "SECONDS")
            .default("0")
            .help("After how long without requests a process is replaced by a fresh one.")
            .makes("`inactivity-timeout=`"),
        Opt::text("ignore-activity", "URL-PATH")
            .repeats()
            .help("A location whose requests, health checks say, do not count as activity.")
            .makes("`WSGIIgnoreActivity On` in a `<Location>`"),
        Opt::integer("request-timeout", "SECONDS")
            .default("60")
            .help(
                "How long a request may run. With several threads the limit is longer, by a \
                 factor of 1 plus the natural logarithm of their number.",
            )
            .makes("`request-timeout=`"),
        Opt::integer("interrupt-timeout", "SECONDS")
            .default("0")
            .help(
                "If not 0, a request over the limit is first interrupted by raising \
                 mod_wsgi.RequestTimeout in its thread. If it then ends within this time the \
                 client gets a 504 and the process lives on; otherwise it is replaced.",
            )
            .makes("`interrupt-timeout=`"),
        Opt::integer("connect-timeout", "SECONDS")
            .default("15")
            .help("How long Apache tries to reach a process of the application.")
            .makes("`connect-timeout=`"),
        Opt::integer("socket-timeout", "SECONDS")
            .default("60")
            .help("How long a single read or write may take, of clients and of processes alike.")
            .makes("`socket-timeout=`, and `Timeout` in all modes"),
        Opt::integer("queue-timeout", "SECONDS")
            .default("45")
            .help("How long a request may wait for a process to take it.")
            .makes("`queue-timeout=`"),
        Opt::integer("proxy-timeout", "SECONDS")
            .otherwise("as --socket-timeout")
            .help(
                "How long a proxied server may be silent. Raise it for WebSockets that are idle \
                 for long.",
            )
            .makes("`ProxyTimeout`"),
        Opt::integer("daemon-backlog", "NUMBER")
            .default("100")
            .help("How many requests may wait for the processes of the application.")
            .makes("`listen-backlog=`"),
        Opt::integer("send-buffer-size", "NUMBER")
            .default("0")
            .help("The buffer of the socket to a process, in bytes; 0 for the system's choice.")
            .makes("`send-buffer-size=`"),
        Opt::integer("receive-buffer-size", "NUMBER")
            .default("0")
            .help("The buffer of the socket from a process, in bytes; 0 for the system's choice.")
            .makes("`receive-buffer-size=`"),
        Opt::integer("header-buffer-size", "NUMBER")
            .default("0")
            .help("The longest response header, in bytes; 0 means 32768.")
            .makes("`header-buffer-size=`"),
        Opt::integer("response-buffer-size", "NUMBER")
            .default("0")
            .help(
                "About how many bytes of a response are passed to Apache's output filters before \
                 a flush; 0 means 8388608. Matters to filters that hold back data.",
            )
            .makes("`response-buffer-size=`"),
        Opt::integer("response-socket-timeout", "SECONDS")
            .default("0")
            .help("How long a write to the client may take; 0 means as --socket-timeout.")
            .makes("`response-socket-timeout=`"),
        Opt::integer("response-flush-delay", "MILLISECONDS")
            .default("5")
            .help(
                "How long to wait for more of a response before what is there is flushed to the \
                 client. With 0, filters such as mod_ratelimit see many small writes.",
            )
            .makes("`response-flush-delay=`"),
        Opt::flag("disable-reloading")
            .help("Never replace a process because source files changed.")
            .makes("`WSGIScriptReloading Off`"),
        Opt::flag("reload-on-changes")
            .help(
                "Replace processes when any loaded Python file changes, not only the entry point. \
                 For development.",
            )
            .makes("`reload_on_changes` in `handler.wsgi`"),
    ],
};

pub(super) static READING: Group = Group {
    title: "Slow clients",
    about: "How long a client may take to send its request. A rate makes the time longer by a second \
            for each so many bytes, up to the maximum.",
    options: &[
        Opt::integer("header-timeout", "SECONDS")
            .default("15")
            .help("How long the request line and the headers may take; 0 for no limit.")
            .makes("`RequestReadTimeout header=`"),
        Opt::integer("header-max-timeout", "SECONDS")
            .default("30")
            .help("How long they may take however fast they come.")
            .makes("`RequestReadTimeout header=…-MAX`"),
        Opt::integer("header-min-rate", "BYTES")
            .default("500")
            .help("How many bytes of them earn a further second.")
            .makes("`RequestReadTimeout header=…,MinRate=`"),
        Opt::integer("body-timeout", "SECONDS")
            .default("15")
            .help("How long the body may take; 0 for no limit.")
            .makes("`RequestReadTimeout body=`"),
        Opt::integer("body-max-timeout", "SECONDS")
            .default("0")
            .help("How long it may take however fast it comes; 0 for no limit.")
            .makes("`RequestReadTimeout body=…-MAX`"),
        Opt::integer("body-min-rate", "BYTES")
            .default("500")
            .help("How many bytes of it earn a further second.")
            .makes("`RequestReadTimeout body=…,MinRate=`"),
    ],
};

//! How many processes and threads serve the application, and how many clients Apache lets in.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Capacity",
    about: "Apache's own processes are sized from the processes and threads of the application. The \
            three fractions are of the number of clients.",
    options: &[
        Opt::integer("processes", "NUMBER")
            .otherwise("1")
            .help(
                "How many processes run the application. Giving the option at all, even as 1, \
                 tells the application that there may be several (wsgi.multiprocess).",
            )
            .makes("`processes=` of `WSGIDaemonProcess`"),
        Opt::integer("threads", "NUMBER")
            .default("5")
            .help(
                "How many requests each process serves at once. With --embedded-mode and an \
                 Apache that has the prefork MPM only, further processes take their place.",
            )
            .makes("`threads=` of `WSGIDaemonProcess`"),
        Opt::integer("max-clients", "NUMBER")
            .otherwise("10 more than 1.5 times processes times threads, at least 20")
            .help(
                "How many connections Apache serves at once. Never less than the application's \
                 threads, and ignored with --embedded-mode.",
            )
            .makes("`MaxClients`, `ServerLimit`, `ThreadsPerChild` of each MPM"),
        Opt::float("initial-workers", "FRACTION")
            .otherwise("0.05 for prefork, 0.2 otherwise")
            .help("Which part of that capacity is started at once, 0 to 1.")
            .makes("`StartServers`"),
        Opt::float("minimum-spare-workers", "FRACTION")
            .otherwise("as --initial-workers")
            .help("Which part of that capacity is kept idle at least, 0 to 1.")
            .makes("`MinSpareServers`, `MinSpareThreads`"),
        Opt::float("maximum-spare-workers", "FRACTION")
            .otherwise("0.1 for prefork, 0.6 otherwise")
            .help("Which part of that capacity may be idle at most, 0 to 1.")
            .makes("`MaxSpareServers`, `MaxSpareThreads`"),
        Opt::text("server-mpm", "NAME")
            .repeats()
            .otherwise("event, worker, prefork")
            .help(
                "An MPM that may be used, where Apache can load one. Of those given and \
                 installed, event comes before worker and worker before prefork.",
            )
            .makes("`LoadModule mpm_…_module`"),
        Opt::flag("embedded-mode")
            .help(
                "Run the application in Apache's own child processes instead of daemon \
                 processes. Reloading and the timeouts of daemon processes do not apply then.",
            )
            .makes("process group `%{GLOBAL}`, no `WSGIDaemonProcess`"),
    ],
};

//! Further processes that run beside the application.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Services",
    about: "A service is a Python script that runs for as long as the server does, in a daemon \
            process of its own that serves no requests.",
    options: &[
        Opt::pair("service-script", "SERVICE", "SCRIPT-PATH")
            .help("Run a script as the service of that name.")
            .makes("`WSGIDaemonProcess 'service:NAME' threads=0`, `WSGIImportScript`"),
        Opt::pair("service-user", "SERVICE", "USERNAME")
            .help("As root: the user a service runs as, if another than --user.")
            .makes("`user=` of its `WSGIDaemonProcess`"),
        Opt::pair("service-group", "SERVICE", "GROUP")
            .help("As root: the group a service runs as, if another than --group.")
            .makes("`group=` of its `WSGIDaemonProcess`"),
        Opt::pair("service-log-file", "SERVICE", "FILE-NAME")
            .help("A log file of its own for a service, in the directory of the other logs.")
            .makes("a `<VirtualHost>` with an `ErrorLog` of its own"),
    ],
};

//! What is served: the application, and how Python finds and imports it.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Application",
    about: "The entry point is the first word that is no option: a script file, or what \
            `--application-type` says. Without one a page is served that says the server works.",
    options: &[
        Opt::text("application-type", "TYPE")
            .default("script")
            .help(
                "What the entry point is: 'script', a file of Python; 'module', the dotted name \
                 of a module to import; 'paste', the ini file of a Paste deployment; 'static', a \
                 directory (default: the current one) whose files are served without any Python.",
            )
            .makes(
                "`application_type` in `handler.wsgi`; for `static` also `-DMOD_WSGI_STATIC_ONLY`",
            ),
        Opt::text("entry-point", "FILE-PATH|MODULE")
            .help(
                "The entry point, for those who like to see it named in a long command line. \
                 Takes precedence over the positional one.",
            )
            .makes("`entry_point` in `handler.wsgi`"),
        Opt::text("callable-object", "NAME")
            .default("application")
            .help("The name of the WSGI callable in the script or module.")
            .makes("`callable_object` in `handler.wsgi`, `WSGICallableObject`"),
        Opt::text("application-group", "NAME")
            .default("%{GLOBAL}")
            .help(
                "The interpreter the application runs in. The default is Python's main one; any \
                 other name makes a sub-interpreter of that name. A name with '%{' in it, other \
                 than the default, is known per request only, so nothing is imported at start.",
            )
            .makes("`application-group=` of `WSGIHandlerScript` and `WSGIImportScript`"),
        Opt::text("process-group", "NAME")
            .otherwise("HOST:PORT")
            .help(
                "The name of the daemon process group, which is also what `ps` shows of its \
                 processes. Of no effect with --embedded-mode.",
            )
            .makes("the name in `WSGIDaemonProcess`; the display name becomes `(wsgi:NAME)`"),
        Opt::text("mount-point", "URL-PATH")
            .default("/")
            .help("The URL path at which the application is mounted.")
            .makes(
                "the second `<Directory>` of the document root, `mount_point` in `handler.wsgi`",
            ),
        Opt::text("working-directory", "DIRECTORY-PATH")
            .otherwise("the current directory")
            .help(
                "The current directory of the application, which is also the first one searched \
                 for modules.",
            )
            .makes("`home=` of `WSGIDaemonProcess`, `cd` in `apachectl`"),
        Opt::text("python", "PATH")
            .otherwise("the Python of this command, or else python3 on PATH")
            .help(
                "The Python to run the application with: an executable, the prefix of an \
                 installation, or a virtual environment.",
            )
            .makes("`WSGIPythonHome`"),
        Opt::text("python-path", "DIRECTORY-PATH")
            .repeats()
            .help(
                "A directory to search for modules; '.pth' files in it are followed. Give the \
                 option several times for several directories.",
            )
            .makes("`python-path=` of `WSGIDaemonProcess`; otherwise `WSGIPythonPath`"),
        Opt::text("python-eggs", "DIRECTORY-PATH")
            .otherwise("python-eggs in the server root")
            .help("The directory into which packages that are eggs unpack their files.")
            .makes("`python-eggs=` of `WSGIDaemonProcess`"),
        Opt::text("python-warnings", "SPEC")
            .repeats()
            .help(
                "A filter for Python's warnings as with `python -W`, such as 'error' or \
                 'ignore::DeprecationWarning'. Several are applied in the order given.",
            )
            .makes("one `WSGIPythonWarnings` each"),
        Opt::flag("free-threading")
            .help("Run without the GIL. Needs a free-threaded build of Python.")
            .makes("`WSGIFreeThreading On`"),
        Opt::float("switch-interval", "SECONDS")
            .otherwise("Python's own, 0.005")
            .help("How long a thread may hold the GIL while others wait for it.")
            .makes("`WSGISwitchInterval`, `switch-interval=` of `WSGIDaemonProcess`"),
        Opt::flag("orphan-interpreter")
            .help("Leave Python as it is when a process ends, without running its exit functions.")
            .makes("`WSGIDestroyInterpreter Off`"),
        Opt::pair("setenv", "KEY", "VALUE")
            .help("Add a key to the environ of each request.")
            .makes("`SetEnv`"),
        Opt::text("passenv", "KEY")
            .repeats()
            .help("Copy a variable of the server's environment into the environ of each request.")
            .makes("`PassEnv`"),
        Opt::text("locale", "NAME")
            .otherwise("the current locale, or a UTF-8 one if that is 'C'")
            .help("The locale of the server and the application, as in LC_ALL.")
            .makes(
                "`LANG` and `LC_ALL` in `apachectl`, `lang=` and `locale=` of `WSGIDaemonProcess`",
            ),
        Opt::text("lang", "NAME")
            .help("An older name of --locale, which takes precedence.")
            .hidden(),
    ],
};

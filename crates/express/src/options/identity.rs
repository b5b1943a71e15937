//! Who the server runs as, which programs it is made of, and where its files are.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Users, programs and files",
    about: "",
    options: &[
        Opt::text("user", "USERNAME")
            .otherwise("the current user")
            .help("As root: the user that Apache's children and the application run as.")
            .makes("`WSGI_RUN_USER` in `apachectl`, `User`"),
        Opt::text("group", "GROUP")
            .otherwise("the current group")
            .help("As root: the group that Apache's children and the application run as.")
            .makes("`WSGI_RUN_GROUP` in `apachectl`, `Group`"),
        Opt::text("server-root", "DIRECTORY-PATH")
            .otherwise("mod_wsgi-HOST:PORT:UID in TMPDIR or /tmp; in /var/tmp on macOS")
            .help("The directory for the generated files, logs and everything else of this server.")
            .makes("`ServerRoot`; see below for what is in it"),
        Opt::text("pid-file", "FILE-PATH")
            .otherwise("httpd.pid in the server root")
            .help("The file with the process id of Apache's parent process.")
            .makes("`PidFile`"),
        Opt::text("socket-prefix", "DIRECTORY-PATH")
            .otherwise("the server root")
            .help("A directory for the sockets between Apache and daemon processes.")
            .makes("`WSGISocketPrefix DIRECTORY/wsgi`"),
        Opt::text("httpd-executable", "FILE-PATH")
            .otherwise("the one apxs tells of")
            .help("Apache's executable. The environment variable HTTPD takes precedence.")
            .makes("`HTTPD` in `apachectl`"),
        Opt::text("modules-directory", "DIRECTORY-PATH")
            .otherwise("the one apxs tells of")
            .help("The directory of Apache's modules.")
            .makes("`MOD_WSGI_MODULES_DIRECTORY`"),
        Opt::text("mime-types", "FILE-PATH")
            .otherwise("the first one that Python knows of")
            .help("The file that gives content types to the endings of file names.")
            .makes("`TypesConfig`"),
        Opt::text("shell-executable", "FILE-PATH")
            .otherwise("bash, or else sh")
            .help("The shell that runs `apachectl`.")
            .makes("the first line of `apachectl`"),
        Opt::text("process-name", "NAME")
            .otherwise("httpd (mod_wsgi-express)")
            .help("What `ps` shows of Apache's processes, for supervisors that look for a name.")
            .makes("the name that `apachectl` gives to Apache"),
        Opt::text("envvars-script", "FILE-PATH")
            .otherwise("envvars in the server root")
            .help("A shell script that sets environment variables for Apache.")
            .makes("read by `apachectl` instead of `envvars`"),
        Opt::text("rewrite-rules", "FILE-PATH")
            .otherwise("rewrite.conf in the server root")
            .help("A file of mod_rewrite's directives for the document root.")
            .makes("`Include` in the `<Directory>` of the document root"),
        Opt::text("include-file", "FILE-PATH")
            .repeats()
            .help(
                "A file of Apache's configuration to include last. It may use <IfDefine> with the \
                 names of the -D switches, and the variables that `apachectl` exports.",
            )
            .makes("`Include`"),
        Opt::flag("setup-only")
            .help("Write the files and stop, as setup-server does.")
            .makes("nothing is started"),
    ],
};

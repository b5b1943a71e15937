//! Files that Apache serves without the application.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Files",
    about: "A file in the document root is served as it is; what is not there goes to the \
            application.",
    options: &[
        Opt::text("document-root", "DIRECTORY-PATH")
            .otherwise("htdocs in the server root")
            .help("The directory of static files.")
            .makes("`DocumentRoot`"),
        Opt::text("directory-index", "FILE-NAME")
            .help("The file to serve for a directory, instead of asking the application.")
            .makes("`DirectoryIndex`"),
        Opt::flag("directory-listing")
            .help("List directories that have no such file, where the application has no say.")
            .makes("`Options +Indexes`"),
        Opt::text("allow-override", "DIRECTIVE-TYPE")
            .repeats()
            .otherwise("None")
            .help("What '.htaccess' files may do.")
            .makes("`AllowOverride`"),
        Opt::pair("url-alias", "URL-PATH", "FILE-PATH|DIRECTORY-PATH")
            .help("Serve a file or a directory at a URL path.")
            .makes("`Alias`, and a `<Directory>` that lets everyone in"),
        Opt::pair("error-document", "STATUS", "URL-PATH")
            .help("What to serve for an error of Apache's: a URL path, or a text.")
            .makes("`ErrorDocument`"),
        Opt::flag("error-override")
            .help("Replace error responses of the application by Apache's, too. In daemon mode.")
            .makes("`WSGIErrorOverride On`"),
        Opt::pair("add-handler", "EXTENSION", "SCRIPT-PATH")
            .help("Let a WSGI script handle the files in the document root that end in '.EXT'.")
            .makes("`AddHandler`, and an entry in `resource.wsgi`"),
        Opt::flag("with-cgi")
            .help("Run executable files that end in '.cgi' as CGI scripts.")
            .makes("`Options +ExecCGI`, `AddHandler cgi-script .cgi`"),
        Opt::flag("enable-docs")
            .help("Serve a reference of these options at /__wsgi__/docs/.")
            .makes("`Alias /__wsgi__/docs`, `Alias /__wsgi__/images`"),
        Opt::flag("with-php5")
            .help("Load PHP 5 from libphp5.so and let it handle '.php'.")
            .hidden(),
    ],
};

//! Where the server listens, under which names, and HTTPS.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Listener and virtual host",
    about: "",
    options: &[
        Opt::text("host", "IP-ADDRESS")
            .otherwise("all interfaces")
            .help(
                "The address to listen on. An IPv6 address may be given with or without brackets.",
            )
            .makes("`Listen HOST:PORT`, `ServerName`"),
        Opt::integer("port", "NUMBER")
            .default("8000")
            .help("The port to listen on.")
            .makes("`Listen`, `<VirtualHost>`"),
        Opt::flag("http2")
            .help("Speak HTTP/2, too. Needs Apache's mod_http2.")
            .makes("`Protocols h2 h2c http/1.1`"),
        Opt::text("server-name", "HOSTNAME")
            .help(
                "The host name of the site. Requests for any other host are refused, except that \
                 a name beginning with 'www.' makes the name without it a redirect.",
            )
            .makes("name-based `<VirtualHost>`s"),
        Opt::text("server-alias", "HOSTNAME")
            .repeats()
            .help("A further host name of the site; '*' and '?' match as in ServerAlias.")
            .makes("`ServerAlias`"),
        Opt::flag("allow-localhost")
            .help("With --server-name, let clients on this machine in under any host name.")
            .makes("`Require host localhost` in the virtual host of all other names"),
        Opt::integer("server-backlog", "NUMBER")
            .default("500")
            .help("How many connections may wait for Apache to accept them.")
            .makes("`ListenBacklog`"),
        Opt::integer("keep-alive-timeout", "SECONDS")
            .default("2")
            .help("How long a connection is kept for a further request; 0 closes it at once.")
            .makes("`KeepAlive`, `KeepAliveTimeout`"),
        Opt::integer("limit-request-body", "BYTES")
            .default("10485760")
            .help("The largest request body that is accepted; 0 for no limit.")
            .makes("`LimitRequestBody`"),
        Opt::flag("chunked-request")
            .help("Accept request bodies that come in chunks, without a length.")
            .makes("`WSGIChunkedRequest On`"),
        Opt::text("map-head-to-get", "OFF|ON|AUTO")
            .default("Auto")
            .help(
                "Whether the application sees a GET where the client sent a HEAD. 'Auto': if an \
                 output filter may want to see the body.",
            )
            .makes("`WSGIMapHEADToGET`"),
        Opt::flag("compress-responses")
            .help("Compress responses that are text: plain, HTML, XML, CSS, JavaScript and JSON.")
            .makes("`AddOutputFilterByType DEFLATE`"),
        Opt::flag("enable-sendfile")
            .help("Let the kernel send files, where it and the file system support that.")
            .makes("`EnableSendfile On`, `WSGIEnableSendfile On`"),
    ],
};

pub(super) static HTTPS: Group = Group {
    title: "HTTPS",
    about: "HTTPS is served on a port of its own, beside HTTP, and needs a certificate and its key.",
    options: &[
        Opt::integer("https-port", "NUMBER")
            .alias("ssl-port")
            .help("The port to serve HTTPS on.")
            .makes("`Listen` and a `<VirtualHost>` with `SSLEngine On`; `MOD_WSGI_HTTPS_PORT`"),
        Opt::text("ssl-certificate-file", "FILE-PATH")
            .help("The file with the server's certificate.")
            .makes("`SSLCertificateFile`"),
        Opt::text("ssl-certificate-key-file", "FILE-PATH")
            .help("The file with the certificate's private key.")
            .makes("`SSLCertificateKeyFile`"),
        Opt::text("ssl-certificate", "FILE-PATH")
            .help("Both of the former in one: what the names have before '.crt' and '.key'.")
            .makes("`SSLCertificateFile`, `SSLCertificateKeyFile`"),
        Opt::text("ssl-ca-certificate-file", "FILE-PATH")
            .help(
                "The file with the authorities whose client certificates are accepted. The whole \
                 site then requires one, unless --ssl-verify-client narrows it down.",
            )
            .makes("`SSLCACertificateFile`, and `SSLVerifyClient require` with `SSLRequireSSL`"),
        Opt::text("ssl-verify-client", "URL-PATH")
            .repeats()
            .help("A part of the site that requires a client certificate; the rest does not.")
            .makes("a `<Location>` with `SSLVerifyClient require` instead of the one for `/`"),
        Opt::text("ssl-certificate-chain-file", "FILE-PATH")
            .help("The file with the certificates between the server's and the authority's.")
            .makes("`SSLCertificateChainFile`"),
        Opt::flag("ssl-environment")
            .help("Add mod_ssl's variables (SSL_CLIENT_S_DN and so on) to the environ of requests.")
            .makes("`SSLOptions +StdEnvVars`"),
        Opt::flag("https-only")
            .help("Redirect requests that came by HTTP to HTTPS.")
            .makes("a permanent redirect in the virtual host of the HTTP port"),
        Opt::text("hsts-policy", "PARAMS")
            .help(
                "With --https-only, the text of the Strict-Transport-Security header, such as \
                 'max-age=31536000; includeSubDomains'.",
            )
            .makes("`Header set Strict-Transport-Security`"),
    ],
};

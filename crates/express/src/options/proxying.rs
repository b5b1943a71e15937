//! Other servers: those behind this one, and those in front of it.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Proxies",
    about: "",
    options: &[
        Opt::pair("proxy-mount-point", "URL-PATH", "URL")
            .alias("proxy-url-alias")
            .help("Let another server answer for all URLs below a path.")
            .makes("`ProxyPass`, `ProxyPassReverse` and `X-Forwarded-…` headers"),
        Opt::pair("proxy-virtual-host", "HOSTNAME", "URL")
            .help("Let another server answer for a whole host.")
            .makes("a `<VirtualHost>` with `ProxyPass` and `ProxyPassReverse`"),
        Opt::text("trust-proxy", "IP-ADDRESS/SUBNET")
            .repeats()
            .help("The address or network of a proxy in front of this server.")
            .makes("`WSGITrustedProxies`"),
        Opt::text("trust-proxy-header", "HEADER-NAME")
            .repeats()
            .help("A header of such a proxy to believe, such as X-Forwarded-For.")
            .makes("`WSGITrustedProxyHeaders`"),
    ],
};

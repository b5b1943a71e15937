//! HTTPS: certificates, who must show one, and whether HTTP is left at all.

use serde::Serialize;

use super::Names;
use super::names::{bare, listen, url};
use super::paths::given;
use crate::machine::Machine;
use crate::values::Values;

/// HTTPS, if there is any.
#[derive(Debug, Serialize)]
pub(crate) struct Tls {
    pub(crate) port: i64,
    listen: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) chain: Option<String>,
    pub(crate) authority: Option<String>,
    /// The parts of the site that need a client's certificate.
    verify: Vec<String>,
    /// Whether that is all of it. Then the certificate is asked for while a client connects, which
    /// is the only time that browsers show one with TLS 1.3.
    everywhere: bool,
    environment: bool,
    pub(crate) only: bool,
    hsts: Option<String>,
    /// The beginning of the URLs that HTTP is redirected to. A server without a name goes by the
    /// one the client used.
    redirect: String,
    /// The URL that the parent domain is redirected to.
    site_url: String,
}

/// Options that make no sense without the port.
const CERTIFICATES: [&str; 5] = [
    "ssl-certificate",
    "ssl-certificate-file",
    "ssl-certificate-key-file",
    "ssl-certificate-chain-file",
    "ssl-ca-certificate-file",
];

impl Tls {
    /// `Err` is the message for the user.
    pub(super) fn new(
        values: &Values,
        machine: &Machine,
        names: &Names,
    ) -> Result<Option<Tls>, String> {
        let Some(port) = values.integer("https-port") else {
            if CERTIFICATES.iter().any(|name| values.text(name).is_some()) {
                return Err("--https-port must be specified when SSL certificate options are \
                            provided."
                    .to_owned());
            }
            for name in ["https-only", "ssl-environment"] {
                if values.flag(name) {
                    return Err(format!("--{name} requires --https-port"));
                }
            }
            return Ok(None);
        };
        let path = |name| given(values, machine, name);
        let both = |ending: &str| -> Result<Option<String>, String> {
            Ok(path("ssl-certificate")?.map(|prefix| format!("{prefix}.{ending}")))
        };
        let certificate = both("crt")?.or(path("ssl-certificate-file")?);
        let key = both("key")?.or(path("ssl-certificate-key-file")?);
        let (Some(certificate), Some(key)) = (certificate, key) else {
            return Err("--https-port requires a certificate and its key: \
                        --ssl-certificate-file and --ssl-certificate-key-file, or --ssl-certificate"
                .to_owned());
        };
        let authority = path("ssl-ca-certificate-file")?;
        let mut verify = values.texts("ssl-verify-client").to_vec();
        verify.sort_by(|a, b| b.cmp(a));
        match (&authority, verify.as_slice()) {
            (None, [_, ..]) => {
                return Err("--ssl-verify-client requires --ssl-ca-certificate-file".to_owned());
            }
            (Some(_), []) => verify.push("/".to_owned()),
            _ => {}
        }
        let to = names.site.as_deref().unwrap_or("%{SERVER_NAME}");
        Ok(Some(Tls {
            port,
            listen: listen(values.text("host").map(bare), port),
            certificate,
            key,
            chain: path("ssl-certificate-chain-file")?,
            authority,
            everywhere: verify.iter().any(|path| path == "/"),
            verify,
            environment: values.flag("ssl-environment"),
            only: values.flag("https-only"),
            hsts: values.text("hsts-policy").map(unquoted),
            redirect: url("https", to, port).trim_end_matches('/').to_owned(),
            site_url: url("https", to, port),
        }))
    }
}

/// Without the quotes that used to be needed around a policy.
fn unquoted(text: &str) -> String {
    let inner = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_a_policy() {
        assert_eq!(unquoted("\"max-age=1; preload\""), "max-age=1; preload");
        assert_eq!(unquoted("max-age=1"), "max-age=1");
        assert_eq!(unquoted("\""), "\"");
    }
}

//! The `-D` names that Apache is started with.
//!
//! Nothing in the generated configuration asks for them, but configuration that users add with
//! `--include-file` may, in `<IfDefine>`; so names and meanings are an interface.

use super::{Mode, Plan};
use crate::values::Values;

/// All names that apply, in order.
pub(super) fn defines(plan: &Plan, values: &Values) -> Vec<String> {
    let flag = |name| values.flag(name);
    let text = |name| values.text(name).is_some();
    let texts = |name: &str| !values.texts(name).is_empty();
    let pairs = |name: &str| !values.pairs(name).is_empty();
    let tls = plan.tls.as_ref();
    let metrics = flag("server-metrics") || flag("server-status");
    let alone = [
        ("ORPHAN_INTERPRETER", flag("orphan-interpreter")),
        ("EMBEDDED_MODE", plan.mode == Mode::Embedded),
        ("MOD_WSGI_IMPORT_HANDLER_SCRIPT", plan.application.preload),
        ("ONE_PROCESS", plan.mode == Mode::Debug),
    ];
    let ours = [
        ("VIRTUAL_HOST", plan.names.site.is_some()),
        ("REDIRECT_WWW", plan.names.parent.is_some()),
        ("WITH_HTTP2", flag("http2")),
        ("WITH_HTTPS", tls.is_some()),
        ("VERIFY_CLIENT", tls.is_some_and(|tls| tls.authority.is_some())),
        ("CERTIFICATE_CHAIN", tls.is_some_and(|tls| tls.chain.is_some())),
        ("SSL_ENVIRONMENT", flag("ssl-environment")),
        ("HTTPS_ONLY", flag("https-only")),
        ("HSTS_POLICY", text("hsts-policy")),
        ("SERVER_ALIAS", texts("server-alias")),
        ("ALLOW_LOCALHOST", flag("allow-localhost")),
        ("STATIC_ONLY", plan.is_static()),
        ("ENABLE_SENDFILE", flag("enable-sendfile")),
        ("SERVER_METRICS", metrics),
        ("SERVER_STATUS", flag("server-status")),
        ("TELEMETRY_SERVICE", plan.telemetry.is_some()),
        ("SLOW_REQUESTS", values.float("slow-requests").is_some()),
        ("SWITCH_INTERVAL", values.float("switch-interval").is_some()),
        ("FREE_THREADING", flag("free-threading")),
        ("TELEMETRY_OPTIONS", texts("telemetry-options")),
        ("DIRECTORY_INDEX", text("directory-index")),
        ("DIRECTORY_LISTING", flag("directory-listing")),
        ("ERROR_LOG_FORMAT", text("error-log-format")),
        ("ACCESS_LOG", flag("access-log")),
        ("ROTATE_LOGS", plan.log.rotates()),
        ("KEEP_ALIVE", values.integer("keep-alive-timeout") != Some(0)),
        ("COMPRESS_RESPONSES", flag("compress-responses")),
        ("MULTIPROCESS", values.integer("processes").is_some()),
        ("WITH_LISTENER_HOST", text("host")),
        ("ERROR_OVERRIDE", flag("error-override")),
        ("HOST_ACCESS", text("host-access-script")),
        ("AUTH_USER", text("auth-user-script")),
        ("AUTH_GROUP", text("auth-group-script")),
        ("CHUNKED_REQUEST", flag("chunked-request")),
        ("WITH_PHP5", flag("with-php5")),
        ("WITH_PROXY", pairs("proxy-mount-point") || pairs("proxy-virtual-host")),
        ("WITH_PROXY_HEADERS", texts("trust-proxy-header")),
        ("WITH_TRUSTED_PROXIES", texts("trust-proxy")),
        ("WITH_PYTHON_PATH", !plan.application.python_path.is_empty()),
        ("WITH_SOCKET_PREFIX", text("socket-prefix")),
        ("DISABLE_RELOADING", plan.mode == Mode::Embedded || flag("disable-reloading")),
        ("CGID_SCRIPT", plan.modules.cgi == Some("cgid")),
        ("CGI_SCRIPT", plan.modules.cgi == Some("cgi")),
    ];
    let chosen = |(name, holds): (&'static str, bool)| holds.then_some(name);
    let mut names: Vec<String> = alone.into_iter().filter_map(chosen).map(str::to_owned).collect();
    names.extend(ours.into_iter().filter_map(chosen).map(|name| format!("MOD_WSGI_{name}")));
    let mpm = |verb: &str, name: &str| {
        format!("MOD_WSGI_MPM_{verb}_{}_MODULE", name.to_ascii_uppercase())
    };
    names.extend(plan.modules.mpm.map(|name| mpm("ENABLE", name)));
    names.extend(plan.modules.mpms.iter().map(|name| mpm("EXISTS", name)));
    names
}

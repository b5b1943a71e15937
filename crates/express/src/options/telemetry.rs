//! Metrics: of Apache, and of the application's processes.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Metrics and telemetry",
    about: "",
    options: &[
        Opt::flag("server-metrics")
            .help("Let the application ask for metrics of the server.")
            .makes("`WSGIServerMetrics On`, `ExtendedStatus On`, `server-metrics=On`"),
        Opt::flag("server-status")
            .help("Show Apache's status page at /server-status, to clients on this machine.")
            .makes("`SetHandler server-status` in a `<Location>`"),
        Opt::text("telemetry-service", "TARGET")
            .help("Send metrics to a local socket, given as 'unix:/path'.")
            .makes("`WSGITelemetryService`"),
        Opt::flag("enable-telemetry")
            .help(
                "Run the collector and web page of the mod_wsgi-telemetry package beside the \
                 application, and send metrics there.",
            )
            .makes("`telemetry-service.py`, the service `telemetry`, `WSGITelemetryService`"),
        Opt::integer("telemetry-ui-port", "NUMBER")
            .default("8888")
            .help("The port of that web page, on 127.0.0.1.")
            .makes("an argument in `telemetry-service.py`"),
        Opt::float("telemetry-interval", "SECONDS")
            .default("1.0")
            .help("How often metrics are sent.")
            .makes("`interval=` of `WSGITelemetryService`"),
        Opt::float("slow-requests", "SECONDS")
            .help("Report requests that run longer than this. Needs a target for metrics.")
            .makes("`WSGISlowRequests`"),
        Opt::text("telemetry-options", "ARGS")
            .repeats()
            .help("What else to send, such as '+CaptureUserAgent'.")
            .makes("one `WSGITelemetryOptions` each"),
    ],
};

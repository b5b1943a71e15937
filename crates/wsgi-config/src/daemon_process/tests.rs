//! Every option: its default, what it takes, and the words when it does not.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn parse(options: &str) -> DaemonProcess {
    DaemonProcess::parse(format!("d {options}").as_bytes()).unwrap()
}

fn error(arguments: &str) -> String {
    DaemonProcess::parse(arguments.as_bytes()).unwrap_err().to_string()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn all_options_of_the_reference_and_a_few_more() {
    let mut names: Vec<_> = OPTIONS.iter().map(|rule| rule.name).collect();
    assert_eq!(OPTIONS.iter().filter(|rule| !rule.is_addition).count(), 44);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OPTIONS.len());
}

#[test]
fn defaults() {
    let process = parse("");
    assert_eq!(process, DaemonProcess { name: b"d".to_vec(), ..DaemonProcess::default() });
    assert_eq!(process.threads, 15);
    assert_eq!((process.process_count(), process.is_multiprocess()), (1, false));
    assert_eq!(process.shutdown_timeout, Some(secs(5)));
    assert_eq!(process.deadlock_timeout, Some(secs(300)));
    assert_eq!(process.graceful_timeout, secs(15));
    assert_eq!(process.connect_timeout, secs(15));
    assert_eq!(process.response_flush_delay, Duration::from_millis(5));
    assert_eq!(process.listen_backlog, 100);
    assert_eq!(process.header_line_limit(), 32766);
    assert_eq!(process.flush_limit(), 8 << 20);
    for off in [
        process.startup_timeout,
        process.inactivity_timeout,
        process.request_timeout,
        process.interrupt_timeout,
        process.eviction_timeout,
        process.restart_interval,
        process.socket_timeout,
        process.queue_timeout,
        process.response_socket_timeout,
        process.cpu_time_limit,
    ] {
        assert_eq!(off, None);
    }
}

/// Written in other ways, the default is the default; [`OptionRule::get`] says so.
#[test]
fn documented_defaults_are_the_defaults() {
    for rule in OPTIONS {
        let mut process = DaemonProcess::default();
        let is_value = matches!(rule.kind, "number" | "seconds" | "milliseconds" | "bytes")
            || rule.kind.contains("`O")
            || rule.kind.contains("`o");
        if is_value
            && rule.name != "processes"
            && (rule.set)(&mut process, rule.default.as_bytes()).is_ok()
        {
            assert_eq!(process, DaemonProcess::default(), "{}", rule.name);
        } else {
            assert!(
                !rule.default.bytes().all(|b| b.is_ascii_digit()) || rule.name == "processes",
                "{}: {}",
                rule.name,
                rule.default
            );
        }
    }
}

#[test]
fn values_of_every_option() {
    let name = |name: &str| Some(Account::Name(name.as_bytes().to_vec()));
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let process = parse(
        r#"user=www group=#33 supplementary-groups=,a,,#5, processes=2 threads=3 umask=0027
        chroot=/jail home="/srv/my app" lang=C locale=de_DE.UTF-8 python-home=venv
        python-path=/a:/b python-eggs=/eggs switch-interval=1e-3 stack-size=262144
        maximum-requests=4 startup-timeout=5 shutdown-timeout=0 deadlock-timeout=7
        inactivity-timeout=8 request-timeout=9 interrupt-timeout=10 graceful-timeout=0
        eviction-timeout=12 restart-interval=13 connect-timeout=0 socket-timeout=15
        queue-timeout=16 listen-backlog=17 display-name=%{GROUP} send-buffer-size=512
        receive-buffer-size=0 header-buffer-size=8192 response-buffer-size=65536
        response-socket-timeout=18 response-flush-delay=0 socket-user=root script-user=#7
        cpu-time-limit=100 cpu-priority=-5 memory-limit=8589934592 virtual-memory-limit=1
        server-metrics=oN request-timeout-scaling=off swap=rolling spare=1 keep=On
        warm-up=/ready?x buffer-limit=8589934592 allow-root=On"#,
    );
    assert_eq!(process.user, name("www"));
    assert_eq!(process.group, Some(Account::Id(33)));
    let groups = vec![Account::Name(b"a".to_vec()), Account::Id(5)];
    assert_eq!(process.supplementary_groups, Some(groups));
    assert_eq!((process.processes, process.threads, process.umask), (Some(2), 3, Some(0o27)));
    assert_eq!(process.chroot, text("/jail"));
    assert_eq!(process.home, text("/srv/my app"));
    assert_eq!((process.lang, process.locale), (text("C"), text("de_DE.UTF-8")));
    assert_eq!(process.python_home, text("venv"));
    assert_eq!((process.python_path, process.python_eggs), (text("/a:/b"), text("/eggs")));
    assert_eq!(process.switch_interval, Some(Duration::from_millis(1)));
    assert_eq!((process.stack_size, process.maximum_requests), (Some(262144), 4));
    assert_eq!(process.startup_timeout, Some(secs(5)));
    assert_eq!(process.shutdown_timeout, None);
    assert_eq!(process.deadlock_timeout, Some(secs(7)));
    assert_eq!(process.inactivity_timeout, Some(secs(8)));
    assert_eq!(process.request_timeout, Some(secs(9)));
    assert_eq!(process.interrupt_timeout, Some(secs(10)));
    assert_eq!(process.graceful_timeout, Duration::ZERO);
    assert_eq!(process.eviction_timeout, Some(secs(12)));
    assert_eq!(process.restart_interval, Some(secs(13)));
    assert_eq!(process.connect_timeout, Duration::ZERO);
    assert_eq!(process.socket_timeout, Some(secs(15)));
    assert_eq!((process.queue_timeout, process.listen_backlog), (Some(secs(16)), 17));
    assert_eq!(process.display_name, text("%{GROUP}"));
    assert_eq!((process.send_buffer_size, process.receive_buffer_size), (512, 0));
    assert_eq!((process.header_buffer_size, process.response_buffer_size), (8192, 65536));
    assert_eq!(process.response_socket_timeout, Some(secs(18)));
    assert_eq!(process.response_flush_delay, Duration::ZERO);
    assert_eq!((process.socket_user, process.script_user), (name("root"), Some(Account::Id(7))));
    assert_eq!((process.cpu_time_limit, process.cpu_priority), (Some(secs(100)), -5));
    assert_eq!((process.memory_limit, process.virtual_memory_limit), (Some(1 << 33), Some(1)));
    assert!(process.server_metrics && !process.request_timeout_scaling && process.allow_root);
    assert_eq!((process.swap, process.spare, process.keep), (Swap::Rolling, 1, true));
    assert_eq!((process.warm_up, process.buffer_limit), (text("/ready?x"), 8 << 30));
}

#[test]
fn grammar_of_options() {
    assert_eq!(parse("threads= 3").threads, 3);
    assert_eq!(parse("threads=3 threads=4").threads, 4);
    assert_eq!(parse("threads='3'").threads, 3);
    assert_eq!(parse("supplementary-groups=").supplementary_groups, Some(Vec::new()));
    for empty in
        ["lang=", "locale=\"\"", "python-home=", "python-path=", "python-eggs=", "display-name="]
    {
        parse(empty);
    }
    let unknown = "Invalid option to WSGI daemon process definition.";
    for options in [
        "threads",
        "threads =3",
        "=3",
        "Threads=3",
        "thread=3",
        "newrelic-config-file=/x",
        "script=",
        "user=www x",
    ] {
        assert_eq!(error(&format!("d {options}")), unknown, "{options}");
    }
    // Options are read from left to right.
    assert_eq!(error("d threads=-1 nonsense"), "Invalid thread count for WSGI daemon process.");
    assert_eq!(error("d nonsense threads=-1"), unknown);
    let both = "Only one of script-user and script-group allowed.";
    assert_eq!(error("d script-user=a script-group=b"), both);
}

#[test]
fn options_that_are_given() {
    let given = |options: &str| parse(options).given().map(|rule| rule.name).collect::<Vec<_>>();
    assert!(given("").is_empty());
    assert_eq!(given("deadlock-timeout=300 processes=1 threads=2"), ["processes", "threads"]);
}

#[test]
fn names() {
    for none in ["", "  ", "\"\"", "'' threads=1"] {
        assert_eq!(error(none), "Name of WSGI daemon process not supplied.");
    }
    let name = |arguments: &str| DaemonProcess::parse(arguments.as_bytes()).unwrap().name;
    assert_eq!(name("threads=1"), b"threads=1");
    assert_eq!(name("\"a b\" threads=1"), b"a b");
    assert!(DaemonProcess::parse(&[b'x'; MAX_NAME]).is_ok());
    assert_eq!(error(&"x".repeat(MAX_NAME + 1)), "Name of WSGI daemon process is too long.");
    let is_reachable = |name: &str| DaemonProcess::parse(name.as_bytes()).unwrap().is_reachable();
    assert!(!is_reachable("%{GLOBAL}") && !is_reachable("%{SERVER}"));
    assert!(is_reachable("%{OTHER}") && is_reachable("%{ENV:X}") && is_reachable("d"));
}

/// The option with each of these values is refused with this message.
#[track_caller]
fn refuses(option: &str, values: &[&str], message: &str) {
    for value in values {
        assert_eq!(error(&format!("d {option}=\"{value}\"")), message, "{option}={value}");
    }
}

#[test]
fn directives_16_numbers_are_read_strictly() {
    let rubbish = &["", "abc", "5x", "60s", "1m", "1.5", "0x10", "#5", "1 ", " 1", "٣", "--1", "-"];
    let too_large = &["2147483648", "99999999999", "-2147483649"];
    for (option, what) in [
        ("processes", "process count"),
        ("threads", "thread count"),
        ("stack-size", "stack size"),
        ("maximum-requests", "request count"),
        ("startup-timeout", "startup timeout"),
        ("shutdown-timeout", "shutdown timeout"),
        ("deadlock-timeout", "deadlock timeout"),
        ("inactivity-timeout", "inactivity timeout"),
        ("request-timeout", "request timeout"),
        ("interrupt-timeout", "interrupt timeout"),
        ("graceful-timeout", "graceful timeout"),
        ("eviction-timeout", "eviction timeout"),
        ("restart-interval", "restart interval"),
        ("connect-timeout", "connect timeout"),
        ("socket-timeout", "socket timeout"),
        ("queue-timeout", "queue timeout"),
        ("listen-backlog", "listen backlog"),
        ("response-socket-timeout", "response socket timeout"),
        ("response-flush-delay", "response flush delay"),
        ("cpu-time-limit", "CPU time limit"),
        ("spare", "spare process count"),
    ] {
        let message = format!("Invalid {what} for WSGI daemon process.");
        refuses(option, rubbish, &message);
        refuses(option, too_large, &message);
        refuses(option, &["-1"], &message);
        assert!(DaemonProcess::parse(format!("d {option}=+1").as_bytes()).is_ok(), "{option}");
    }
    let message = "Invalid CPU priority for WSGI daemon process.";
    refuses("cpu-priority", rubbish, message);
    refuses("cpu-priority", too_large, message);
    for (option, what) in
        [("memory-limit", "memory limit"), ("virtual-memory-limit", "virtual memory limit")]
    {
        let message = format!("Invalid {what} for WSGI daemon process.");
        refuses(option, rubbish, &message);
        refuses(option, &["-1", "9223372036854775808", "1G"], &message);
    }
    for (option, what) in [
        ("send-buffer-size", "send buffer size"),
        ("receive-buffer-size", "receive buffer size"),
        ("header-buffer-size", "header buffer size"),
        ("response-buffer-size", "response buffer size"),
    ] {
        let message = format!("Invalid {what} for WSGI daemon process.");
        refuses(option, rubbish, &message);
        refuses(option, too_large, &message);
    }
}

#[test]
fn ranges() {
    refuses("processes", &["0"], "Invalid process count for WSGI daemon process.");
    refuses("threads", &["65534"], "Invalid thread count for WSGI daemon process.");
    assert_eq!(parse("threads=65533").threads, 65533);
    assert_eq!(parse("request-timeout=2147483647").request_timeout, Some(secs(2147483647)));
    refuses("stack-size", &["0"], "Invalid stack size for WSGI daemon process.");
    refuses(
        "send-buffer-size",
        &["1", "511", "-1"],
        "Send buffer size must be >= 512 bytes, or 0 for system default.",
    );
    refuses(
        "receive-buffer-size",
        &["1", "511", "-1"],
        "Receive buffer size must be >= 512 bytes, or 0 for system default.",
    );
    refuses(
        "header-buffer-size",
        &["1", "8191", "-1"],
        "Header buffer size must be >= 8192 bytes, or 0 for default.",
    );
    refuses(
        "response-buffer-size",
        &["1", "65535", "-1"],
        "Response buffer size must be >= 65536 bytes, or 0 for default.",
    );
    refuses(
        "umask",
        &["", "8", "-1", "0o22", "1000", "77777777777777777777", "u=rwx", "+7"],
        "Invalid umask for WSGI daemon process.",
    );
    assert_eq!(parse("umask=0000000077").umask, Some(0o77));
    refuses(
        "switch-interval",
        &["", "0", "-1", "nan", "inf", "5ms", "1e-9", "1e300"],
        "Invalid switch interval for WSGI daemon process.",
    );
    refuses(
        "server-metrics",
        &["", "yes", "1"],
        "Invalid server metrics flag for WSGI daemon process.",
    );
    refuses("keep", &["", "yes"], "Invalid keep flag for WSGI daemon process.");
    refuses("buffer-limit", &["", "-1", "1G"], "Invalid buffer limit for WSGI daemon process.");
    refuses(
        "warm-up",
        &["", "ready", "ftp://h/", "http://h", "http:///x", "'/a b'", "/\u{e4}"],
        "Invalid warm-up URL for WSGI daemon process.",
    );
    assert_eq!(parse("warm-up=https://a.b:8/").warm_up.as_deref(), Some(&b"https://a.b:8/"[..]));
    assert_eq!(parse("buffer-limit=0").buffer_limit, 0);
    refuses("swap", &["", "Rolling", "x"], "Invalid swap for WSGI daemon process.");
}

#[test]
fn paths_and_accounts() {
    refuses("home", &["", "rel", "~/x"], "Invalid home directory for WSGI daemon process.");
    refuses("chroot", &["", "rel"], "Invalid chroot directory for WSGI daemon process.");
    let bad = &["", "#", "#abc", "#-1", "#+1", "#5x", "#4294967295", "#4294967296"];
    for (option, what) in [
        ("user", "user"),
        ("group", "group"),
        ("socket-user", "socket user"),
        ("script-user", "script user"),
        ("script-group", "script group"),
    ] {
        refuses(option, bad, &format!("Invalid {what} for WSGI daemon process."));
    }
    refuses(
        "supplementary-groups",
        &["#abc", "a,#"],
        "Invalid supplementary groups for WSGI daemon process.",
    );
}

#[test]
fn the_request_limit_is_scaled_by_threads() {
    let limit = |options: &str| parse(options).request_limit().map(|limit| limit.as_secs_f64());
    for (threads, seconds) in [(1, 60.0), (5, 156.6), (10, 198.2), (15, 222.5), (25, 253.1)] {
        let found = limit(&format!("threads={threads} request-timeout=60")).unwrap();
        assert!((found - seconds).abs() < 0.05, "{threads}: {found}");
    }
    assert_eq!(limit("threads=15 request-timeout=60 request-timeout-scaling=Off"), Some(60.0));
    assert_eq!(limit("threads=15"), None);
    assert_eq!(limit("threads=0 request-timeout=60"), None);
    assert!(limit("threads=65533 request-timeout=2147483647").unwrap() > 2e10);
}

#[test]
fn directives_12_one_threshold_for_requests_that_take_too_long() {
    let process = parse("threads=2 request-timeout=2 interrupt-timeout=3");
    assert_eq!(process.request_end(), Some(process.request_limit().unwrap() + secs(3)));
    let process = parse("threads=2 request-timeout=2");
    assert_eq!(process.request_end(), process.request_limit());
}

#[test]
fn other_times_and_sizes() {
    assert_eq!(parse("").eviction(), secs(15));
    assert_eq!(parse("graceful-timeout=7").eviction(), secs(7));
    assert_eq!(parse("eviction-timeout=3 graceful-timeout=7").eviction(), secs(3));
    assert_eq!(parse("cpu-time-limit=100").cpu_limits(), Some((100, 106)));
    assert_eq!(parse("cpu-time-limit=100 shutdown-timeout=0").cpu_limits(), Some((100, 101)));
    assert_eq!(parse("").cpu_limits(), None);
    assert_eq!(parse("").socket_limit(secs(60)), secs(60));
    assert_eq!(parse("socket-timeout=5").socket_limit(secs(60)), secs(5));
    assert_eq!(parse("").response_socket_limit(), None);
    assert_eq!(parse("socket-timeout=5").response_socket_limit(), Some(secs(5)));
    let both = "socket-timeout=5 response-socket-timeout=6";
    assert_eq!(parse(both).response_socket_limit(), Some(secs(6)));
    assert_eq!(parse("header-buffer-size=8192").header_line_limit(), 8190);
    assert_eq!(parse("response-buffer-size=65536").flush_limit(), 65536);
    assert_eq!(parse("").title(), None);
    assert_eq!(parse("display-name=x").title().as_deref(), Some(&b"x"[..]));
    assert_eq!(parse("display-name=%{GROUP}").title().as_deref(), Some(&b"(wsgi:d)"[..]));
}

#[test]
fn queue_times() {
    assert_eq!(parse("").queue_left(secs(1000)), QueueLeft::Unlimited);
    let process = parse("queue-timeout=5");
    assert_eq!(process.queue_left(secs(2)), QueueLeft::Time(secs(3)));
    assert_eq!(process.queue_left(secs(5)), QueueLeft::Time(Duration::ZERO));
    assert_eq!(process.queue_left(secs(5) + Duration::from_micros(1)), QueueLeft::Expired);
}

#[test]
fn what_applications_are_told() {
    assert!(parse("processes=1").is_multiprocess());
    assert!(!parse("threads=1").is_multithread() && parse("threads=2").is_multithread());
    assert!(parse("threads=1 maximum-requests=1").is_run_once());
    assert!(!parse("threads=2 maximum-requests=1").is_run_once());
    assert!(parse("threads=0").is_service());
}

/// Words that look like options, with values that are often right.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        any::<i32>().prop_map(|n| n.to_string().into_bytes()),
        (0..100_000u32).prop_map(|n| n.to_string().into_bytes()),
        any::<f64>().prop_map(|n| n.to_string().into_bytes()),
        "[0-7]{0,4}".prop_map(String::into_bytes),
        "(On|Off|overlap|rolling|#[0-9]{1,3}|/[a-z '\"\\\\]{0,5}|[a-z,#]{0,6})"
            .prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    let name = (0..OPTIONS.len()).prop_map(|index| OPTIONS[index].name.as_bytes().to_vec());
    (name, value).prop_map(|(name, value)| [&name, &b"="[..], &quoted(&value)].concat())
}

proptest! {
    #[test]
    fn reading_never_panics(text: Vec<u8>) {
        let _ = DaemonProcess::parse(&text);
    }

    #[test]
    fn what_is_accepted_reads_back(name in "[^\0]{1,8}", words in proptest::collection::vec(words(), 0..6)) {
        let line = [quoted(name.as_bytes()), words.join(&b" "[..])].join(&b" "[..]);
        if let Ok(process) = DaemonProcess::parse(&line) {
            prop_assert_eq!(&process.name, name.as_bytes());
            let again = DaemonProcess::parse(&process.arguments());
            prop_assert_eq!(again.as_ref(), Ok(&process));
            // Nothing that follows from it can overflow.
            let _ = (process.request_end(), process.cpu_limits(), process.title());
        }
    }

    #[test]
    fn each_option_alone_reads_back(word in words()) {
        let line = [b"d ".as_slice(), &word].concat();
        if let Ok(process) = DaemonProcess::parse(&line) {
            prop_assert_eq!(DaemonProcess::parse(&process.arguments()), Ok(process));
        }
    }
}

//! How many of Apache's own processes and threads an application needs.
//!
//! Apache only passes requests on in daemon mode, so it gets half as many clients again as the
//! application has threads, and some more for connections that are merely kept alive.

use serde::Serialize;

use crate::values::Values;

/// The numbers for each kind of MPM.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sizing {
    pub(crate) prefork: Prefork,
    /// For worker and event alike.
    pub(crate) threaded: Threaded,
    pub(crate) embedded: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Prefork {
    /// `MaxClients` and `ServerLimit`.
    pub(crate) limit: i64,
    pub(crate) start: i64,
    pub(crate) minimum: i64,
    pub(crate) maximum: i64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Threaded {
    pub(crate) servers: i64,
    pub(crate) threads: i64,
    /// `MaxClients`.
    pub(crate) limit: i64,
    pub(crate) start: i64,
    pub(crate) minimum: i64,
    pub(crate) maximum: i64,
}

/// One process with one thread, for debugging.
pub(crate) const SINGLE: Sizing = Sizing {
    prefork: Prefork { limit: 1, start: 1, minimum: 1, maximum: 1 },
    threaded: Threaded { servers: 1, threads: 1, limit: 1, start: 1, minimum: 1, maximum: 1 },
    embedded: false,
};

impl Sizing {
    /// For the application in Apache's children themselves.
    pub(crate) fn embedded(processes: i64, threads: i64) -> Sizing {
        let all = processes.saturating_mul(threads);
        Sizing {
            prefork: Prefork { limit: all, start: all, minimum: all, maximum: all },
            threaded: Threaded {
                servers: processes,
                threads,
                limit: all,
                start: processes,
                minimum: all,
                maximum: all,
            },
            embedded: true,
        }
    }

    /// For the application in daemon processes.
    pub(crate) fn daemon(processes: i64, threads: i64, values: &Values) -> Sizing {
        let all = processes.saturating_mul(threads);
        let clients = match values.integer("max-clients") {
            Some(given) => given.max(all),
            None => 10 + part(all, 1.5).max(10),
        };
        let initial = values.float("initial-workers");
        let spare = values.float("minimum-spare-workers").or(initial);
        let most = values.float("maximum-spare-workers");

        let some = |fraction| part(clients, fraction).max(1);
        let prefork = Prefork {
            limit: clients,
            start: some(initial.unwrap_or(0.05)),
            minimum: some(spare.unwrap_or(0.05)),
            maximum: some(most.unwrap_or(0.1)),
        };

        let per_child = if clients > 20 { clients / (clients / 20 + 1) } else { 10 };
        let servers = (clients + per_child - 1) / per_child;
        let several = |fraction| (part(servers, fraction) * per_child).max(per_child);
        let threaded = Threaded {
            servers,
            threads: per_child,
            limit: servers * per_child,
            start: part(servers, initial.unwrap_or(0.2)).max(1),
            minimum: several(spare.unwrap_or(0.2)),
            maximum: several(most.unwrap_or(0.6)),
        };
        Sizing { prefork, threaded, embedded: false }
    }
}

/// A fraction of a number, rounded down.
fn part(whole: i64, fraction: f64) -> i64 {
    (whole as f64 * fraction) as i64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::command::{Command, Parsed};

    fn check(words: &str, prefork: [i64; 4], threaded: [i64; 6]) {
        let list: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let Parsed::Run(values) = Command::SetupServer.parse(&list).unwrap() else { panic!() };
        let processes = values.integer("processes").unwrap_or(1);
        let threads = values.integer("threads").unwrap();
        let sizing = match values.flag("embedded-mode") {
            true => Sizing::embedded(processes, threads),
            false => Sizing::daemon(processes, threads, &values),
        };
        let p = &sizing.prefork;
        assert_eq!([p.limit, p.start, p.minimum, p.maximum], prefork, "{words}");
        let t = &sizing.threaded;
        assert_eq!(
            [t.servers, t.threads, t.limit, t.start, t.minimum, t.maximum],
            threaded,
            "{words}"
        );
    }

    #[test]
    fn numbers() {
        check("", [20, 1, 1, 2], [2, 10, 20, 1, 10, 10]);
        check("--processes 2 --threads 10", [40, 2, 2, 4], [4, 13, 52, 1, 13, 26]);
        check("--processes 3 --threads 15", [77, 3, 3, 7], [5, 19, 95, 1, 19, 57]);
        check("--processes 10 --threads 10", [160, 8, 8, 16], [10, 17, 170, 2, 34, 102]);
        check("--max-clients 10", [10, 1, 1, 1], [1, 10, 10, 1, 10, 10]);
        check("--max-clients 21", [21, 1, 1, 2], [3, 10, 30, 1, 10, 10]);
        check(
            "--max-clients 200 --initial-workers .5 --minimum-spare-workers .1 \
             --maximum-spare-workers .9",
            [200, 100, 20, 180],
            [12, 18, 216, 6, 18, 180],
        );
        check("--embedded-mode --processes 4 --threads 8", [32, 32, 32, 32], [4, 8, 32, 4, 32, 32]);
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let huge = i64::MAX / 2;
        let Parsed::Run(values) = Command::SetupServer.parse(&[]).unwrap() else { panic!() };
        let _ = Sizing::embedded(huge, huge);
        let sizing = Sizing::daemon(1, 1_000_000, &values);
        assert!(sizing.prefork.limit > 1_000_000);
    }
}

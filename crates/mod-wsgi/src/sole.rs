//! Asks the configuration of this server which process has one application group only, by the rules
//! of [`crate::tenants`].

use httpd_sys::{Line, Server};

use crate::settings::Global;
use crate::tenants::{self, Host, Lines, Sole};
use crate::{Pattern, Wsgi, interpreters};

/// A complete configuration, read for the rule.
pub(crate) struct Tenants<'s> {
    main: Server<'s>,
    /// `None` if the rule does not hold.
    lines: Option<Lines>,
    lower_case: bool,
}

impl<'s> Tenants<'s> {
    /// Reads the configuration of the main server and those behind it.
    pub(crate) fn read(main: Server<'s>, global: &Global) -> Tenants<'s> {
        // The main interpreter never has a GIL of its own.
        let holds = global.sole_tenant != Some(false) && !interpreters::wants_own_gil(global);
        let lines = holds.then(|| {
            let mut lines = Lines::default();
            for line in httpd_sys::lines() {
                let mut blocks = std::iter::successors(line.parent(), Line::parent);
                let in_section =
                    blocks.any(|block| !block.directive().eq_ignore_ascii_case(b"<VirtualHost"));
                lines.add(line.directive(), line.arguments(), in_section);
            }
            lines
        });
        Tenants { main, lines, lower_case: !global.is_case_sensitive() }
    }

    /// The only application group that a process of this group can have, if it runs in the main
    /// interpreter for that; the empty name is the server's own children.
    pub(crate) fn sole(&self, process_group: &[u8]) -> Option<Sole> {
        let lines = self.lines.as_ref()?;
        let configs = || {
            let servers = self.main.and_following();
            servers.filter_map(|server| Some((server, server.config::<Wsgi>()?)))
        };
        let hosts = configs().map(|(server, configured)| Host::<Pattern> {
            name: server.hostname(),
            port: server.port(),
            server: &configured.server,
        });
        let preloads = configs().flat_map(|(_, configured)| &configured.global.preloads);
        tenants::sole(process_group, hosts, preloads, lines, self.lower_case)
    }
}

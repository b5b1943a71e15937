//! Directives that say which script runs, and where.

use std::marker::PhantomData;

use wsgi_config::names::is_static;
use wsgi_config::words::{Words, flag};

use super::{Contexts, Directive, Setter, Target};
use crate::groups;
use crate::settings::{Alias, AliasOptions, HandlerScript, Location, Preload};

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"WSGIScriptAlias",
            contexts: Contexts(1 | 2),
            help: c"Map location to target WSGI script file.",
            default: "none",
            setter: Setter::Raw(|target, directive, arguments| {
                alias(target, directive, arguments, false)
            }),
        },
        Directive {
            name: c"WSGIScriptAliasMatch",
            contexts: Contexts(1 | 2),
            help: c"Map location pattern to target WSGI script file.",
            default: "none",
            setter: Setter::Raw(|target, directive, arguments| {
                alias(target, directive, arguments, true)
            }),
        },
        Directive {
            name: c"WSGIImportScript",
            contexts: Contexts(1 | 2),
            help: c"Location of WSGI import script.",
            default: "none",
            setter: Setter::Raw(|target, _, arguments| import(target, arguments)),
        },
        Directive {
            name: c"WSGIHandlerScript",
            contexts: Contexts::REQUEST,
            help: c"Location of WSGI handler script file.",
            default: "none",
            setter: Setter::Raw(|target, _, arguments| handler(target, arguments)),
        },
        Directive {
            name: c"WSGIProcessGroup",
            contexts: Contexts::REQUEST,
            help: c"Name of the WSGI process group.",
            default: "%{GLOBAL}",
            setter: Setter::Word(|target, name| {
                target.settings.process_group = Some(name.to_vec());
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIApplicationGroup",
            contexts: Contexts::REQUEST,
            help: c"Application interpreter group.",
            default: "%{RESOURCE}",
            setter: Setter::Word(|target, name| {
                target.settings.application_group = Some(name.to_vec());
                Ok(())
            }),
        },
        Directive {
            name: c"WSGISoleTenant",
            contexts: Contexts::SERVER,
            help:
                c"Run the only application group that a process can have in the main interpreter.",
            default: "On",
            setter: Setter::Flag(|target, on| target.global.sole_tenant = Some(on)),
        },
        Directive {
            name: c"WSGICallableObject",
            contexts: Contexts::ANYWHERE,
            help: c"Name of entry point in WSGI script file.",
            default: "application",
            setter: Setter::Word(|target, name| {
                target.settings.callable_object = Some(name.to_vec());
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIRestrictEmbedded",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable use of embedded mode.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.global.restrict_embedded = Some(on)),
        },
        Directive {
            name: c"WSGICaseSensitivity",
            contexts: Contexts::SERVER,
            help: c"Define whether file system is case sensitive.",
            default: if cfg!(target_os = "macos") { "Off" } else { "On" },
            setter: Setter::Flag(|target, on| target.global.case_sensitivity = Some(on)),
        },
    ];
}

const GLOBAL: &[u8] = b"%{GLOBAL}";
const INVALID_PROCESS_GROUP: &str = "Invalid name for WSGI process group.";
const INVALID_APPLICATION_GROUP: &str = "Invalid name for WSGI application group.";
const INVALID_CALLABLE: &str = "Invalid name for WSGI callable object.";
const NOT_CONFIGURED: &str = "WSGI process group not yet configured.";

fn alias<R>(
    target: &mut Target<'_, R>,
    directive: &Directive<R>,
    arguments: &[u8],
    is_pattern: bool,
) -> Result<(), String> {
    let mut words = Words::new(arguments);
    let mut word = || words.word().filter(|word| !word.is_empty());
    let (Some(location), Some(file)) = (word(), word()) else {
        return Err(format!(
            "{} requires at least two arguments, {}",
            directive.name(),
            directive.help.to_string_lossy()
        ));
    };
    let options = alias_options(&mut words)?;
    let preload = preload(&options, &file, is_pattern);
    let location = if is_pattern {
        let pattern =
            (target.compile)(&location).ok_or("Regular expression could not be compiled.")?;
        Location::Pattern(pattern)
    } else {
        Location::Prefix(location)
    };
    if let Some(preload) = preload {
        check_group(target, &preload.process_group)?;
        target.global.preloads.push(preload);
    }
    let server = target.server.as_mut().ok_or("not allowed here")?;
    server.aliases.push(Alias { location, target: file, options });
    Ok(())
}

fn alias_options(words: &mut Words<'_>) -> Result<AliasOptions, String> {
    let mut options = AliasOptions::default();
    while let Some(option) = words.option() {
        let (name, value) =
            option.map_err(|_| "Invalid option to WSGI script alias definition.")?;
        match name {
            b"process-group" => {
                options.process_group = Some(group(value, INVALID_PROCESS_GROUP)?);
            }
            b"application-group" => {
                options.application_group = Some(group(value, INVALID_APPLICATION_GROUP)?);
            }
            b"callable-object" if value.is_empty() => return Err(INVALID_CALLABLE.to_owned()),
            b"callable-object" => options.callable_object = Some(value),
            b"pass-authorization" => {
                let on = flag(&value).ok_or("Invalid value for authorization flag.")?;
                options.pass_authorization = Some(on);
            }
            _ => return Err("Invalid option to WSGI script alias definition.".to_owned()),
        }
    }
    Ok(options)
}

/// A name of an option; the keyword for the main interpreter or embedded mode becomes the empty
/// name it stands for.
fn group(value: Vec<u8>, error: &str) -> Result<Vec<u8>, String> {
    match value.as_slice() {
        b"" => Err(error.to_owned()),
        GLOBAL => Ok(Vec::new()),
        _ => Ok(value),
    }
}

/// The script of an alias that can be loaded in advance: both of its groups are the same for every
/// request, and so is the file.
fn preload(options: &AliasOptions, file: &[u8], is_pattern: bool) -> Option<Preload> {
    let process_group = options.process_group.clone().filter(|name| is_static(name))?;
    let application_group = options.application_group.clone().filter(|name| is_static(name))?;
    (!is_pattern || !file.contains(&b'$')).then(|| Preload {
        script: file.to_vec(),
        process_group,
        application_group,
        callable_object: options.callable_object.clone(),
        from_alias: true,
    })
}

/// Checks that a script which is to be loaded in advance may be in the process group.
fn check_group<R>(target: &Target<'_, R>, process_group: &[u8]) -> Result<(), String> {
    if process_group.is_empty() {
        return Ok(());
    }
    let written = &target.written;
    let group = target.groups.place(process_group).ok_or(NOT_CONFIGURED)?;
    let hostnames = [&group, &written.place].map(written.hostname);
    groups::check_preload(&group, &hostnames[0], &written.place, &hostnames[1])?;
    Ok(())
}

fn import<R>(target: &mut Target<'_, R>, arguments: &[u8]) -> Result<(), String> {
    let mut words = Words::new(arguments);
    let script = words
        .word()
        .filter(|word| !word.is_empty())
        .ok_or("Location of import script not supplied.")?;
    let (mut process_group, mut application_group) = (None, None);
    while let Some(option) = words.option() {
        const INVALID: &str = "Invalid option to WSGI import script definition.";
        match option.map_err(|_| INVALID)? {
            (b"process-group", value) => {
                process_group = Some(group(value, INVALID_PROCESS_GROUP)?);
            }
            (b"application-group", value) => {
                application_group = Some(group(value, INVALID_APPLICATION_GROUP)?);
            }
            _ => return Err(INVALID.to_owned()),
        }
    }
    let application_group = application_group.ok_or("Name of WSGI application group required.")?;
    let process_group = process_group.ok_or("Name of WSGI process group required.")?;
    check_group(target, &process_group)?;
    target.global.preloads.push(Preload {
        script,
        process_group,
        application_group,
        callable_object: None,
        from_alias: false,
    });
    Ok(())
}

/// Its groups are made anew for each request, so nothing about them is checked here.
fn handler<R>(target: &mut Target<'_, R>, arguments: &[u8]) -> Result<(), String> {
    let mut words = Words::new(arguments);
    let mut word = || words.word().filter(|word| !word.is_empty());
    let name = word().ok_or("Name for handler script not supplied.")?;
    let script = word().ok_or("Location of handler script not supplied.")?;
    let mut entry = HandlerScript {
        name,
        script,
        process_group: None,
        application_group: None,
        pass_authorization: None,
    };
    while let Some(option) = words.option() {
        const INVALID: &str = "Invalid option to WSGI handler script definition.";
        let given = |value: Vec<u8>, error: &str| match value.is_empty() {
            true => Err(error.to_owned()),
            false => Ok(Some(value)),
        };
        match option.map_err(|_| INVALID)? {
            (b"process-group", value) => {
                entry.process_group = given(value, INVALID_PROCESS_GROUP)?;
            }
            (b"application-group", value) => {
                entry.application_group = given(value, INVALID_APPLICATION_GROUP)?;
            }
            (b"pass-authorization", value) => {
                let on = flag(&value).ok_or("Invalid value for authorization flag.")?;
                entry.pass_authorization = Some(on);
            }
            _ => return Err(INVALID.to_owned()),
        }
    }
    target.settings.handler_scripts.push(entry);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{read, refused};
    use super::*;

    #[test]
    fn aliases_in_order_with_options() {
        let read = read(
            r#"
            WSGIScriptAlias /app "/srv/my app.wsgi" application-group=%{GLOBAL} callable-object=app
            WSGIScriptAliasMatch ^/m/([a-z]+) /srv/$1.wsgi process-group=%{GLOBAL} pass-authorization=On
            "#,
        )
        .unwrap();
        let aliases = &read.server.aliases;
        assert!(matches!(&aliases[0].location, Location::Prefix(prefix) if prefix == b"/app"));
        assert_eq!(aliases[0].target, b"/srv/my app.wsgi");
        assert_eq!(aliases[0].options.application_group.as_deref(), Some(&b""[..]));
        assert_eq!(aliases[0].options.callable_object.as_deref(), Some(&b"app"[..]));
        assert!(matches!(&aliases[1].location, Location::Pattern(_)));
        assert_eq!(aliases[1].options.pass_authorization, Some(true));
        assert!(read.global.preloads.is_empty());
    }

    #[test]
    fn aliases_that_name_both_groups_are_loaded_in_advance() {
        let both = "process-group=%{GLOBAL} application-group=shop";
        let preloads = |line: &str| read(line).unwrap().global.preloads.len();
        assert_eq!(preloads(&format!("WSGIScriptAlias / /a.wsgi {both}")), 1);
        assert_eq!(preloads("WSGIScriptAlias / /a.wsgi application-group=shop"), 0);
        assert_eq!(
            preloads(
                "WSGIScriptAlias / /a.wsgi process-group=%{GLOBAL} application-group=%{ENV:X}"
            ),
            0
        );
        assert_eq!(preloads(&format!("WSGIScriptAliasMatch ^/(.) /$1.wsgi {both}")), 0);
        assert_eq!(preloads(&format!("WSGIScriptAliasMatch ^/x /a.wsgi {both}")), 1);
    }

    #[test]
    fn alias_errors() {
        for line in ["WSGIScriptAlias", "WSGIScriptAlias /a", r#"WSGIScriptAlias /a """#] {
            refused(
                line,
                "WSGIScriptAlias requires at least two arguments, Map location to target WSGI script file.",
            );
        }
        let alias = |options: &str| format!("WSGIScriptAlias /a /a.wsgi {options}");
        refused(&alias(r#"process-group="""#), INVALID_PROCESS_GROUP);
        refused(&alias("application-group="), INVALID_APPLICATION_GROUP);
        refused(&alias("callable-object="), INVALID_CALLABLE);
        refused(&alias("pass-authorization=yes"), "Invalid value for authorization flag.");
        for bad in ["script-reloading=On", "process-group", "process-group =a", "Process-Group=a"] {
            refused(&alias(bad), "Invalid option to WSGI script alias definition.");
        }
        refused(&alias("process-group=a application-group=b"), NOT_CONFIGURED);
        refused("WSGIScriptAliasMatch ( /a.wsgi", "Regular expression could not be compiled.");
    }

    #[test]
    fn handler_scripts() {
        let read = read(
            "WSGIHandlerScript one /1.wsgi\n\
             WSGIHandlerScript two \"/my 2.wsgi\" process-group=%{GLOBAL} \
             application-group=%{ENV:X} pass-authorization=on",
        )
        .unwrap();
        let scripts = &read.server.settings.handler_scripts;
        assert_eq!((&scripts[0].name[..], &scripts[0].script[..]), (&b"one"[..], &b"/1.wsgi"[..]));
        assert_eq!(scripts[0].process_group, None);
        assert_eq!(scripts[1].script, b"/my 2.wsgi");
        assert_eq!(scripts[1].process_group.as_deref(), Some(GLOBAL));
        assert_eq!(scripts[1].application_group.as_deref(), Some(&b"%{ENV:X}"[..]));
        assert_eq!(scripts[1].pass_authorization, Some(true));
        refused("WSGIHandlerScript", "Name for handler script not supplied.");
        refused("WSGIHandlerScript a", "Location of handler script not supplied.");
        let with = |option: &str| format!("WSGIHandlerScript a /a.wsgi {option}");
        refused(&with("process-group="), INVALID_PROCESS_GROUP);
        refused(&with("application-group="), INVALID_APPLICATION_GROUP);
        refused(&with("pass-authorization=maybe"), "Invalid value for authorization flag.");
        for bad in ["callable-object=a", "process-group"] {
            refused(&with(bad), "Invalid option to WSGI handler script definition.");
        }
    }

    #[test]
    fn import_scripts() {
        let read =
            read("WSGIImportScript /i.py process-group=%{GLOBAL} application-group=x").unwrap();
        assert_eq!(
            read.global.preloads,
            [Preload {
                script: b"/i.py".to_vec(),
                process_group: Vec::new(),
                application_group: b"x".to_vec(),
                callable_object: None,
                from_alias: false,
            }]
        );
        refused("WSGIImportScript", "Location of import script not supplied.");
        refused("WSGIImportScript /i.py", "Name of WSGI application group required.");
        refused(
            "WSGIImportScript /i.py application-group=x",
            "Name of WSGI process group required.",
        );
        refused("WSGIImportScript /i.py a=b", "Invalid option to WSGI import script definition.");
        refused("WSGIImportScript /i.py process-group=d application-group=x", NOT_CONFIGURED);
    }
}

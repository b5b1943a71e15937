//! The options as pages, made from the same tables as the options themselves.

use crate::error::{Error, Result};
use crate::options::{GROUPS, Opt, Takes};
use crate::quote::html as escape;

/// The page of the documentation.
pub(crate) fn markdown() -> String {
    let mut page = String::from(
        "# Options of mod_wsgi-express\n\nOf `start-server` and `setup-server`, and of \
         `manage.py runmodwsgi`. The beginning of a name is enough if no other begins like it, and \
         `$NAME` in a value stands for a variable of the environment.\n",
    );
    for group in GROUPS {
        page.push_str(&format!("\n## {}\n", group.title));
        if !group.about.is_empty() {
            page.push_str(&format!("\n{}\n", group.about));
        }
        for opt in group.options.iter().filter(|opt| !opt.hidden) {
            page.push_str(&format!(
                "\n### `{}`\n\n{}\n\n{}\n",
                synopsis(opt),
                opt.help.replace('<', "\\<"),
                more(opt)
            ));
        }
    }
    page
}

/// The tables, for the Python package: its Django command has the same options.
pub(crate) fn json() -> Result<String> {
    let kind = |opt: &Opt| match opt.takes {
        Takes::Flag => "flag",
        Takes::Text(_) => "text",
        Takes::Integer(_) => "integer",
        Takes::Float(_) => "float",
        Takes::Pair(..) => "pair",
    };
    let options: Vec<serde_json::Value> = GROUPS
        .iter()
        .flat_map(|group| group.options.iter().map(move |opt| (group, opt)))
        .map(|(group, opt)| {
            serde_json::json!({
                "name": opt.name,
                "alias": opt.alias,
                "group": group.title,
                "kind": kind(opt),
                "metavars": opt.metavars(),
                "repeats": opt.repeats,
                "default": opt.default,
                "otherwise": opt.otherwise,
                "help": opt.help,
                "hidden": opt.hidden,
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&options);
    text.map(|text| text + "\n").map_err(|e| Error::other(e.to_string()))
}

/// The page that `--enable-docs` serves.
pub(crate) fn html() -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>mod_wsgi-express: options</title>\n<style>\n\
         body { font: 1em/1.5 sans-serif; max-width: 48em; margin: 2em auto; padding: 0 1em; }\n\
         dt { font-family: monospace; margin-top: 1em; }\n.more { color: #555; }\n\
         </style>\n</head>\n<body>\n<h1>Options of mod_wsgi-express</h1>\n",
    );
    for group in GROUPS {
        page.push_str(&format!("<h2>{}</h2>\n", escape(group.title)));
        if !group.about.is_empty() {
            page.push_str(&format!("<p>{}</p>\n", code(group.about)));
        }
        page.push_str("<dl>\n");
        for opt in group.options.iter().filter(|opt| !opt.hidden) {
            page.push_str(&format!(
                "<dt id=\"{}\">{}</dt>\n<dd>{}<br><span class=\"more\">{}</span></dd>\n",
                opt.name,
                escape(&synopsis(opt)),
                code(opt.help),
                code(&more(opt))
            ));
        }
        page.push_str("</dl>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// `--port NUMBER`
fn synopsis(opt: &Opt) -> String {
    let mut text = format!("--{}", opt.name);
    for metavar in opt.metavars() {
        text.push_str(&format!(" {metavar}"));
    }
    text
}

fn more(opt: &Opt) -> String {
    let mut text = String::new();
    if opt.repeats {
        text.push_str("Repeatable. ");
    }
    match (opt.otherwise, opt.default) {
        (Some(words), _) => text.push_str(&format!("Default: {words}. ")),
        (None, Some(value)) => text.push_str(&format!("Default: `{value}`. ")),
        (None, None) => {}
    }
    text.push_str(&format!("Makes: {}.", opt.makes));
    text
}

/// Markdown's backquotes as HTML; nothing else of it is used.
fn code(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escape(part);
        match at % 2 {
            0 => out.push_str(&part),
            _ => out.push_str(&format!("<code>{part}</code>")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_its_place() {
        let page = html();
        for opt in crate::options::all() {
            assert_eq!(page.contains(&format!("id=\"{}\"", opt.name)), !opt.hidden, "{}", opt.name);
        }
        assert!(page.contains("<code>Listen HOST:PORT</code>"));
    }
}

//! The rules of mod_wsgi's configuration that need no Apache.
//!
//! * [`words`]: how a directive's arguments are cut into words and `name=value` options;
//! * [`alias`]: which URL a `WSGIScriptAlias` takes, and what file it means;
//! * [`names`]: what `%{GLOBAL}`, `%{RESOURCE}` and their kin stand for;
//! * [`daemon_process`]: what `WSGIDaemonProcess` says about a group of processes;
//! * [`cgi`]: names of CGI variables, and the split of a URL into `SCRIPT_NAME` and `PATH_INFO`.
//!
//! All of it works on byte strings, as Apache has them, and none of it can fail on any input but
//! by returning an error. What needs a server (regular expressions, request records, pools) is in
//! `mod-wsgi`.

#![forbid(unsafe_code)]

pub mod alias;
pub mod cgi;
pub mod daemon_process;
pub mod names;
pub mod words;

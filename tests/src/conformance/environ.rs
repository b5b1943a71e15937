//! The environ dictionary: which keys, of which types, with which values.
//!
//! <https://peps.python.org/pep-3333/#environ-variables>

use super::target::Target;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

super::declare! {
    "environ.dict" Must "environ is a builtin dictionary, not a subclass." => dict;
    "environ.fresh" Must "An application may change environ without another request seeing it." => fresh;
    "environ.keys" Must "Every key is a str." => keys;
    "environ.native" Must "CGI variables are native strings without code points above 255." => native;
    "environ.method" Must "REQUEST_METHOD is the method, whatever it is." => method;
    "environ.split" Must "SCRIPT_NAME and PATH_INFO are parts of the path, each empty or with a leading slash." => split;
    "environ.path-latin1" Must "PATH_INFO is decoded from percents, its bytes as Latin-1." => path_latin1;
    "environ.query" Must "QUERY_STRING is what follows the question mark, undecoded." => query;
    "environ.query-empty" Must "QUERY_STRING is empty or absent without a query." => query_empty;
    "environ.server" Must "SERVER_NAME and SERVER_PORT are there and never empty." => server;
    "environ.protocol" Must "SERVER_PROTOCOL is the version of the request." => protocol;
    "environ.content" Must "CONTENT_TYPE and CONTENT_LENGTH are those of the request." => content;
    "environ.headers" Must "A request header is HTTP_, upper case, with underscores for hyphens." => headers;
    "environ.header-latin1" Must "The bytes of a header's value are decoded as Latin-1." => header_latin1;
    "environ.version" Must "wsgi.version is the tuple (1, 0)." => version;
    "environ.scheme" Must "wsgi.url_scheme is http over a plain connection." => scheme;
    "environ.flags" Must "wsgi.multithread, multiprocess and run_once are there, true or false." => flags;
    "environ.input" Must "wsgi.input reads: read, readline, readlines, iteration." => input;
    "environ.errors" Must "wsgi.errors writes: write, writelines, flush." => errors;
    "environ.no-http-content" Robust "There is no HTTP_CONTENT_TYPE and no HTTP_CONTENT_LENGTH." => no_http_content;
    "environ.duplicates" Robust "Headers sent twice are joined in order by a comma." => duplicates;
    "environ.underscore" Robust "X_Real_User cannot pass for X-Real-User." => underscore;
    "environ.httpoxy" Robust "A Proxy header does not become HTTP_PROXY." => httpoxy;
    "environ.remote" Robust "REMOTE_ADDR is the client's address." => remote;
}

/// A key of the environ, if it is there.
fn find<'a>(facts: &'a Value, key: &str) -> Option<&'a Value> {
    facts["environ"].get(key)
}

/// The value of a key that is a str.
fn text(facts: &Value, key: &str) -> Result<String> {
    let item = find(facts, key).with_context(|| format!("there is no {key}"))?;
    ensure!(item["type"] == "str", "{key} is a {}", item["type"]);
    Ok(item["value"].as_str().unwrap_or_default().to_owned())
}

fn is(facts: &Value, key: &str, wanted: &str) -> Result<()> {
    let found = text(facts, key)?;
    ensure!(found == wanted, "{key} is {found:?}, not {wanted:?}");
    Ok(())
}

fn dict(target: &Target) -> Result<()> {
    let facts = target.environ("/environ", &[])?;
    ensure!(facts["type"] == "builtins.dict", "it is a {}", facts["type"]);
    Ok(())
}

fn fresh(target: &Target) -> Result<()> {
    let mut connection = target.connect()?;
    for _ in 0..4 {
        let keep = [("Connection", "keep-alive")];
        connection.send(target.head("GET", "/environ?q", &keep))?;
        let response = connection.response("GET")?;
        let facts: Value = serde_json::from_slice(&response.body)?;
        ensure!(find(&facts, "probe.spoilt").is_none(), "a request sees another's key");
        is(&facts, "REQUEST_METHOD", "GET")?;
        is(&facts, "QUERY_STRING", "q")?;
        if response.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            connection = target.connect()?;
        }
    }
    Ok(())
}

fn keys(target: &Target) -> Result<()> {
    let facts = target.environ("/environ", &[("X-\u{e9}", "1")]).or_else(|_| {
        // Refusing such a header is right, too.
        target.environ("/environ", &[])
    })?;
    ensure!(facts["odd_keys"] == serde_json::json!([]), "not str: {}", facts["odd_keys"]);
    Ok(())
}

fn native(target: &Target) -> Result<()> {
    let path = "/environ/%ff%e2%82%ac?q=%e2%82%ac%ff";
    let headers = [("X-Wide", "\u{20ac}\u{e9}"), ("Content-Type", "text/\u{e9}")];
    let facts = target.environ(path, &headers)?;
    ensure!(facts["wide"] == serde_json::json!([]), "above 255: {}", facts["wide"]);
    let cgi = ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME"];
    for key in cgi.iter().chain(&["SERVER_PORT", "SERVER_PROTOCOL", "HTTP_X_WIDE"]) {
        text(&facts, key)?;
    }
    Ok(())
}

fn method(target: &Target) -> Result<()> {
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let response = target.request(method, "/environ", &[], b"")?;
        ensure!(response.status == 200, "{method}: {response:?}");
        is(&serde_json::from_slice(&response.body)?, "REQUEST_METHOD", method)?;
    }
    Ok(())
}

fn split(target: &Target) -> Result<()> {
    for path in ["/environ", "/environ/", "/environ/a/b/c.d", "/environ/a%20b;c=d"] {
        let facts = target.environ(path, &[])?;
        let (script, info) = (text(&facts, "SCRIPT_NAME")?, text(&facts, "PATH_INFO")?);
        ensure!(script == target.prefix(), "SCRIPT_NAME is {script:?}");
        ensure!(info == path.replace("%20", " "), "PATH_INFO of {path} is {info:?}");
    }
    Ok(())
}

fn path_latin1(target: &Target) -> Result<()> {
    let facts = target.environ("/environ/%e9/%c3%a9/%41%2b", &[])?;
    is(&facts, "PATH_INFO", "/environ/\u{e9}/\u{c3}\u{a9}/A+")
}

fn query(target: &Target) -> Result<()> {
    let facts = target.environ("/environ?a=%20b+c&d=%26;%C3%A9?x=/y", &[])?;
    is(&facts, "QUERY_STRING", "a=%20b+c&d=%26;%C3%A9?x=/y")
}

fn query_empty(target: &Target) -> Result<()> {
    for path in ["/environ", "/environ?"] {
        let facts = target.environ(path, &[])?;
        if find(&facts, "QUERY_STRING").is_some() {
            is(&facts, "QUERY_STRING", "")?;
        }
    }
    Ok(())
}

fn server(target: &Target) -> Result<()> {
    for headers in [&[][..], &[("Host", "example.org:1234")], &[("Host", "")]] {
        let response = target.request("GET", "/environ", headers, b"")?;
        if headers.first() == Some(&("Host", "")) && response.status == 400 {
            continue;
        }
        let facts = serde_json::from_slice(&response.body)?;
        ensure!(!text(&facts, "SERVER_NAME")?.is_empty(), "SERVER_NAME is empty");
        let port = text(&facts, "SERVER_PORT")?;
        ensure!(port.parse::<u16>().is_ok(), "SERVER_PORT is {port:?}");
    }
    Ok(())
}

fn protocol(target: &Target) -> Result<()> {
    is(&target.environ("/environ", &[])?, "SERVER_PROTOCOL", "HTTP/1.1")?;
    let mut connection = target.connect()?;
    connection.send(format!("GET {}/environ HTTP/1.0\r\n\r\n", target.prefix()))?;
    let response = connection.response("GET")?;
    is(&serde_json::from_slice(&response.body)?, "SERVER_PROTOCOL", "HTTP/1.0")
}

fn content(target: &Target) -> Result<()> {
    let headers = [("Content-Type", "text/x-odd; a=\"b\"")];
    let response = target.request("POST", "/environ", &headers, b"12345")?;
    let facts: Value = serde_json::from_slice(&response.body)?;
    is(&facts, "CONTENT_TYPE", "text/x-odd; a=\"b\"")?;
    is(&facts, "CONTENT_LENGTH", "5")?;
    let facts = target.environ("/environ", &[])?;
    for (key, empty) in [("CONTENT_TYPE", &[""][..]), ("CONTENT_LENGTH", &["", "0"])] {
        if find(&facts, key).is_some() {
            let found = text(&facts, key)?;
            let plain = key == "CONTENT_TYPE" && found == "text/plain";
            ensure!(empty.contains(&found.as_str()) || plain, "without a body {key} is {found:?}");
        }
    }
    Ok(())
}

fn headers(target: &Target) -> Result<()> {
    let sent = [("X-Some-Thing", "Va lue"), ("accept", "a/b"), ("X-123", "1"), ("X-Empty", "")];
    let facts = target.environ("/environ", &sent)?;
    is(&facts, "HTTP_X_SOME_THING", "Va lue")?;
    is(&facts, "HTTP_ACCEPT", "a/b")?;
    is(&facts, "HTTP_X_123", "1")?;
    is(&facts, "HTTP_X_EMPTY", "")?;
    is(&facts, "HTTP_HOST", "localhost")
}

fn header_latin1(target: &Target) -> Result<()> {
    let mut connection = target.connect()?;
    let head = target.head("GET", "/environ", &[("X-Bytes", "@")]);
    let (before, after) = head.split_once('@').context("the header was written")?;
    connection.send([before.as_bytes(), b"\xe9 \xc3\xa9", after.as_bytes()].concat())?;
    let response = connection.response("GET")?;
    is(&serde_json::from_slice(&response.body)?, "HTTP_X_BYTES", "\u{e9} \u{c3}\u{a9}")
}

fn version(target: &Target) -> Result<()> {
    let facts = target.environ("/environ", &[])?;
    let version = find(&facts, "wsgi.version").context("there is no wsgi.version")?;
    ensure!(version["type"] == "tuple", "it is a {}", version["type"]);
    let numbers: Vec<_> = [0, 1].map(|index| version["value"][index]["value"].as_u64()).to_vec();
    ensure!(numbers == [Some(1), Some(0)], "it is {}", version["value"]);
    Ok(())
}

fn scheme(target: &Target) -> Result<()> {
    is(&target.environ("/environ", &[])?, "wsgi.url_scheme", "http")?;
    is(&target.environ("/environ", &[("HTTPS", "on")])?, "wsgi.url_scheme", "http")
}

fn flags(target: &Target) -> Result<()> {
    let facts = target.environ("/environ", &[])?;
    for key in ["wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"] {
        let item = find(&facts, key).with_context(|| format!("there is no {key}"))?;
        ensure!(item["type"] == "bool", "{key} is a {}", item["type"]);
    }
    Ok(())
}

fn methods(target: &Target, key: &str, wanted: &[&str]) -> Result<()> {
    let facts = target.environ("/environ", &[])?;
    ensure!(find(&facts, key).is_some(), "there is no {key}");
    for name in wanted {
        let has =
            facts["methods"][key].as_array().is_some_and(|list| list.iter().any(|n| n == name));
        ensure!(has, "{key} has no {name}");
    }
    Ok(())
}

fn input(target: &Target) -> Result<()> {
    methods(target, "wsgi.input", &["read", "readline", "readlines", "__iter__"])
}

fn errors(target: &Target) -> Result<()> {
    methods(target, "wsgi.errors", &["write", "writelines", "flush"])?;
    let texts =
        super::plan::encode(r#"["probe: plain\n", "probe: part", "probe: \u00e9\u20ac\n", ""]"#);
    let results = target.json(&format!("/errors?texts={texts}"))?;
    ensure!(results == serde_json::json!(["passed", "passed", "passed", "passed"]), "{results}");
    Ok(())
}

fn no_http_content(target: &Target) -> Result<()> {
    let response = target.request("POST", "/environ", &[("Content-Type", "a/b")], b"12345")?;
    let facts: Value = serde_json::from_slice(&response.body)?;
    for key in ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"] {
        ensure!(find(&facts, key).is_none(), "there is {key}");
    }
    Ok(())
}

fn duplicates(target: &Target) -> Result<()> {
    let sent = [("X-Twice", "1"), ("X-Other", "x"), ("X-Twice", "2")];
    let found = text(&target.environ("/environ", &sent)?, "HTTP_X_TWICE")?;
    ensure!(found.replace(' ', "") == "1,2", "it is {found:?}");
    let sent = [("Cookie", "a=1"), ("Cookie", "b=2")];
    let found = text(&target.environ("/environ", &sent)?, "HTTP_COOKIE")?;
    ensure!(found.contains("a=1") && found.contains("b=2"), "a Cookie is lost: {found:?}");
    Ok(())
}

fn underscore(target: &Target) -> Result<()> {
    for sent in [
        [("X-Real-User", "alice"), ("X_Real_User", "root")],
        [("X_Real_User", "root"), ("X-Real-User", "alice")],
    ] {
        let response = target.request("GET", "/environ", &sent, b"")?;
        if response.status == 400 {
            continue;
        }
        is(&serde_json::from_slice(&response.body)?, "HTTP_X_REAL_USER", "alice")?;
    }
    Ok(())
}

fn httpoxy(target: &Target) -> Result<()> {
    let facts = target.environ("/environ", &[("Proxy", "http://evil.example/")])?;
    ensure!(find(&facts, "HTTP_PROXY").is_none(), "it does");
    Ok(())
}

fn remote(target: &Target) -> Result<()> {
    let mine = target.connect()?.stream().local_addr()?.ip().to_string();
    is(&target.environ("/environ", &[])?, "REMOTE_ADDR", &mine)
}

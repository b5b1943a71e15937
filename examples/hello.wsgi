"""What `cargo xtask serve` shows when it is given nothing else: that it works, and on what."""

import html
import platform
import sys

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>It works: mod_wsgi</title>
<style>
  body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 12vh auto; padding: 0 1rem;
         color: #223; background: #f8f9fb }}
  h1 {{ font-size: 1.9rem; margin-bottom: .3rem }}
  dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem;
        background: #fff; border: 1px solid #dde; border-radius: .5rem; padding: 1rem 1.3rem }}
  dt {{ color: #667 }}
  dd {{ margin: 0; overflow-wrap: anywhere }}
  code {{ background: #eef; padding: .1rem .3rem; border-radius: .2rem }}
</style>
<h1>It works.</h1>
<p>A Python application, run by Apache, answered your request for <code>{path}</code>.</p>
<dl>{rows}</dl>
<p>Now yours: <code>cargo xtask serve path/to/app.wsgi</code> or <code>cargo xtask serve
module:callable</code></p>
"""


def application(environ, start_response):
    facts = [
        ("Python", f"{platform.python_version()} ({sys.prefix})"),
        ("Server", environ.get("SERVER_SOFTWARE", "unknown")),
        ("Mode", "daemon" if environ.get("mod_wsgi.process_group") else "embedded"),
        ("Threads", "many" if environ["wsgi.multithread"] else "one"),
        ("Processes", "many" if environ["wsgi.multiprocess"] else "one"),
    ]
    rows = "".join(f"<dt>{html.escape(name)}<dd>{html.escape(fact)}" for name, fact in facts)
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    path = path.encode("latin-1").decode("utf-8", "replace")
    body = PAGE.format(path=html.escape(path), rows=rows).encode("utf-8")
    start_response(
        "200 OK",
        [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]

# What is served when no application is given. Written by mod_wsgi-express, and written anew each
# time it is run.

PAGE = b'''\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>mod_wsgi is running</title>
<style>
body { font: 1.1em/1.5 sans-serif; max-width: 36em; margin: 4em auto; padding: 0 1em; }
code { background: #eee; padding: .1em .3em; }
</style>
</head>
<body>
<p><img src="/__wsgi__/images/running.svg" alt="" width="96" height="96"></p>
<h1>It works</h1>
<p>Apache and mod_wsgi are running, and this page came from a Python application. To see your own
here, name it:</p>
<p><code>mod_wsgi-express start-server wsgi.py</code></p>
<p><a href="/__wsgi__/docs/">All options</a></p>
</body>
</html>
'''


def application(environ, start_response):
    headers = [('Content-Type', 'text/html; charset=utf-8'), ('Content-Length', str(len(PAGE)))]
    start_response('200 OK', headers)
    return [PAGE]

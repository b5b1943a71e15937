"""A small Flask application: `cargo xtask serve examples/flask_app.py --python VENV`.

Needs Flask in the Python that serves it: `python3 -m venv VENV && VENV/bin/pip install flask`.
"""

import hashlib

from flask import Flask, Response, abort, jsonify, request

app = Flask(__name__)

PAGE = """<!doctype html>
<title>Flask</title>
<h1>Hello from Flask</h1>
<form action="greet" method="post"><input name="name"> <button>Greet</button></form>
<p><a href="json?a=1">JSON</a> <a href="stream">a stream</a> <a href="missing">nothing</a></p>
"""


@app.get("/")
def index():
    return PAGE


@app.post("/greet")
def greet():
    name = request.form.get("name") or abort(400)
    response = Response("Hello, %s!\n" % name, mimetype="text/plain")
    response.set_cookie("name", name)
    return response


@app.get("/json")
def arguments():
    return jsonify(arguments=request.args, cookies=request.cookies, path=request.path)


@app.get("/stream")
def stream():
    return Response(("%d\n" % number for number in range(1000)), mimetype="text/plain")


@app.post("/upload")
def upload():
    data = request.files["file"].read()
    return jsonify(length=len(data), digest=hashlib.sha256(data).hexdigest())


@app.get("/user/<name>")
def user(name):
    return "user %s\n" % name


# What Apache looks for.
application = app

"""Canaille, as it comes, on a free port of 127.0.0.1, with the clients that tests/real_servers.rs knows.

Prints its issuer on the first line of stdout, and ends when stdin does.
"""

import os
import socket
import sys
import threading

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from werkzeug.serving import make_server

SECRET = "a secret &=+/%:0123456789012345678901234567"
SCOPES = ["openid", "profile", "email"]

CLIENTS = {
    "basic": ("client_secret_basic", SECRET, ["authorization_code", "refresh_token"]),
    "post": ("client_secret_post", SECRET, ["authorization_code", "refresh_token"]),
    "public": ("none", "", ["authorization_code", "refresh_token"]),
    "machine": ("client_secret_basic", SECRET, ["client_credentials"]),
}


def add(model):
    Backend.instance.save(model)
    return model


def fill():
    add(
        models.User(
            user_name="robin",
            password="correct horse battery staple",
            formatted_name="Robin Reed",
            family_name="Reed",
            emails=["robin@example.org"],
        )
    )
    for name, (method, secret, grants) in CLIENTS.items():
        client = models.Client(
            client_id=name,
            client_secret=secret,
            client_name=name,
            contacts=["robin@example.org"],
            redirect_uris=["http://localhost/", f"http://localhost:{sys.argv[1]}/"],
            grant_types=grants,
            response_types=["code"],
            token_endpoint_auth_method=method,
            scope=SCOPES,
        )
        add(client)
        client.audience = [client]
        add(client)


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{listener.getsockname()[1]}"
    app = create_app(
        config={
            "SECRET_KEY": "no secret",
            "SERVER_NAME": host,
            "PREFERRED_URL_SCHEME": "http",
            "SESSION_COOKIE_SECURE": False,
            "CANAILLE": {"SMTP": None, "LOGGING": {"version": 1}},
            "CANAILLE_OIDC": {"REQUIRE_NONCE": False, "TRUSTED_DOMAINS": []},
        }
    )
    with app.app_context():
        fill()
    server = make_server("127.0.0.1", 0, app, threaded=True, fd=listener.fileno())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://{host}", flush=True)
    sys.stdin.read()
    os._exit(0)


main()

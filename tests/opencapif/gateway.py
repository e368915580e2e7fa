"""Someone else's provider gateway, unchanged, with someone else's invoker, against a running core function.

    python gateway.py PLAN.json

The gateway onboards its domain, publishes an API, serves it, and takes the key that tokens are checked with from the certificate of
the core function; the invoker is of the SDK that comes with it. Each step is one line of JSON on standard output; the first that
fails ends the run with exit code 1. What the gateway says is in ./gateway.log.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jose import jwt

# Nothing is left beside the scripts.
sys.dont_write_bytecode = True
from flow import check, configuration, step, told  # noqa: E402

NAME = "Weather station"
TODAY = "/weather/v1/today"
CITY = "/weather/v1/cities/{city}"
BEHIND = "the password of what lies behind"


class Upstream(BaseHTTPRequestHandler):
    """The API behind the gateway: it lets in who has its own password, and remembers."""

    seen = []

    def do_GET(self):
        admitted = self.headers.get("Authorization") == f"Bearer {BEHIND}"
        self.seen.append(self.path)
        body = json.dumps({"path": self.path, "sky": "blue"}).encode()
        self.send_response(200 if admitted else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Gateway:
    """The installed program, in a folder with its two files."""

    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        self.process = None
        self.programs = os.path.dirname(os.path.abspath(sys.executable))

    def start(self, action):
        """It calls `python3` for its server, so its environment comes first in PATH."""
        path = os.pathsep.join([self.programs, os.environ.get("PATH", "")])
        with open(os.path.join(self.folder, "gateway.log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(self.programs, "provider_gw"), action],
                cwd=self.folder,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def listens(self):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def serves(self):
        """Waits until it listens."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.listens():
                return True
            time.sleep(0.1)
        return False

    def ends(self):
        self.process.wait(timeout=60)
        self.process = None

    def stop(self):
        """Ends it with its server, which is a process of its own and outlives it a little."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.process.wait(timeout=30)
        self.process = None
        deadline = time.monotonic() + 30
        while self.listens() and time.monotonic() < deadline:
            time.sleep(0.1)

    def said(self):
        with open(os.path.join(self.folder, "gateway.log"), errors="replace") as log:
            return log.read()[-4000:]


def northbound(plan, port):
    def operation(name, description):
        schema = {"$ref": "#/components/schemas/Weather"}
        content = {"application/json": {"schema": schema}}
        return {
            "get": {
                "summary": name,
                "description": description,
                "responses": {"200": {"description": description, "content": content}},
            }
        }

    sdk = configuration(plan)
    names = ["capif_host", "register_host", "capif_https_port", "capif_register_port"]
    names += ["capif_username", "capif_password", "debug_mode"]
    return {
        "northbound": {
            "ip": "127.0.0.1",
            "port": port,
            "opencapif_sdk_configuration": {
                **{name: sdk[name] for name in names},
                "provider": {
                    "cert_generation": sdk["provider"]["cert_generation"],
                    "supported_features": "0",
                    "apiSuppFeats": "0",
                },
            },
            "openapi": {
                "openapi": "3.0.0",
                "info": {
                    "title": NAME,
                    "description": "what the weather is like",
                    "version": "1.0.0",
                },
                "servers": [{"url": "/"}],
                "security": [],
                "components": {
                    "schemas": {
                        "Weather": {
                            "type": "object",
                            "properties": {
                                "path": {"type": "string"},
                                "sky": {"type": "string"},
                            },
                        }
                    }
                },
                "paths": {
                    TODAY: operation("today", "the weather of today"),
                    CITY: operation("city", "the weather of a city"),
                },
            },
        }
    }


def southbound(port):
    return {
        "southbound": {
            "ip": "127.0.0.1",
            "port": port,
            "type": "REST",
            "authentication_method": "JWT Bearer Token",
            "credentials": {"jwt": BEHIND},
            "paths": [
                {
                    "northbound_path": TODAY,
                    "southbound_path": "/now",
                    "method": "GET",
                },
                {
                    "northbound_path": CITY,
                    "southbound_path": "/towns/{town}",
                    "method": "GET",
                    "parameters": [{"city": "town"}],
                },
            ],
        }
    }


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def forgeries(token):
    """What is not to be let in, each with the claims of a token that is."""
    claims = jwt.get_unverified_claims(token)
    header, _, signature = token.split(".")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

    def part(content):
        text = json.dumps(content).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    later = part({**claims, "exp": claims["exp"] + 3600})
    return {
        "signed with another key": jwt.encode(claims, key.decode(), algorithm="RS256"),
        "changed": f"{header}.{later}.{signature}",
        "not signed": f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.",
        "signed with a password": jwt.encode(claims, "string", algorithm="HS256"),
        "no token": "string",
    }


def main():
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    plan["api_name"] = NAME
    os.makedirs(plan["folder"], exist_ok=True)
    os.chdir(plan["folder"])
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    gateway = Gateway(plan["folder"], free_port())
    for name, content in [
        ("northbound", northbound(plan, gateway.port)),
        ("southbound", southbound(upstream.server_port)),
    ]:
        with open(f"{name}.yaml", "w") as file:
            yaml.safe_dump(content, file)
    try:
        life(plan, gateway)
    finally:
        gateway.stop()


def life(plan, gateway):
    gateway.start("start")
    serves = gateway.serves()
    check("gateway onboarded, published and serves", serves, said="" if serves else gateway.said())

    # With its SDK comes the invoker; what it writes is kept apart from what the gateway removes.
    os.makedirs("invoker", exist_ok=True)
    os.chdir("invoker")
    import opencapif_sdk as sdk

    config_file = os.path.abspath("capif_sdk_config.json")
    with open(config_file, "w") as file:
        json.dump(configuration(plan), file)
    invoker = sdk.capif_invoker_connector(config_file)
    told(invoker.onboard_invoker, features="0")
    step("invoker onboarded", ok=True)
    discoverer = sdk.service_discoverer(config_file)
    discoverer.discover()
    found = discoverer.invoker_capif_details["registered_security_contexes"]
    names = [api["api_name"] for api in found]
    check("API discovered", names == [NAME], names=names)
    profile = found[0]["aef_profiles"][0]
    place = profile["interface_descriptions"][0]
    uris = [one["uri"] for one in profile["versions"][0]["resources"]]
    holds = sorted(uris) == sorted([TODAY, CITY]) and place["port"] == gateway.port
    check("API described", holds, uris=uris, place=place)
    told(discoverer.get_tokens, features="0")
    step("token fetched", ok=True)
    base = f"http://{place['ipv4_addr']}:{place['port']}"

    def call(path, token):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.get(base + path, headers=headers, timeout=20)

    answer = call(TODAY, discoverer.token)
    expected = {"path": "/now", "sky": "blue"}
    holds = answer.status_code == 200 and answer.json() == expected
    check("API called", holds, status=answer.status_code, text=answer.text)
    answer = call("/weather/v1/cities/madrid", discoverer.token)
    check("its second resource called", answer.json()["path"] == "/towns/madrid", text=answer.text)

    for how, token in {"without": None, **forgeries(discoverer.token)}.items():
        status = call(TODAY, token).status_code
        check("call refused", status in (401, 403), token=how, status=status)
    check("nothing of these went through", len(Upstream.seen) == 2, seen=Upstream.seen)

    # What it keeps in its folder serves again, with the token that there is.
    gateway.stop()
    check("gateway stopped", not gateway.listens())
    gateway.start("run")
    check("gateway serves again", gateway.serves())
    answer = call(TODAY, discoverer.token)
    check("API called again", answer.status_code == 200, status=answer.status_code)

    gateway.stop()
    gateway.start("remove")
    gateway.ends()
    left = os.path.exists(os.path.join(plan["folder"], "provider_gw"))
    check("gateway removed itself", not left, said=gateway.said() if left else "")
    found = discoverer.discover_service_apis()
    check("API is gone", not found.get("serviceAPIDescriptions"), found=found)
    invoker = sdk.capif_invoker_connector(config_file)
    invoker.offboard_invoker()
    step("invoker offboarded", ok=True)


if __name__ == "__main__":
    main()

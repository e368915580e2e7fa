"""A core function in a temporary folder, with providers and invokers that enrolled, and their certificates as files."""

import json
import os
import re
import socket
import subprocess
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

PROVIDERS = "/api-provider-management/v1/registrations"
INVOKERS = "/api-invoker-management/v1/onboardedInvokers"


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("operator")
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.unix_path)


def operator(socket_path, method, path, body=None):
    """Asks the operator's API."""
    connection = UnixConnection(str(socket_path))
    headers = {"Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    text = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {text!r}")
    return json.loads(text or b"null")


def key_pair():
    """A private key and the public one, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


class Party:
    """Somebody with a certificate."""

    def __init__(self, world, id, chain, private):
        self.id = id
        self.pem = world.folder / f"{id}.pem"
        self.pem.write_text(chain + private)
        self.session = requests.Session()
        # Not even a bundle that the environment names.
        self.session.trust_env = False
        self.session.cert = str(self.pem)
        self.session.verify = str(world.ca)
        self.root = world.root

    def send(self, method, path, body=None, expected=(200, 201, 204)):
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        answer = self.session.request(
            method, self.root + path, data=data, headers={"Content-Type": media}
        )
        if answer.status_code not in expected:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer


class Domain:
    """A provider domain with one function of each role, and an API."""

    def __init__(self, world, name):
        parts = world.operator("POST", "/providers", {"name": name})
        world.ca.write_text(parts["caPem"])
        keys = {role: key_pair() for role in ("AMF", "APF", "AEF")}
        functions = [
            {"apiProvFuncRole": role, "regInfo": {"apiProvPubKey": public}}
            for role, (_, public) in keys.items()
        ]
        body = {"regSec": parts["credential"], "apiProvFuncs": functions, "suppFeat": "3"}
        self.details = world.enrol(PROVIDERS, parts["credential"], body)
        self.id = self.details["apiProvDomId"]
        for function in self.details["apiProvFuncs"]:
            role = function["apiProvFuncRole"]
            chain = function["regInfo"]["apiProvCert"]
            party = Party(world, function["apiProvFuncId"], chain, keys[role][0])
            setattr(self, role.lower(), party)

    def publish(self, name):
        profile = {
            "aefId": self.aef.id,
            "versions": [{"apiVersion": "v1"}],
            "securityMethods": ["PKI", "OAUTH"],
            "interfaceDescriptions": [{"ipv4Addr": "127.0.0.1", "port": 8443}],
        }
        body = {"apiName": name, "aefProfiles": [profile], "supportedFeatures": "3FF"}
        path = f"/published-apis/v1/{self.apf.id}/service-apis"
        return self.apf.send("POST", path, body).json()["apiId"]

    def subscribe(self, party):
        body = {
            "events": ["SERVICE_API_AVAILABLE"],
            "notificationDestination": "https://127.0.0.1:1/events",
            "supportedFeatures": "F",
        }
        path = f"/capif-events/v1/{party.id}/subscriptions"
        return party.send("POST", path, body).headers["Location"].rsplit("/", 1)[1]

    def report(self, api, invoker):
        entry = {
            "apiId": api,
            "apiName": "weather",
            "apiVersion": "v1",
            "resourceName": "today",
            "protocol": "HTTP_1_1",
            "result": "200",
        }
        body = {"aefId": self.aef.id, "apiInvokerId": invoker.id, "logs": [entry]}
        self.aef.send("POST", f"/api-invocation-logs/v1/{self.aef.id}/logs", body)


class World:
    """The core function, as a process of its own."""

    def __init__(self, binary):
        self.temporary = tempfile.TemporaryDirectory(prefix="capif-schemathesis-")
        self.folder = Path(self.temporary.name)
        self.ca = self.folder / "ca.pem"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CAPIF_CCF__LISTEN": "127.0.0.1:0",
            "CAPIF_MANAGEMENT__LISTEN": "127.0.0.1:0",
            "CAPIF_REVOCATION__LISTEN": "127.0.0.1:0",
            "CAPIF_OPERATOR__LISTEN": "",
            # Where nobody listens.
            "CAPIF_CALLBACKS__ALLOW": '["127.0.0.1:1"]',
        }
        subprocess.run([binary, "init"], cwd=self.folder, env=environment, check=True, capture_output=True)
        self.log = self.folder / "serve.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [binary, "serve"], cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=log
            )
        self.root = "https://" + self.wait_for(r"serving at ([^\s;]+)")
        self.socket = next(self.folder.rglob("operator.sock"))

    def wait_for(self, pattern):
        for _ in range(500):
            found = re.search(pattern, self.log.read_text())
            if found and "root CA sha256" in self.log.read_text():
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"the core function did not start: {self.log.read_text()}")

    def alive(self):
        return self.process.poll() is None

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.temporary.cleanup()

    def operator(self, method, path, body=None):
        return operator(self.socket, method, path, body)

    def enrol(self, path, credential, body):
        headers = {"Authorization": f"Bearer {credential}"}
        answer = requests.post(self.root + path, json=body, headers=headers, verify=str(self.ca))
        if answer.status_code != 201:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
        return answer.json()

    def invoker(self):
        parts = self.operator("POST", "/invites", {})
        private, public = key_pair()
        body = {
            "onboardingInformation": {"apiInvokerPublicKey": public},
            "notificationDestination": "https://invoker.example/notify",
            "supportedFeatures": "F",
        }
        details = self.enrol(INVOKERS, parts["credential"], body)
        information = details["onboardingInformation"]
        party = Party(self, details["apiInvokerId"], information["apiInvokerCertificate"], private)
        party.secret = information.get("onboardingSecret")
        party.details = details
        return party

    def negotiate(self, invoker, aef, api):
        body = {
            "securityInfo": [{"aefId": aef.id, "apiId": api, "prefSecurityMethods": ["OAUTH"]}],
            "supportedFeatures": "4",
            "notificationDestination": "https://invoker.example/notify",
        }
        invoker.send("PUT", f"/capif-security/v1/trustedInvokers/{invoker.id}", body)

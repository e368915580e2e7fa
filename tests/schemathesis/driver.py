"""Runs schemathesis over every operation of the bundled descriptions of TS 29.222, each with the identity that may ask for it.

Fails on any answer of 5xx, any answer that its description does not have, and any request that is taken though its schema refuses
it, but for the deviations below, which docs/CONFORMANCE.md gives the reasons of.
"""

import argparse
import base64
import collections
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml

from world import Domain, World

HERE = Path(__file__).parent

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
]

# Operation, check, and what the report says or was exchanged, as regular expressions; docs/CONFORMANCE.md has the reasons.
DEVIATIONS = [
    # What is no method that this server knows anywhere is 501 (RFC 9110 section 15.6.2); schemathesis asks for 405.
    (".*", "not_a_server_error|unsupported_method|allow_header_conformance", r"^.*QUERY https://.* -> 501 "),
    # A path with something encoded leads to no operation, so that the refusal is not that of the token endpoint.
    ("GetOAuthIndAPIInv", "content_type_conformance", "the path is not in canonical form"),
]


def operations(folder):
    """Every operation: the file, its path and method, and what the description says of it."""
    for file in sorted(Path(folder).glob("*.yaml")):
        document = yaml.safe_load(file.read_text())
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if method != "parameters":
                    yield file, document, path, method, operation


def narrowed(document, path, values, target):
    """Writes the description of one path, with the ids of this run as the only values of some parameters."""
    item = {}
    for method, operation in document["paths"][path].items():
        if method != "parameters":
            operation = dict(operation)
            operation.pop("callbacks", None)
            parameters = [narrow(parameter, values) for parameter in operation.get("parameters", [])]
            item[method] = dict(operation, parameters=parameters)
        else:
            item[method] = [narrow(parameter, values) for parameter in operation]
    single = dict(document, paths={path: item})
    target.write_text(yaml.safe_dump(single, allow_unicode=True))


def narrow(parameter, values):
    if parameter.get("name") not in values:
        return parameter
    return dict(parameter, schema={"type": "string", "enum": [values[parameter["name"]]]})


class Plan:
    """Who asks for what."""

    def __init__(self, world):
        self.world = world
        self.main = Domain(world, "main")
        self.spare = Domain(world, "spare")
        self.leaving = Domain(world, "leaving")
        self.api = self.main.publish("weather")
        # What fuzzing does not change.
        self.stable = self.main.publish("stable")
        self.leaving_api = self.leaving.publish("leaving")
        self.invoker = world.invoker()
        self.changing = world.invoker()
        self.patching = world.invoker()
        self.gone = world.invoker()
        self.dropped = world.invoker()
        world.negotiate(self.invoker, self.main.aef, self.api)
        world.negotiate(self.dropped, self.leaving.aef, self.leaving_api)
        self.main.report(self.api, self.invoker)
        self.subscription = self.main.subscribe(self.main.aef)
        self.behind = self.spare.publish("behind")
        hiding = {
            "what": {"api": {"id": self.behind}},
            "aefId": self.main.aef.id,
            "interfaces": [{"ipv4Addr": "127.0.0.1", "port": 9443}],
            "securityMethods": ["PKI"],
            "abroad": True,
        }
        world.operator("POST", "/hidden", hiding)
        world.operator("POST", "/policies", {"api": {"id": self.api}, "total": 1000})

    def of(self, id):
        """The caller, the values of parameters, the members of bodies, and by what the caller enrols."""
        main, spare, leaving = self.main, self.spare, self.leaving
        members = {
            "aefId": main.aef.id,
            "aef-id": main.aef.id,
            "apiId": self.api,
            "apiInvokerId": self.invoker.id,
            "notificationDestination": "https://127.0.0.1:1/notify",
            "client_id": self.invoker.id,
            "client_secret": self.invoker.secret,
            "grant_type": "client_credentials",
            "scope": f"3gpp#{main.aef.id}:stable",
        }
        if id == "DeleteAuthIndAPIInvForAPIs":
            members["apiId"] = self.stable
        if id in ("UpdateIndAPFPubAPI", "ModifyIndAPFPubAPI"):
            members["apiName"] = "weather"
        invoker = {"apiInvokerId": self.invoker.id, "securityId": self.invoker.id, "api-invoker-id": self.invoker.id}
        apf = {"apfId": main.apf.id, "serviceApiId": self.api}
        aef = {"aefId": main.aef.id, "aef-id": main.aef.id, "serviceApiId": self.api, "apiInvokerId": self.invoker.id}
        events = {"subscriberId": main.aef.id, "subscriptionId": self.subscription}
        plans = {
            "CreateOnboardedAPIInvoker": (None, {}, "/invites"),
            "UpdateIndOnboardedAPIInvoker": (self.changing, {"onboardingId": self.changing.id}, None),
            "ModifyIndOnboardedAPIInvoker": (self.patching, {"onboardingId": self.patching.id}, None),
            "DeleteIndOnboardedAPIInvoker": (self.gone, {"onboardingId": self.gone.id}, None),
            "CreateApiProvRegist": (None, {}, "/providers"),
            "UpdateIndApiProvDomainRegist": (spare.amf, {"registrationId": spare.id}, None),
            "ModifyIndApiProvDomainRegist": (spare.amf, {"registrationId": spare.id}, None),
            "DeleteIndApiProvDomainRegist": (leaving.amf, {"registrationId": leaving.id}, None),
            "CreateAPFPubAPIs": (main.apf, apf, None),
            "GetAPFPubAPIs": (main.apf, apf, None),
            "GetIndAPFPubAPI": (main.apf, apf, None),
            "UpdateIndAPFPubAPI": (main.apf, apf, None),
            "ModifyIndAPFPubAPI": (main.apf, apf, None),
            "DeleteIndAPFPubAPI": (
                leaving.apf,
                {"apfId": leaving.apf.id, "serviceApiId": self.leaving_api},
                None,
            ),
            "GetPubServAPIs": (self.invoker, invoker, None),
            "GetServAPIs": (None, {}, None),
            "CreateEventSubsc": (main.aef, events, None),
            "UpdateIndEventSubsc": (main.aef, events, None),
            "ModifyIndEventSubsc": (main.aef, events, None),
            "DeleteIndEventSubsc": (main.aef, events, None),
            "CreateSecIndTrustedAPIInv": (self.invoker, invoker, None),
            "UpdateSecContIndAPIInv": (self.invoker, invoker, None),
            "GetOAuthIndAPIInv": (self.invoker, invoker, None),
            "GetSecIndTrustedAPIInv": (main.aef, aef, None),
            "DeleteSecIndTrustedAPIInv": (leaving.aef, {"apiInvokerId": self.dropped.id}, None),
            "DeleteAuthIndAPIInvForAPIs": (main.aef, aef, None),
            "GetAccContPolList": (main.aef, aef, None),
            "GetAPIRouteInfo": (main.aef, dict(aef, serviceApiId=self.behind), None),
            "CreateLogEntServAPIInv": (main.aef, aef, None),
            "GetAPIInvLogs": (main.amf, {}, None),
        }
        caller, values, enrols = plans[id]
        return caller, values, members, enrols


# What takes something away that others need comes last.
LAST = [
    "DeleteAuthIndAPIInvForAPIs",
    "DeleteSecIndTrustedAPIInv",
    "DeleteIndEventSubsc",
    "DeleteIndAPFPubAPI",
    "DeleteIndOnboardedAPIInvoker",
    "DeleteIndApiProvDomainRegist",
]


def settings(folder):
    text = (
        "[checks.negative_data_rejection]\n"
        'expected-statuses = ["4xx"]\n'
        "[output.truncation]\nenabled = false\n"
    )
    path = folder / "schemathesis.toml"
    path.write_text(text)
    return path


def failures(report):
    """What a run reports, once each: the check, the text, and the request with its answer."""
    seen = set()
    for line in report.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for case, checks in recorder.get("checks", {}).items():
            for check in checks:
                if check["status"] != "failure":
                    continue
                failure = check["failure_info"]["failure"]
                text = f"{failure['title']}: {failure['message']}"
                if (check["name"], text) not in seen:
                    seen.add((check["name"], text))
                    yield check["name"], text, recorder.get("interactions", {}).get(case)


def counted(report):
    """How often each status was answered."""
    statuses = collections.Counter()
    for line in report.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for interaction in recorder.get("interactions", {}).values():
            statuses[(interaction.get("response") or {}).get("status_code", 0)] += 1
    return statuses


def shown(interaction):
    """A request with its answer, for people."""
    if not interaction:
        return ""
    request, response = interaction.get("request") or {}, interaction.get("response") or {}
    body = base64.b64decode((request.get("body") or {}).get("$base64", ""))
    answer = base64.b64decode((response.get("content") or {}).get("$base64", ""))
    return f"{request.get('method')} {request.get('uri')} {body[:800]!r} -> {response.get('status_code')} {answer[:400]!r}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--descriptions", required=True)
    arguments.add_argument("--examples", type=int, default=25)
    arguments.add_argument("--seconds", type=int, default=20, help="for each operation")
    arguments.add_argument("--only", help="a regular expression of operation ids")
    arguments.add_argument("--keep", help="a folder for the reports")
    chosen = arguments.parse_args()

    world = World(chosen.binary)
    bad = 0
    try:
        plan = Plan(world)
        config = settings(world.folder)
        served = [entry for entry in operations(chosen.descriptions) if "AEF_Security" not in entry[0].name]
        served.sort(key=lambda entry: LAST.index(entry[4]["operationId"]) if entry[4]["operationId"] in LAST else -1)
        for _, document, path, _, operation in served:
            id = operation["operationId"]
            if chosen.only and not re.search(chosen.only, id):
                continue
            begun = time.monotonic()
            found, statuses = run(chosen, world, config, plan, (document, path, id))
            new = []
            for check, text, interaction in found:
                excused = any(
                    re.fullmatch(of, id) and re.fullmatch(by, check) and re.search(saying, text + shown(interaction), re.S)
                    for of, by, saying in DEVIATIONS
                )
                if not excused:
                    new.append((check, text, shown(interaction)))
            seconds = time.monotonic() - begun
            seen = " ".join(f"{status}×{count}" for status, count in sorted(statuses.items()))
            print(f"{id}: {len(new)} failures, {len(found) - len(new)} deviations; {seen}; {seconds:.0f} s", flush=True)
            for check, text, exchange in new[:8]:
                print(f"  {check}: {text[:1500]}\n    {exchange}", flush=True)
            bad += len(new)
            if not world.alive():
                print("the core function ended", file=sys.stderr)
                return 1
    finally:
        world.end()
    print(f"{bad} failures that are not listed as deviations")
    return 1 if bad else 0


def run(chosen, world, config, plan, what):
    document, path, id = what
    caller, values, members, enrols = plan.of(id)
    if id in ("GetOAuthIndAPIInv", "DeleteAuthIndAPIInvForAPIs"):
        # Whatever was agreed on before.
        world.negotiate(plan.invoker, plan.main.aef, plan.stable)
    single = world.folder / f"{id}.yaml"
    narrowed(document, path, values, single)
    report = (Path(chosen.keep) if chosen.keep else world.folder) / f"{id}.ndjson"
    base = document["servers"][0]["url"].replace("{apiRoot}", world.root)
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "--config-file",
        str(config),
        "run",
        str(single),
        "--url",
        base,
        "--tls-verify",
        str(world.ca),
        "--include-operation-id",
        id,
        "--checks",
        ",".join(CHECKS),
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        str(chosen.examples),
        "--seed",
        "29222",
        "--generation-database",
        "none",
        "--continue-on-failure",
        "--suppress-health-check",
        "all",
        "--warnings",
        "off",
        "--report",
        "ndjson",
        "--report-ndjson-path",
        str(report),
        "--no-color",
        "--request-timeout",
        "10",
        "--no-shrink",
        "--output-truncate",
        "false",
    ]
    if caller is not None:
        command += ["--request-cert", str(caller.pem)]
    ignored = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    environment = {name: value for name, value in os.environ.items() if name not in ignored}
    environment["PYTHONPATH"] = str(HERE)
    environment["SCHEMATHESIS_HOOKS"] = "hooks"
    publishes = id in ("CreateAPFPubAPIs", "UpdateIndAPFPubAPI")
    facts = {"members": members, "enrols": enrols, "socket": str(world.socket), "publishes": publishes}
    if id in ("UpdateIndOnboardedAPIInvoker", "ModifyIndOnboardedAPIInvoker"):
        facts["onboardingInformation"] = caller.details["onboardingInformation"]
    if id in ("UpdateIndApiProvDomainRegist", "ModifyIndApiProvDomainRegist"):
        # With another key, the caller would be somebody else from then on.
        facts["apiProvFuncs"] = plan.spare.details["apiProvFuncs"]
    environment["CAPIF_FACTS"] = json.dumps(facts)
    done = subprocess.run(
        command, cwd=world.folder, env=environment, capture_output=True, text=True, timeout=20 * chosen.seconds
    )
    if not report.exists():
        raise RuntimeError(f"{id}: schemathesis did not run: {done.stdout} {done.stderr}")
    (report.with_suffix(".txt")).write_text(done.stdout + done.stderr)
    found = list(failures(report))
    if done.returncode != 0 and not found:
        found = [("run", done.stdout[-3000:] + done.stderr[-2000:], None)]
    return found, counted(report)


if __name__ == "__main__":
    sys.exit(main())

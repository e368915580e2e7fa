"""What schemathesis cannot know of a request that is in order: the ids of this run, names that must be new, what belongs together,
and a credential that nobody used yet. Requests that are to be refused are sent as they were generated."""

import json
import os

import schemathesis

from world import key_pair, operator

FACTS = json.loads(os.environ.get("CAPIF_FACTS", "{}"))
MEMBERS = FACTS.get("members", {})

LATER = "2099-12-31T23:59:59Z"


def filled(value, name=""):
    """A generated document with what makes sense in the place of what is arbitrary."""
    if isinstance(value, list):
        return listed(name, [filled(item, name) for item in value])
    if isinstance(value, dict):
        return shaped(name, {key: filled(member, key) for key, member in value.items()})
    if not isinstance(value, str):
        return value
    if name in MEMBERS:
        return MEMBERS[name]
    if name in ("apiInvokerPublicKey", "apiProvPubKey"):
        return key_pair()[1]
    if name in ("expTime", "expiry", "monDur"):
        return LATER
    if name == "apiName":
        return f"api-{os.urandom(6).hex()}"
    if name == "apiPrefix":
        return "/prefix"
    if name in ("domainName", "fqdn"):
        return "weather.example"
    return value


def listed(name, items):
    if name == "aefIds":
        return [MEMBERS["aefId"]][: len(items)]
    if name == "apiIds":
        return [MEMBERS["apiId"]][: len(items)]
    if name == "apiProvFuncs" and "apiProvFuncs" in FACTS:
        return FACTS["apiProvFuncs"]
    if name == "apiProvFuncs":
        for index, function in enumerate(items):
            function.pop("apiProvFuncId", None)
            function["apiProvFuncRole"] = "AEF" if index else "AMF"
    if name == "securityInfo" and not items:
        return [{"aefId": MEMBERS["aefId"], "prefSecurityMethods": ["PKI"]}]
    return items


def shaped(name, value):
    if name == "aefProfiles":
        value.setdefault("securityMethods", ["PKI"])
    if name == "securityInfo" and "interfaceDetails" in value:
        del value["interfaceDetails"]
        value["aefId"] = MEMBERS["aefId"]
    if name == "onboardingInformation" and "onboardingInformation" in FACTS:
        return FACTS["onboardingInformation"]
    if name == "aefLocation" and not value:
        return {"dcId": "centre"}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and isinstance(case.body, dict):
        case.body = filled(case.body)
        if FACTS.get("publishes"):
            profile = {
                "aefId": MEMBERS["aefId"],
                "versions": [{"apiVersion": "v1"}],
                "domainName": "weather.example",
                "securityMethods": ["PKI"],
            }
            case.body.setdefault("aefProfiles", [profile])
            case.body.pop("pubApiPath", None)
        if "client_id" in case.body:
            case.body["client_secret"] = MEMBERS["client_secret"]
        if FACTS.get("enrols") == "/providers":
            key = {"apiProvFuncRole": "AMF", "regInfo": {"apiProvPubKey": key_pair()[1]}}
            case.body.setdefault("apiProvFuncs", [key])
    enrols = FACTS.get("enrols")
    if enrols:
        body = {} if enrols == "/invites" else {"name": f"domain-{os.urandom(8).hex()}"}
        credential = operator(FACTS["socket"], "POST", enrols, body)["credential"]
        case.headers["Authorization"] = f"Bearer {credential}"
        if positive and isinstance(case.body, dict) and "regSec" in case.body:
            case.body["regSec"] = credential

"""The whole life of a provider and of an invoker by the published OpenCAPIF SDK, unchanged, against a running core function.

    python flow.py PLAN.json

The plan says where everything is. Each step is one line of JSON on standard output; the first that fails ends the flow with
exit code 1. The SDK writes its own log into ./logs.
"""

import http.server
import inspect
import json
import os
import queue
import sys
import threading

import requests


def step(name, **detail):
    print(json.dumps({"step": name, **detail}), flush=True)


def check(name, holds, **detail):
    step(name, ok=bool(holds), **detail)
    if not holds:
        sys.exit(1)


def told(method, *arguments, features):
    """The SDK takes features with each call; up to 0.1.20 it took them from its configuration."""
    if "supp_features" in inspect.signature(method).parameters:
        return method(*arguments, supp_features=features)
    return method(*arguments)


class Receiver(http.server.BaseHTTPRequestHandler):
    """What deployed clients run to be notified: a server without TLS."""

    heard = queue.Queue()

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.heard.put((self.path, json.loads(self.rfile.read(length))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def heard(name, path, event, **about):
    """Waits for the next notification, and checks that it is this one."""
    try:
        found, notice = Receiver.heard.get(timeout=20)
    except queue.Empty:
        check(name, False, error="nothing came")
    # The SDK ends its callback with a slash.
    fits = found.rstrip("/") == path and notice["events"] == event and "subscriptionId" in notice
    detail = notice.get("eventDetail", {})
    fits = fits and all(detail.get(member) == [value] for member, value in about.items())
    check(name, fits, path=found, notice=notice)


def configuration(plan):
    subject = {
        "csr_common_name": "weather",
        "csr_organizational_unit": "discovery",
        "csr_organization": "example",
        "csr_locality": "Madrid",
        "csr_state_or_province_name": "Madrid",
        "csr_country_name": "ES",
        "csr_email_address": "ada@example.com",
    }
    return {
        "capif_host": plan["host"],
        "register_host": plan["host"],
        "capif_https_port": str(plan["port"]),
        "capif_register_port": str(plan["accounts_port"]),
        "capif_username": plan["username"],
        "capif_password": plan["password"],
        "debug_mode": "True",
        "invoker": {
            "invoker_folder": os.path.join(plan["folder"], "invoker"),
            "capif_callback_url": f"http://127.0.0.1:{plan['receiver']}/callback",
            "supported_features": "fffffff",
            "check_authentication_data": {"ip": "", "port": ""},
            "cert_generation": subject,
            "discover_filter": {"api-name": plan["api_name"]},
            "events": {
                "description": ["SERVICE_API_AVAILABLE"],
                "eventFilters": [],
            },
        },
        "provider": {
            "provider_folder": os.path.join(plan["folder"], "provider"),
            "cert_generation": subject,
            "apfs": "1",
            "aefs": "1",
            "publish_req": {
                "service_api_id": "",
                "publisher_apf_id": "",
                "publisher_aefs_ids": [],
            },
            "api_description_path": os.path.join(plan["folder"], "description.json"),
            "events": {
                "description": ["API_INVOKER_OFFBOARDED"],
                "eventFilters": [],
                "notificationDestination": f"http://127.0.0.1:{plan['receiver']}/events",
                "websockNotifConfig": {
                    "websocketUri": "",
                    "requestWebsocketUri": True,
                },
            },
            "log": {
                "apiName": "sdk_weather",
                "apiVersion": "v1",
                "resourceName": "today",
                "uri": "/today",
                "protocol": "HTTP_1_1",
                "operation": "GET",
                "result": "200",
            },
        },
    }


def description(plan):
    return {
        "apiName": "sdk_weather",
        "aefProfiles": [
            {
                "aefId": "",
                "versions": [
                    {
                        "apiVersion": "v1",
                        "expiry": "2100-11-30T10:32:02.004Z",
                        "resources": [
                            {
                                "resourceName": "today",
                                "commType": "REQUEST_RESPONSE",
                                "uri": "/today",
                                "custOpName": "http_get",
                                "operations": ["GET"],
                                "description": "what the weather is like",
                            }
                        ],
                        "custOperations": [
                            {
                                "commType": "REQUEST_RESPONSE",
                                "custOpName": "string",
                                "operations": ["POST"],
                                "description": "string",
                            }
                        ],
                    }
                ],
                "protocol": "HTTP_1_1",
                "dataFormat": "JSON",
                "securityMethods": ["Oauth", "PSK"],
                "interfaceDescriptions": [
                    {
                        "ipv4Addr": plan["host"],
                        "port": 8080,
                        "securityMethods": ["Oauth"],
                    }
                ],
            }
        ],
        "description": "an API that the SDK publishes",
        "supportedFeatures": "fffff",
        "shareableInfo": {"isShareable": True, "capifProvDoms": ["string"]},
        "serviceAPICategory": "string",
        "apiSuppFeats": "fffff",
        "pubApiPath": {"ccfIds": ["string"]},
        "ccfId": "string",
    }


def main():
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    os.makedirs(plan["folder"], exist_ok=True)
    os.chdir(plan["folder"])
    import opencapif_sdk as sdk

    config = configuration(plan)
    config_file = os.path.join(plan["folder"], "capif_sdk_config.json")

    def save():
        with open(config_file, "w") as file:
            json.dump(config, file)

    address = ("127.0.0.1", plan["receiver"])
    server = http.server.ThreadingHTTPServer(address, Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    save()
    with open(config["provider"]["api_description_path"], "w") as file:
        json.dump(description(plan), file)

    provider = sdk.capif_provider_connector(config_file)
    told(provider.onboard_provider, features="fff")
    ids = provider.provider_capif_ids
    check("provider onboarded", {"AMF", "AEF-1", "APF-1"} <= set(ids), ids=ids)

    provider.publish_req["publisher_apf_id"] = ids["APF-1"]
    provider.publish_req["publisher_aefs_ids"] = [ids["AEF-1"]]
    published = provider.publish_services()
    api_id = published["apiId"]
    check("API published", published["apiName"] == "sdk_weather", api=api_id)

    provider.publish_req["service_api_id"] = api_id
    provider.get_service()
    provider.get_all_services()
    step("API read", ok=True)
    provider.update_service()
    step("API updated", ok=True)

    # A second publication of the same name is told apart by its words.
    try:
        provider.publish_services()
        check("second publication refused", False)
    except requests.RequestException as error:
        detail = error.response.json()["detail"]
        check(
            "second publication refused",
            error.response.status_code == 403
            and detail.startswith("Already registered service with same api name"),
            detail=detail,
        )

    events = sdk.capif_provider_event_feature(config_file)
    refused = told(events.create_subscription, "offboarded", ids["AEF-1"], features="0")
    check("provider subscribed", refused is None, answer=str(refused))

    before = dict(ids)
    told(provider.update_provider, features="fff")
    after = provider.provider_capif_ids
    check("provider updated", after["AMF"] == before["AMF"], before=before, after=after)

    invoker = sdk.capif_invoker_connector(config_file)
    told(invoker.onboard_invoker, features="fffffff")
    invoker = sdk.capif_invoker_connector(config_file)
    invoker_id = invoker.invoker_capif_details["api_invoker_id"]
    step("invoker onboarded", ok=True, id=invoker_id)
    told(invoker.update_invoker, features="fffffff")
    step("invoker updated", ok=True)

    discoverer = sdk.service_discoverer(config_file)
    discoverer.discover()
    found = discoverer.invoker_capif_details["registered_security_contexes"]
    names = [api["api_name"] for api in found]
    check("API discovered", names == [plan["api_name"]], names=names)
    told(discoverer.get_tokens, features="0")
    step("token fetched", ok=True)
    told(discoverer.get_tokens, features="0")
    step("context updated", ok=True)

    answer = requests.get(
        plan["call"],
        headers={"Authorization": f"Bearer {discoverer.token}"},
        verify=discoverer.ca_root_path,
        timeout=10,
    )
    check("API called", answer.status_code == 200, status=answer.status_code, text=answer.text[:200])

    subscriber = sdk.capif_invoker_event_feature(config_file)
    refused = told(subscriber.create_subscription, "apis", features="0")
    check("invoker subscribed", refused is None, answer=str(refused))
    refused = told(subscriber.update_subcription, "apis", features="0")
    check("subscription updated", refused is None, answer=str(refused))
    provider.publish_req["service_api_id"] = api_id
    provider.publish_req["publisher_apf_id"] = provider.provider_capif_ids["APF-1"]
    provider.publish_req["publisher_aefs_ids"] = [provider.provider_capif_ids["AEF-1"]]
    provider.unpublish_service()
    api_id = provider.publish_services()["apiId"]
    heard("invoker told", "/callback", "SERVICE_API_AVAILABLE", apiIds=api_id)
    refused = subscriber.delete_subscription("apis")
    check("invoker unsubscribed", refused is None, answer=str(refused))

    # What an AEF in the field does with a token: it takes the key from the certificate of the core function.
    logs = sdk.capif_logging_feature(config_file)
    aef = provider.provider_capif_ids["AEF-1"]
    status, answer = told(logs.create_logs, aef, discoverer.token, features="0")
    check("call logged", status == 201, answer=answer)

    # The older SDK cannot ask about an invoker.
    ask = getattr(provider, "check_invoker_authentication", None)
    if ask is not None:
        checked = ask(invoker_id, aef, api_id, "0", None)
        step("invoker asked about", ok=True, answer=str(checked))

    invoker.offboard_invoker()
    step("invoker offboarded", ok=True)
    heard("provider told", "/events", "API_INVOKER_OFFBOARDED", apiInvokerIds=invoker_id)
    refused = events.delete_subscription("offboarded", aef)
    check("provider unsubscribed", refused is None, answer=str(refused))
    answer = requests.get(
        plan["call"],
        headers={"Authorization": f"Bearer {discoverer.token}"},
        verify=plan["root"],
        timeout=10,
    )
    check("token refused afterwards", answer.status_code in (401, 403), status=answer.status_code)
    provider.publish_req["service_api_id"] = api_id
    provider.publish_req["publisher_apf_id"] = provider.provider_capif_ids["APF-1"]
    provider.offboard_provider()
    step("provider offboarded", ok=True)


if __name__ == "__main__":
    main()

//! AEF_Security_API (TS 29.222 clause 9.1), which the gateway serves.

use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::{record::Record, walk::raw_answer};
use crate::support::{
    certificates::{forged, issuing},
    raw::Pems,
    site::{ALL, Site},
    wire::{Answer, Caller},
};

const CHECK: &str = "/aef-security/v1/check-authentication";
const REVOKE: &str = "/aef-security/v1/revoke-authorization";

struct Asked<'a> {
    record: &'a Record,
    site: &'a Site,
    id: &'static str,
    path: &'static str,
    /// Whoever may ask.
    pems: Option<Pems>,
    good: Value,
}

impl Asked<'_> {
    fn caller(&self) -> Caller {
        let identity = self.pems.as_ref().map(Pems::identity);
        Caller::new(&self.site.world, self.site.gateway.address(), identity)
    }

    fn request(&self, media: &str, body: Vec<u8>) -> Request<Vec<u8>> {
        Request::post(self.path)
            .header("content-type", media)
            .body(body)
            .unwrap()
    }

    async fn ask(&self, what: &str, request: Request<Vec<u8>>, expected: StatusCode) -> Answer {
        let answer = self.caller().send(request).await;
        self.record.answered(self.id, what, &answer);
        if answer.status != expected {
            self.record
                .mistake(format!("{}, {what}: {}", self.id, answer.status));
        }
        answer
    }

    async fn everything(&self) {
        let good = self.good.to_string().into_bytes();
        let json = "application/json";
        self.ask("in order", self.request(json, good.clone()), StatusCode::OK)
            .await;
        for body in ["{", "[]", "{}", "", "null"] {
            let request = self.request(json, body.into());
            self.ask(body, request, StatusCode::BAD_REQUEST).await;
        }
        for (name, _) in self.good.as_object().unwrap() {
            let mut body = self.good.clone();
            body.as_object_mut().unwrap().remove(name);
            let request = self.request(json, body.to_string().into_bytes());
            self.ask(name, request, StatusCode::BAD_REQUEST).await;
        }
        let request = self.request("text/plain", good.clone());
        self.ask("text", request, StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .await;
        let mut large = good;
        large.resize((1 << 20) + 1, b' ');
        let request = self.request(json, large);
        self.ask("a long body", request, StatusCode::PAYLOAD_TOO_LARGE)
            .await;
        let request = self.request(json, Vec::new());
        let address = self.site.gateway.address().parse().unwrap();
        let root = self.site.world.root_pem();
        let answer = raw_answer(address, &root, self.pems.as_ref(), &request).await;
        self.record.answered(self.id, "no length", &answer);
        if answer.status != StatusCode::LENGTH_REQUIRED {
            self.record
                .mistake(format!("{}, no length: {}", self.id, answer.status));
        }
        let answer = self.caller().json(Method::GET, self.path, None).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers["allow"], HeaderValue::from_static("POST"));
    }

    /// Asks until nobody is asked any more.
    async fn until_nobody_listens(&self) {
        let caller = self.caller();
        let mut last = StatusCode::OK;
        for _ in 0..1000 {
            let answer = caller.json(Method::POST, self.path, Some(&self.good)).await;
            self.record.answered(self.id, "many", &answer);
            last = answer.status;
            if last == StatusCode::TOO_MANY_REQUESTS {
                break;
            }
        }
        assert_eq!(last, StatusCode::TOO_MANY_REQUESTS, "{}", self.id);
    }
}

pub(super) async fn every_operation(record: &Record) {
    let site = Site::start(&ALL).await;
    let invoker = site.world.raw_invoker(&[]).await;
    let revocation = json!({
        "revokeInfo": { "apiInvokerId": invoker.id, "apiIds": ["other"], "cause": "OTHER_REASON" },
        "supportedFeatures": "0",
    });
    let ccf = forged(
        &site.world,
        Some(&issuing(&site.world)),
        ("ccf", "CCF"),
        |_| {},
    );
    let mut asked = Asked {
        record,
        site: &site,
        id: "RevokeAuthServAPIs",
        path: REVOKE,
        pems: Some(ccf),
        good: revocation.clone(),
    };
    asked.everything().await;
    let revokes =
        |asked: &Asked<'_>| asked.request("application/json", revocation.to_string().into_bytes());
    asked.pems = None;
    let request = revokes(&asked);
    asked.ask("nobody", request, StatusCode::UNAUTHORIZED).await;
    asked.pems = Some(invoker.pems.clone());
    let request = revokes(&asked);
    asked
        .ask("an invoker", request, StatusCode::FORBIDDEN)
        .await;

    let asking = Asked {
        record,
        site: &site,
        id: "CheckAuthReq",
        path: CHECK,
        pems: None,
        good: json!({ "apiInvokerId": invoker.id, "supportedFeatures": "1" }),
    };
    asking.everything().await;
    asking.until_nobody_listens().await;
    // The same for what is not for everybody.
    asked.until_nobody_listens().await;
}

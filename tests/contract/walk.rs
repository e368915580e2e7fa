//! Every operation of the core function, as it should be asked and in every way that it should not (TS 29.222 clause 7.7).

use capif_ccf::{
    api::operations::{BodyKind, CallerKind, OPERATIONS, Operation},
    config::Approval,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use serde_json::{Value, json};

use super::record::Record;
use crate::{
    support::{
        World,
        certificates::{forged, issuing},
        keys,
        people::{INVOKERS, enrolment_for, wishes},
        raw::{Pems, Raw},
        wire::Answer,
    },
    ts29222::scene::{Choice, Scene, Who},
};

/// What a walk goes through.
pub(super) struct Walk<'a> {
    pub(super) record: &'a Record,
    pub(super) world: &'a World,
    pub(super) scene: &'a Scene,
}

/// An operation with somebody for whom it is.
pub(super) struct Ready {
    pub(super) operation: &'static Operation,
    pub(super) who: Who,
    credential: Option<String>,
}

impl Ready {
    pub(super) fn request(&self, scene: &Scene) -> Request<Vec<u8>> {
        let mut request = scene.request(self.operation, &self.who, Choice::Own);
        if let Some(credential) = &self.credential {
            let value = format!("Bearer {credential}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
            if self.operation.id == "CreateApiProvRegist" {
                let mut body: Value = serde_json::from_slice(request.body()).unwrap();
                body["regSec"] = json!(credential);
                *request.body_mut() = body.to_string().into_bytes();
            }
        }
        request
    }
}

impl Walk<'_> {
    /// Somebody for whom an operation is, with what it takes beyond a certificate.
    pub(super) async fn ready(&self, operation: &'static Operation) -> Ready {
        let everybody = self.scene.everybody();
        let kind = operation.callers[0];
        let credential = match kind {
            CallerKind::OnboardingCredential => Some(self.world.credential(&[]).await),
            CallerKind::RegistrationCredential => {
                Some(self.world.registration_credential("fresh").await)
            }
            _ => None,
        };
        let of_kind = everybody.iter().find(|who| who.kind == Some(kind));
        let who = match of_kind {
            Some(who) => who.clone(),
            None => Who {
                pems: None,
                caller: self.world.anonymous(),
                ..everybody[0].clone()
            },
        };
        Ready {
            operation,
            who,
            credential,
        }
    }

    /// Sends a request and takes the answer down; the status is one of those expected.
    async fn ask(
        &self,
        who: &Who,
        operation: &'static Operation,
        what: &str,
        request: Request<Vec<u8>>,
        expected: &[u16],
    ) -> Answer {
        let answer = who.send(self.world, operation, request).await;
        self.record.answered(operation.id, what, &answer);
        if !expected.contains(&answer.status.as_u16()) {
            self.record.mistake(format!(
                "{}, {what}: {} instead of {expected:?}: {}",
                operation.id,
                answer.status.as_u16(),
                answer.json()
            ));
        }
        answer
    }

    /// One operation in every way that changes nothing, then as it should be.
    pub(super) async fn operation(&self, operation: &'static Operation) {
        let ready = self.ready(operation).await;
        self.strangers(&ready).await;
        self.unknown(&ready).await;
        self.addresses(&ready).await;
        self.beside(&ready).await;
        self.headers(&ready).await;
        if operation.body != BodyKind::None {
            self.bodies(&ready).await;
            self.without_length(&ready).await;
        }
        let success = match (&operation.method, operation.id) {
            (_, "UpdateSecContIndAPIInv" | "GetOAuthIndAPIInv") => 200,
            (_, "DeleteAuthIndAPIInvForAPIs") | (&Method::DELETE, _) => 204,
            (_, "CreateSecIndTrustedAPIInv") | (&Method::POST, _) => 201,
            _ => 200,
        };
        let mut request = ready.request(self.scene);
        // What senders may say of their load and time is none of the core function's business (TS 29.122 clause 5.2).
        for name in [
            "nb-api-sender-timestamp",
            "nb-api-max-rsp-time",
            "nb-api-lci",
            "nb-api-oci",
            "nbi-api-lci",
        ] {
            let value = HeaderValue::from_static("not \"what\" it; should=be");
            request.headers_mut().insert(name, value);
        }
        self.ask(&ready.who, operation, "in order", request, &[success])
            .await;
        if operation.is_update() {
            let mut request = ready.request(self.scene);
            let minimal = HeaderValue::from_static("respond-async, return=minimal");
            request.headers_mut().insert("prefer", minimal);
            let what = "nothing wanted";
            let answer = self.ask(&ready.who, operation, what, request, &[204]).await;
            let applied = answer.headers.get("preference-applied");
            assert!(applied.is_some_and(|applied| applied == "return=minimal"));
        }
    }

    /// Nobody, somebody of another kind, somebody else of the same kind.
    async fn strangers(&self, ready: &Ready) {
        let operation = ready.operation;
        let everybody = self.scene.everybody();
        if operation.callers.contains(&CallerKind::Anyone) {
            return;
        }
        let mut request = ready.request(self.scene);
        request.headers_mut().remove("authorization");
        let nobody = Who {
            pems: None,
            caller: self.world.anonymous(),
            ..ready.who.clone()
        };
        self.ask(&nobody, operation, "nobody", request, &[401])
            .await;
        if ready.credential.is_some() {
            let mut request = ready.request(self.scene);
            let forged = HeaderValue::from_static("Bearer forged");
            request.headers_mut().insert("authorization", forged);
            if operation.id == "CreateApiProvRegist" {
                let mut body: Value = serde_json::from_slice(request.body()).unwrap();
                body["regSec"] = json!("forged");
                *request.body_mut() = body.to_string().into_bytes();
            }
            self.ask(&nobody, operation, "forged", request, &[401])
                .await;
            return;
        }
        let strange = |who: &&Who| !operation.callers.contains(&who.kind.unwrap());
        if let Some(other) = everybody.iter().find(strange) {
            let request = self.scene.request(operation, other, Choice::Own);
            self.ask(other, operation, "another kind", request, &[403])
                .await;
        }
        if operation.path.contains('{') {
            let request = self.scene.request(operation, &ready.who, Choice::Others);
            self.ask(
                &ready.who,
                operation,
                "another's id",
                request,
                &[401, 403, 404],
            )
            .await;
        }
    }

    /// Ids that nobody has.
    async fn unknown(&self, ready: &Ready) {
        let operation = ready.operation;
        if !operation.path.contains('{') {
            return;
        }
        let request = self.scene.request(operation, &ready.who, Choice::Unknown);
        let expected = &[401, 403, 404];
        self.ask(&ready.who, operation, "an unknown id", request, expected)
            .await;
        // An own id before one of a thing that is not there.
        if operation.path.matches('{').count() == 2 {
            let mut request = ready.request(self.scene);
            let path = request.uri().path();
            let (owner, _) = path.rsplit_once('/').unwrap();
            *request.uri_mut() = format!("{owner}/unknown").parse().unwrap();
            self.ask(&ready.who, operation, "nothing there", request, &[404])
                .await;
        }
    }

    /// Addresses that are wrong, too long, or carry what does not belong there.
    async fn addresses(&self, ready: &Ready) {
        let operation = ready.operation;
        let with = |query: &str| {
            let mut request = ready.request(self.scene);
            let path = request.uri().to_string();
            let mark = if path.contains('?') { '&' } else { '?' };
            *request.uri_mut() = format!("{path}{mark}{query}").parse().unwrap();
            request
        };
        let long = with(&format!("x={}", "a".repeat(17_000)));
        self.ask(&ready.who, operation, "a long address", long, &[414])
            .await;
        let refused = if operation.method == Method::GET {
            with("x=1&x=2")
        } else {
            with("x=1")
        };
        let answer = self
            .ask(&ready.who, operation, "a strange query", refused, &[400])
            .await;
        if operation.method != Method::GET && operation.body != BodyKind::Form {
            let problem = answer.json();
            let said = (&problem["cause"], &problem["invalidParams"][0]["param"]);
            if said != (&json!("INVALID_QUERY_PARAM"), &json!("x"))
                || !problem["supportedFeatures"].is_string()
            {
                let id = operation.id;
                self.record
                    .mistake(format!("{id}, a strange query: {problem}"));
            }
        }
        let mut request = ready.request(self.scene);
        let path = format!("{}/", request.uri().path());
        *request.uri_mut() = Uri::try_from(path).unwrap();
        let answer = ready.who.caller.try_send(request).await.unwrap();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }

    /// On the session of somebody else's enrolment.
    async fn beside(&self, ready: &Ready) {
        let answer = self.beside_an_enrolment(ready).await;
        let id = ready.operation.id;
        self.record.answered(id, "beside an enrolment", &answer);
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{id}");
    }

    /// What the sender takes.
    async fn headers(&self, ready: &Ready) {
        if ready.operation.method != Method::GET {
            return;
        }
        for (accept, expected) in [
            ("text/html", 406),
            ("application/json;q=0, */*;q=0.1", 406),
            ("application/*;q=0.1", 200),
            ("text/html, */*", 200),
        ] {
            let mut request = ready.request(self.scene);
            let value = HeaderValue::from_static(accept);
            request.headers_mut().insert("accept", value);
            self.ask(&ready.who, ready.operation, accept, request, &[expected])
                .await;
        }
    }

    /// Bodies that are too long, of another type, or nothing that can be read.
    async fn bodies(&self, ready: &Ready) {
        let operation = ready.operation;
        let mut request = ready.request(self.scene);
        let limit = self.world.config.limits.body_bytes_max;
        request.body_mut().resize(limit + 1, b' ');
        self.ask(&ready.who, operation, "a long body", request, &[413])
            .await;
        for media in [
            "application/xml",
            "text/plain",
            "application/json-patch+json",
        ] {
            let mut request = ready.request(self.scene);
            let value = HeaderValue::from_static(media);
            request.headers_mut().insert("content-type", value);
            let answer = self
                .ask(&ready.who, operation, media, request, &[415])
                .await;
            let patch = answer.headers.get("accept-patch");
            let told = patch.is_some_and(|value| value == "application/merge-patch+json");
            if told != (operation.body == BodyKind::MergePatch) {
                self.record
                    .mistake(format!("{}, {media}: {patch:?}", operation.id));
            }
        }
        for body in ["{", "", "[]"] {
            let mut request = ready.request(self.scene);
            *request.body_mut() = body.into();
            let expected: &[u16] = if body.is_empty() { &[400, 411] } else { &[400] };
            self.ask(&ready.who, operation, body, request, expected)
                .await;
        }
    }

    /// A request that announces no body where there must be one.
    async fn without_length(&self, ready: &Ready) {
        let request = ready.request(self.scene);
        let address = self.world.ccf().local_addr();
        let answer = raw_answer(
            address,
            &self.world.root_pem(),
            ready.who.pems.as_ref(),
            &request,
        )
        .await;
        let id = ready.operation.id;
        self.record.answered(id, "no length", &answer);
        if answer.status != StatusCode::LENGTH_REQUIRED {
            self.record
                .mistake(format!("{id}, no length: {}", answer.status));
        }
    }
}

/// The head of a request as HTTP/1.1 writes it, without any body and without saying so; and the answer.
pub(super) async fn raw_answer(
    address: std::net::SocketAddr,
    root_pem: &str,
    pems: Option<&Pems>,
    request: &Request<Vec<u8>>,
) -> Answer {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {address}\r\n",
        request.method(),
        request.uri()
    );
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head.push_str("\r\n");
    let mut raw = Raw::connect(address, root_pem, pems).await;
    raw.send(head).await;
    let text = raw.answer().await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.insert(
            http::HeaderName::try_from(name).unwrap(),
            value.parse().unwrap(),
        );
    }
    Answer {
        status: status.parse().unwrap(),
        headers,
        body: body.as_bytes().to_vec(),
        session: None,
    }
}

/// All operations, one after the other; what takes something away leaves nothing for the next one.
pub(super) async fn every_operation(record: &Record) {
    let world = World::start().await;
    let mut scene: Option<Scene> = None;
    for (round, operation) in OPERATIONS.iter().enumerate() {
        if record.descriptions.operation(operation.id).is_none() {
            continue;
        }
        let present = match scene.take() {
            Some(scene) => scene,
            None => {
                let names = [format!("acme-{round}"), format!("umbrella-{round}")];
                Scene::new(&world, [&names[0], &names[1]]).await
            }
        };
        let walk = Walk {
            record,
            world: &world,
            scene: &present,
        };
        walk.operation(operation).await;
        let takes =
            operation.method == Method::DELETE || operation.id == "DeleteAuthIndAPIInvForAPIs";
        scene = (!takes).then_some(present);
    }
}

/// What only some operations answer.
pub(super) async fn special_cases(record: &Record) {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let domain = &scene.domains[0];
    let invoker = &scene.invokers[0];

    // An invitation for one API is none for another.
    let credential = world.credential(&["weather-of-acme"]).await;
    let key = keys::request(&keys::p256());
    let wanted = enrolment_for(&key, &["weather-of-umbrella"]);
    let answer = world.onboard(&credential, &wanted).await;
    record.answered("CreateOnboardedAPIInvoker", "not for this API", &answer);
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.json());

    // Who claims to be somebody, and is not, is not taken for nobody.
    let own = (invoker.id.as_str(), "API_INVOKER");
    let pems = forged(&world, Some(&issuing(&world)), own, |_| {});
    let caller = world.with_certificate(&pems);
    let path = "/open-api-disc/v1/service-apis";
    let answer = caller.json(Method::GET, path, None).await;
    record.answered("GetServAPIs", "a certificate of nobody", &answer);
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    // A name that the domain has given away.
    let answer = domain
        .apf
        .post(
            &domain.apis(),
            &domain.description("weather-of-acme", &["PKI"]),
        )
        .await;
    record.answered("CreateAPFPubAPIs", "a name that is taken", &answer);
    assert_eq!(answer.status, StatusCode::FORBIDDEN);

    // Nothing is there that was asked for.
    let path = "/logs/v1/apiInvocationLogs?api-name=nothing";
    let answer = domain.amf.get(path).await;
    record.answered("GetAPIInvLogs", "nothing found", &answer);
    assert_eq!(answer.status, StatusCode::NOT_FOUND);

    // Nothing to renegotiate.
    let fresh = world.raw_invoker(&[]).await;
    let wishes = wishes(&[(&domain.aef.id, &["OAUTH"])]);
    let path = format!("{}/update", fresh.context());
    let answer = fresh.post(&path, &wishes).await;
    record.answered("UpdateSecContIndAPIInv", "nothing agreed", &answer);
    assert_eq!(answer.status, StatusCode::NOT_FOUND);

    // Wrong secrets, until nobody listens any more.
    let mut last = StatusCode::OK;
    for _ in 0..12 {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", invoker.id.as_str()),
            ("client_secret", "wrong"),
        ];
        let answer = invoker.caller.form(&invoker.token_path(), &form).await;
        record.answered("GetOAuthIndAPIInv", "a wrong secret", &answer);
        last = answer.status;
        if last == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers.contains_key("retry-after"));
        }
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}

/// What has to wait for the operator (TS 29.222 clauses 5.5.2.2.2 and 5.5.2.5.2).
pub(super) async fn delays(record: &Record) {
    let world = World::with(|config| config.onboarding.approval = Approval::Operator).await;
    let domain = world.domain("acme").await;
    for api in ["weather", "traffic"] {
        domain.publish(api, &["OAUTH"]).await;
    }
    let key = keys::p256();
    let mut body = enrolment_for(&keys::request(&key), &["weather"]);
    body["supportedFeatures"] = json!("F");
    body["vendorSpecific-capif"] = json!({ "features": ["renewal"], "attempt": "one" });
    let credential = world.credential(&[]).await;
    let answer = world.onboard(&credential, &body).await;
    record.answered("CreateOnboardedAPIInvoker", "approval", &answer);
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
    let pending = world.list("pending").await;
    let approval = json!({ "id": pending[0]["id"] });
    let (status, said) = world
        .operator(Method::POST, "/approvals", Some(approval))
        .await;
    assert!(status.is_success(), "{said}");
    let answer = world.onboard(&credential, &body).await;
    record.answered("CreateOnboardedAPIInvoker", "approved", &answer);
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let invoker = world.invoker_of(&answer, &key);
    let path = format!("{INVOKERS}/{}", invoker.id);
    let more =
        json!({ "serviceAPIDescriptions": [{ "apiName": "weather" }, { "apiName": "traffic" }] });
    let answer = invoker.patch(&path, &json!({ "apiList": more })).await;
    record.answered("ModifyIndOnboardedAPIInvoker", "approval", &answer);
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
    let mut details = invoker.details.clone();
    details["apiList"] = more;
    let answer = invoker.put(&path, &details).await;
    record.answered("UpdateIndOnboardedAPIInvoker", "approval", &answer);
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
}

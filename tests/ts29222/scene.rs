//! Two domains and two invokers with something of everything, and for each operation of the table a request that is in order:
//! tests of the whole table change one thing about it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use capif_ccf::api::operations::{BodyKind, CallerKind, Operation};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World, keys,
    people::{Domain, INVOKERS, Party, RawInvoker, enrolment, function, registration, wishes},
    raw::Pems,
    wire::{Answer, Caller},
};

/// Makes names that nobody has used.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Who calls.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) name: &'static str,
    /// What the core function takes it for; nobody known if absent.
    pub(crate) kind: Option<CallerKind>,
    pub(crate) id: String,
    pub(crate) domain: String,
    pub(crate) secret: String,
    pub(crate) pems: Option<Pems>,
    pub(crate) caller: Caller,
}

impl Who {
    /// Sends a request. The session of enrolment ends with its answer, so that each try has a connection of its own.
    pub(crate) async fn send(
        &self,
        world: &World,
        operation: &Operation,
        request: Request<Vec<u8>>,
    ) -> Answer {
        let enrols = [
            CallerKind::OnboardingCredential,
            CallerKind::RegistrationCredential,
        ];
        let caller = match &self.pems {
            _ if !operation.callers.iter().any(|kind| enrols.contains(kind)) => self.caller.clone(),
            Some(pems) => world.with_certificate(pems),
            None => world.anonymous(),
        };
        let answer = caller.try_send(request).await;
        answer.unwrap_or_else(|| panic!("{} by {}: no answer", operation.id, self.name))
    }
}

/// Whose id stands in the path or query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Own,
    Others,
    Unknown,
}

pub(crate) struct Scene {
    pub(crate) domains: [Domain; 2],
    pub(crate) invokers: [RawInvoker; 2],
    /// The one API of each domain.
    pub(crate) apis: [String; 2],
    /// One subscription of everybody who may hold one, by its id.
    subscriptions: BTreeMap<String, String>,
    tomorrow: String,
    names: [String; 2],
}

impl Scene {
    pub(crate) async fn new(world: &World, names: [&str; 2]) -> Self {
        let domains = [world.domain(names[0]).await, world.domain(names[1]).await];
        let methods = ["PKI", "OAUTH"];
        let api_names = names.map(|name| format!("weather-of-{name}"));
        let apis = [
            domains[0].publish(&api_names[0], &methods).await,
            domains[1].publish(&api_names[1], &methods).await,
        ];
        for api in &apis {
            let policy = json!({ "api": { "id": api }, "total": 1000 });
            let (status, said) = world
                .operator(http::Method::POST, "/policies", Some(policy))
                .await;
            assert_eq!(status, StatusCode::OK, "{said}");
        }
        // Each AEF hides what is behind it, itself, so that there is something to route.
        for (domain, api) in domains.iter().zip(&apis) {
            let hiding = json!({ "what": { "api": { "id": api } }, "aefId": domain.aef.id });
            let (status, said) = world
                .operator(http::Method::POST, "/hidden", Some(hiding))
                .await;
            assert_eq!(status, StatusCode::OK, "{said}");
        }
        let invokers = [world.raw_invoker(&[]).await, world.raw_invoker(&[]).await];
        for invoker in &invokers {
            // PATCH is for who agreed to it.
            let mut details = invoker.details.clone();
            details["supportedFeatures"] = json!("C");
            let path = format!("{INVOKERS}/{}", invoker.id);
            let answer = invoker.put(&path, &details).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        }
        let tomorrow = time::OffsetDateTime::from_unix_timestamp(world.now() + 86_400).unwrap();
        let tomorrow = capif_spec::common::DateTime(tomorrow).to_string();
        let mut scene = Self {
            domains,
            invokers,
            apis,
            subscriptions: BTreeMap::new(),
            tomorrow,
            names: api_names,
        };
        // Each invoker agrees with the AEF of one domain, so that it is a stranger to the other.
        for (invoker, domain) in scene.invokers.iter().zip(&scene.domains) {
            let answer = invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
            assert_eq!(answer.status, StatusCode::CREATED);
        }
        // There is something to look at for those who look at logs.
        for ((domain, invoker), api) in scene.domains.iter().zip(&scene.invokers).zip(&scene.apis) {
            let path = format!("/api-invocation-logs/v1/{}/logs", domain.aef.id);
            let report = report(&domain.aef.id, &invoker.id, api);
            let answer = domain.aef.post(&path, &report).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        }
        let mut subscriptions = BTreeMap::new();
        for party in scene.parties() {
            let path = format!("/capif-events/v1/{}/subscriptions", party.id);
            let answer = party.post(&path, &subscription()).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
            let location = answer.headers["location"].to_str().unwrap();
            subscriptions.insert(
                party.id.clone(),
                location.rsplit('/').next().unwrap().to_owned(),
            );
        }
        scene.subscriptions = subscriptions;
        scene
    }

    fn parties(&self) -> impl Iterator<Item = &Party> {
        let functions = self
            .domains
            .iter()
            .flat_map(|domain| [&domain.amf, &domain.apf, &domain.aef]);
        functions.chain(self.invokers.iter().map(|invoker| &invoker.party))
    }

    /// Everybody with a certificate that counts: the first of each kind, then the second.
    pub(crate) fn everybody(&self) -> Vec<Who> {
        let mut all = Vec::new();
        for index in 0..2 {
            let domain = &self.domains[index];
            let invoker = &self.invokers[index];
            let names = if index == 0 {
                ["invoker", "AEF", "APF", "AMF"]
            } else {
                [
                    "another invoker",
                    "AEF of another domain",
                    "APF of another domain",
                    "AMF of another domain",
                ]
            };
            let who = |name, kind, party: &Party, secret: &str| Who {
                name,
                kind: Some(kind),
                id: party.id.clone(),
                domain: domain.id.clone(),
                secret: secret.to_owned(),
                pems: Some(party.pems.clone()),
                caller: party.caller.clone(),
            };
            let secret = invoker.secret.as_deref().unwrap();
            all.push(who(names[0], CallerKind::Invoker, &invoker.party, secret));
            all.push(who(names[1], CallerKind::Aef, &domain.aef, ""));
            all.push(who(names[2], CallerKind::Apf, &domain.apf, ""));
            all.push(who(names[3], CallerKind::Amf, &domain.amf, ""));
        }
        all
    }

    /// Which of the two of everything is the caller's side.
    fn side(&self, who: &Who) -> usize {
        let second = &self.domains[1];
        usize::from(who.domain == second.id || who.id == self.invokers[1].id)
    }

    /// A request that is in order but for whose id it carries.
    pub(crate) fn request(
        &self,
        operation: &Operation,
        who: &Who,
        choice: Choice,
    ) -> Request<Vec<u8>> {
        let own = self.side(who);
        let side = if choice == Choice::Others {
            1 - own
        } else {
            own
        };
        let (domain, invoker) = (&self.domains[side], &self.invokers[side]);
        let id = |text: &str| {
            if choice == Choice::Unknown {
                unknown_like(text)
            } else {
                text.to_owned()
            }
        };
        // The owner's other things stay real, so that only the owner tells the cases apart.
        let first = if operation.path.contains("{registrationId}") {
            id(&domain.id)
        } else if operation.path.contains("{apfId}") {
            id(
                if who.kind == Some(CallerKind::Apf) && choice == Choice::Own {
                    &who.id
                } else {
                    &domain.apf.id
                },
            )
        } else if operation.path.contains("{aefId}") {
            id(&domain.aef.id)
        } else if operation.path.contains("{subscriberId}") || operation.path.contains("{entityId}")
        {
            id(&self.counterpart(who, choice).id)
        } else if operation.path.starts_with("/access-control")
            || operation.path.starts_with("/capif-routing")
            || operation.path.starts_with("/capif-allowances")
        {
            id(&self.apis[side])
        } else {
            id(&invoker.id)
        };
        let mut path = operation.path.to_owned();
        for (name, value) in [
            ("{onboardingId}", &first),
            ("{registrationId}", &first),
            ("{apfId}", &first),
            ("{subscriberId}", &first),
            ("{entityId}", &first),
            ("{apiInvokerId}", &first),
            ("{securityId}", &first),
            ("{aefId}", &first),
            (
                "{subscriptionId}",
                &self.subscriptions[&self.counterpart(who, choice).id],
            ),
            (
                "{resourceId}",
                &self.subscriptions[&self.counterpart(who, choice).id],
            ),
        ] {
            path = path.replace(name, value);
        }
        let of_apf = operation.path.contains("{apfId}");
        path = path.replace(
            "{serviceApiId}",
            if of_apf && first != self.apis[side] {
                &self.apis[side]
            } else {
                &first
            },
        );
        if operation.id == "GetPubServAPIs" {
            path = format!("{path}?api-invoker-id={first}");
        }
        if ["GetAccContPolList", "GetAPIRouteInfo"].contains(&operation.id) {
            path = format!("{path}?aef-id={}", who.id);
        }
        let mut request = Request::builder()
            .method(operation.method.clone())
            .uri(path);
        if let Some(media) = operation.body.media_type() {
            request = request.header("content-type", media);
        }
        let body = match operation.body {
            BodyKind::None => Vec::new(),
            BodyKind::Form if operation.id == "IntrospectAccessToken" => b"token=x".to_vec(),
            BodyKind::Form => {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", &who.id),
                    ("client_secret", &who.secret),
                ];
                serde_urlencoded::to_string(form).unwrap().into_bytes()
            }
            BodyKind::Json | BodyKind::MergePatch => self
                .body(operation.id, who, &first, side)
                .to_string()
                .into_bytes(),
        };
        request.body(body).unwrap()
    }

    /// The party of the caller's kind on the side that the choice names; the caller itself for its own.
    fn counterpart(&self, who: &Who, choice: Choice) -> &Party {
        let own = self.side(who);
        let side = if choice == Choice::Others {
            1 - own
        } else {
            own
        };
        match who.kind {
            Some(CallerKind::Aef) => &self.domains[side].aef,
            Some(CallerKind::Apf) => &self.domains[side].apf,
            Some(CallerKind::Amf) => &self.domains[side].amf,
            _ => &self.invokers[side].party,
        }
    }

    fn body(&self, operation: &str, who: &Who, first: &str, side: usize) -> Value {
        let domain = &self.domains[side];
        let own = &self.domains[self.side(who)];
        match operation {
            "CreateOnboardedAPIInvoker" => enrolment(&keys::request(&keys::p256())),
            "UpdateIndOnboardedAPIInvoker" => {
                let mut details = self.invokers[side].details.clone();
                details.as_object_mut().unwrap().remove("apiList");
                details
            }
            "ModifyIndOnboardedAPIInvoker" => json!({ "apiInvokerInformation": "changed" }),
            "CreateApiProvRegist" => {
                registration("", &[function("AMF", &keys::request(&keys::p256()))])
            }
            "UpdateIndApiProvDomainRegist" => own.details.clone(),
            "ModifyIndApiProvDomainRegist" => json!({ "apiProvDomInfo": "changed" }),
            "CreateAPFPubAPIs" => own.description(
                &format!("api-{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
                &["PKI"],
            ),
            "UpdateIndAPFPubAPI" => own.description(&self.names[self.side(who)], &["PKI", "OAUTH"]),
            "ModifyIndAPFPubAPI" => json!({ "description": "changed" }),
            "CreateEventSubsc" | "UpdateIndEventSubsc" => subscription(),
            "ModifyIndEventSubsc" => json!({ "events": ["SERVICE_API_UPDATE"] }),
            "CreateSecIndTrustedAPIInv" | "UpdateSecContIndAPIInv" => {
                wishes(&[(&domain.aef.id, &["OAUTH"])])
            }
            "DeleteAuthIndAPIInvForAPIs" => {
                json!({ "apiInvokerId": first, "apiIds": [self.apis[side]], "cause": "OVERLIMIT_USAGE" })
            }
            "CreateLogEntServAPIInv" => {
                report(&who.id, &self.invokers[side].id, &self.apis[self.side(who)])
            }
            "HandOverOnboardingCredential" => {
                let token = keys::public_pem(&keys::p256());
                json!({ "token": token, "expires": self.tomorrow })
            }
            "AskForAllowance" => json!({ "apiInvokerId": self.invokers[side].id, "wanted": 1 }),
            other => panic!("no body for {other}"),
        }
    }
}

/// One call, as an AEF reports it.
fn report(aef: &str, invoker: &str, api: &str) -> Value {
    json!({
        "aefId": aef,
        "apiInvokerId": invoker,
        "logs": [{
            "apiId": api, "apiName": "weather", "apiVersion": "v1", "resourceName": "today", "protocol": "HTTP_1_1", "result": "200",
        }],
    })
}

fn subscription() -> Value {
    json!({ "events": ["SERVICE_API_AVAILABLE"], "notificationDestination": "https://127.0.0.1:1/events" })
}

/// An id of the same form that nobody has.
fn unknown_like(id: &str) -> String {
    let prefix: String = id.chars().take(3).collect();
    format!("{prefix}{}", "0".repeat(32))
}

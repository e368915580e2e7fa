//! The part of the scripted CAPIF core function that renews.

use std::collections::HashMap;

use capif_transport::{Clock, Fingerprint};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::world::{Facts, INVOKER, Reply, SECRET, Seen, answer, problem};

pub(crate) const RESOURCE: &str = "/api-invoker-management/v1/onboardedInvokers/invoker-1";
pub(crate) const STATUS: &str = "/capif-renewal/v1/invoker-1";
const MEMBER: &str = "vendorSpecific-capif";

/// A CAPIF core function that agrees to renew.
#[derive(Default)]
pub(crate) struct Renewing {
    /// The answers that were given, by the names of the renewals.
    answers: HashMap<String, (String, Value)>,
    /// What was issued, in order.
    pub(crate) issued: Vec<Fingerprint>,
    /// When the last of it was.
    since: Option<OffsetDateTime>,
    /// What is not accepted any more.
    pub(crate) refused: Vec<Fingerprint>,
    /// What it asks for, until a renewed certificate is seen.
    pub(crate) demand: Option<&'static str>,
    /// Whether nothing else counts before the demand is fulfilled.
    pub(crate) insists: bool,
    /// Whom to believe.
    pub(crate) anchors: Vec<String>,
    pub(crate) distrusted: Vec<String>,
}

impl Renewing {
    pub(crate) fn believing(anchors: Vec<String>) -> Self {
        Self {
            anchors,
            ..Self::default()
        }
    }

    fn information(&self, facts: &Times) -> Value {
        json!({ "certificateExpires": facts.ends, "secretExpires": facts.secret_ends })
    }

    pub(crate) fn secret(number: usize) -> String {
        match number {
            0 => SECRET.to_owned(),
            _ => format!("{SECRET}-{number}"),
        }
    }
}

struct Times {
    ends: String,
    secret_ends: String,
    after: String,
}

/// Certificates of 30 days, secrets of 90.
pub(crate) const LIFE: Duration = Duration::days(30);

fn times(facts: &Facts) -> Times {
    let now = facts.clock.now();
    let since = facts.renewing.as_ref().and_then(|renewing| renewing.since);
    let text = |after: Duration| (since.unwrap_or(now) + after).format(&Rfc3339).unwrap();
    Times {
        ends: text(LIFE),
        secret_ends: text(Duration::days(90)),
        after: text(LIFE * 2 / 3),
    }
}

fn issue(facts: &mut Facts, request: &str) -> String {
    let now = facts.clock.now();
    let certificate = facts.authority.sign_for(request, INVOKER, now, now + LIFE);
    let der = pem::parse(&certificate).unwrap();
    let renewing = facts.renewing.as_mut().unwrap();
    renewing.issued.push(Fingerprint::of(der.contents()));
    renewing.since = Some(now);
    certificate
}

/// What it answers where renewal makes a difference.
pub(crate) fn renewal(facts: &mut Facts, seen: &Seen) -> Option<Reply> {
    facts.renewing.as_ref()?;
    let times = times(facts);
    let renewing = facts.renewing.as_mut().unwrap();
    if seen
        .shown
        .is_some_and(|shown| renewing.refused.contains(&shown))
    {
        return Some(problem(401, "this certificate was replaced"));
    }
    let newest = seen.shown.is_some() && seen.shown.as_ref() == renewing.issued.last();
    if newest && renewing.issued.len() > 1 {
        renewing.demand = None;
    }
    let request = || seen.json();
    match (seen.method.as_str(), seen.path.as_str()) {
        ("POST", "/api-invoker-management/v1/onboardedInvokers") => {
            let mut details = request();
            let key = details["onboardingInformation"]["apiInvokerPublicKey"].clone();
            let certificate = issue(facts, key.as_str().unwrap());
            let times = self::times(facts);
            details["apiInvokerId"] = json!(INVOKER);
            details[MEMBER] = json!({ "features": ["renewal"] });
            let information = &mut details["onboardingInformation"];
            information["apiInvokerCertificate"] = json!(certificate);
            information["onboardingSecret"] = json!(SECRET);
            information[MEMBER] = facts.renewing.as_ref().unwrap().information(&times);
            Some(answer(201, &details))
        }
        ("PATCH" | "PUT", RESOURCE) => {
            let patch = request();
            let information = &patch["onboardingInformation"];
            let id = information[MEMBER]["renewal"].as_str().unwrap().to_owned();
            let key = information["apiInvokerPublicKey"]
                .as_str()
                .unwrap()
                .to_owned();
            if let Some((of, given)) = renewing.answers.get(&id) {
                let same = *of == key;
                let given = given.clone();
                return Some(if same {
                    answer(200, &given)
                } else {
                    problem(409, "another key")
                });
            }
            let certificate = issue(facts, &key);
            let times = self::times(facts);
            let renewing = facts.renewing.as_mut().unwrap();
            let mut terms = renewing.information(&times);
            terms["renewal"] = json!(id);
            terms["overlapSeconds"] = json!(3600);
            let mut details = json!({
                "apiInvokerId": INVOKER,
                "onboardingInformation": {
                    "apiInvokerPublicKey": key,
                    "apiInvokerCertificate": certificate,
                    "onboardingSecret": Renewing::secret(renewing.issued.len() - 1),
                    MEMBER: terms,
                },
                "notificationDestination": "https://api-invoker.invalid/",
                "supportedFeatures": "C",
                MEMBER: { "features": ["renewal"] },
            });
            if let Some(expires) = patch.get("expTime") {
                details["expTime"] = expires.clone();
            }
            renewing.answers.insert(id, (key, details.clone()));
            Some(answer(200, &details))
        }
        ("GET", STATUS) => {
            let mut status = json!({
                "certificateExpires": times.ends,
                "secretExpires": times.secret_ends,
                "renewAfter": times.after,
                "trust": { "anchors": renewing.anchors, "distrusted": renewing.distrusted },
            });
            if let Some(reason) = renewing.demand {
                status["demand"] = json!({ "reason": reason, "deadline": times.ends });
            }
            Some(answer(200, &status))
        }
        _ if seen.shown.is_some() && renewing.insists && renewing.demand.is_some() => {
            let refusal =
                json!({ "status": 403, "cause": "RENEWAL_REQUIRED", "detail": "renew first" });
            Some(answer(403, &refusal))
        }
        _ => None,
    }
}

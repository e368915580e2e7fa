use capif_spec::common::ApiInvokerId;
use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Kind, Record},
    fixtures::*,
    state::{ApiReach, CredentialUse},
};

const LIFE: Duration = Duration::days(7);

fn queue(waiting: usize) -> Queue {
    Queue {
        waiting,
        life: LIFE,
    }
}

fn credential() -> Credential {
    Credential {
        issuer: "operator".to_owned(),
        single_use: digest(0xc0),
        expires: "2026-01-31T12:15:00Z".parse().unwrap(),
        reach: names(&["weather", "traffic"]),
        registered: None,
        approval: true,
    }
}

fn request(members: Value) -> ApiInvokerEnrolmentDetails {
    let mut document = json!({
        "onboardingInformation": {
            "apiInvokerPublicKey": "key of the invoker",
            "onboardingSecret": "a secret of its own",
        },
        "notificationDestination": DESTINATION,
        "apiInvokerInformation": "an invoker",
        "apiList": { "serviceAPIDescriptions": [{ "apiName": "weather", "description": "long" }] },
        MEMBER: { "attempt": "one" },
    });
    for (name, value) in members.as_object().unwrap() {
        document[name] = value.clone();
    }
    wire(document)
}

fn admission(details: ApiInvokerEnrolmentDetails) -> Admission {
    let candidate = Candidate {
        credential: credential(),
        public_key: key(1),
        id: ApiInvokerId::new("INV"),
    };
    admit(details, candidate, [].iter(), &rotation_terms(), &now()).unwrap()
}

/// The record of an onboarding that waits.
fn waiting() -> Versioned<PendingEnrolment> {
    let changes = postpone(admission(request(json!({}))), queue(0), &now()).unwrap();
    versioned(written::<PendingEnrolment>(&changes).remove(0).1)
}

fn later(life: Duration) -> DateTime {
    DateTime(now().0 + life)
}

/// TS 29.222 clause 5.5.2.2.2: what waits is the request with the judgement of its credential, which is used up, for as long as one can
/// ask with it; there is no profile.
#[test]
fn an_onboarding_waits_without_a_profile() {
    let changes = postpone(admission(request(json!({}))), queue(0), &now()).unwrap();
    let (expect, used) = written::<CredentialUse>(&changes).remove(0);
    assert_eq!(expect, Expect::Absent);
    assert_eq!(
        used,
        CredentialUse {
            id: digest(0xc0),
            expires: later(LIFE * 2)
        }
    );
    let (expect, held) = written::<PendingEnrolment>(&changes).remove(0);
    assert_eq!(expect, Expect::Absent);
    assert_eq!(
        (held.id.as_str(), &held.asked, &held.expires, &held.rejected),
        ("INV", &now(), &later(LIFE), &None)
    );
    assert_eq!(written::<Invoker>(&changes), []);
    assert_eq!(changes.steps.len(), 2);
    let text = serde_json::to_string(&held).unwrap();
    assert!(
        !text.contains("a secret of its own") && !text.contains("long"),
        "{text}"
    );
    assert_eq!(
        serde_json::from_str::<PendingEnrolment>(&text).unwrap(),
        held
    );
}

/// The queue is bounded, in number and in size.
#[test]
fn what_waits_is_bounded() {
    let most = postpone(
        admission(request(json!({}))),
        queue(PENDING_MAX - 1),
        &now(),
    );
    assert!(most.is_ok());
    let more = postpone(admission(request(json!({}))), queue(PENDING_MAX), &now());
    assert_eq!(more.unwrap_err(), Refusal::ApprovalsExhausted);
    let large = request(json!({ "vendorSpecific-000001": "x".repeat(WISH_BYTES_MAX) }));
    let refusal = postpone(admission(large), queue(0), &now()).unwrap_err();
    assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal:?}");
}

/// The very same request is recognised; another one, and one after the end, finds the credential used.
#[test]
fn the_same_request_finds_that_it_waits() {
    let held = waiting().record;
    let ask =
        |details: Value, ended: bool, when: &DateTime| again(&request(details), ended, &held, when);
    assert_eq!(ask(json!({}), false, &now()), Ok(()));
    assert_eq!(ask(json!({}), true, &now()), Ok(()));
    let other_key = json!({ "onboardingInformation": { "apiInvokerPublicKey": "another" } });
    for other in [
        json!({ MEMBER: { "attempt": "two" } }),
        json!({ MEMBER: {} }),
        other_key,
    ] {
        assert_eq!(
            ask(other.clone(), false, &now()),
            Err(Refusal::CredentialUsed),
            "{other}"
        );
        assert_eq!(ask(other, true, &now()), Err(Refusal::CredentialExpired));
    }
    let last = DateTime(held.expires.0 - Duration::nanoseconds(1));
    assert_eq!(ask(json!({}), true, &last), Ok(()));
    assert_eq!(
        ask(json!({}), true, &held.expires),
        Err(Refusal::CredentialExpired)
    );

    // Without a name, no request is the same as another.
    let nameless = request(json!({ MEMBER: {} }));
    let changes = postpone(admission(nameless.clone()), queue(0), &now()).unwrap();
    let held = written::<PendingEnrolment>(&changes).remove(0).1;
    assert_eq!(
        again(&nameless, false, &held, &now()),
        Err(Refusal::CredentialUsed)
    );
}

/// Approval makes what an immediate answer would have made, in the place of what waited; the answer can be asked for with a
/// credential that has ended.
#[test]
fn approval_onboards() {
    let held = waiting();
    let apis = [api("A1", "weather", &[profile("AEF", &[Oauth])])];
    let now = later(Duration::days(2));
    let admission = approve(&held, apis.iter(), &rotation_terms(), queue(1), &now);
    let admission = admission.unwrap().unwrap();
    assert_eq!(*admission.order().public_key(), key(1));
    let certificate = certified(admission.order());
    let secret = super::super::NewSecret {
        text: capif_spec::common::Redacted::from("the secret"),
        digest: digest(0x5e),
        sealed: crate::state::SealedKey::new("sealed"),
    };
    let (changes, answer) = admission.complete(
        certificate,
        Some(secret),
        apis.iter(),
        [].iter(),
        &super::super::Tally::default(),
        now.clone(),
    );
    assert!(changes.steps.contains(&deletion(
        Kind::PendingEnrolment,
        "INV",
        Expect::At(REVISION)
    )));
    assert_eq!(written::<CredentialUse>(&changes), []);
    let (_, invoker) = written::<Invoker>(&changes).remove(0);
    assert_eq!(invoker.reach, names(&["weather"]));
    assert_eq!(invoker.allowance, Some(names(&["weather", "traffic"])));
    assert!(
        invoker.approval,
        "what it asks for beyond that is approved too"
    );
    assert_eq!(invoker.onboarded, now);
    let handover = invoker.renewal.handover.clone().unwrap();
    assert_eq!(handover.until, Some(DateTime(now.0 + LIFE)));

    let open = |_: &Invoker, _: &crate::state::Handover| {
        Some(capif_spec::common::Redacted::from("the secret"))
    };
    let ask = |ended: bool, when: &DateTime| {
        let details = request(json!({}));
        let invokers = std::iter::once(&invoker);
        repetition::again(
            details,
            &credential(),
            ended,
            invokers,
            apis.iter(),
            &open,
            when,
        )
    };
    assert_eq!(ask(true, &now).unwrap(), answer);
    let end = DateTime(now.0 + LIFE);
    assert_eq!(ask(true, &end), Err(Refusal::CredentialExpired));
    assert_eq!(ask(false, &end).unwrap(), answer);
    let notification = success("https://ccf.example/resource".into(), answer.clone());
    assert_eq!(
        serde_json::to_value(notification).unwrap(),
        json!({
            "result": true,
            "resourceLocation": "https://ccf.example/resource",
            "apiInvokerEnrolmentDetails": answer,
            "apiList": answer.api_list,
        })
    );
}

/// What cannot be approved any more says why.
#[test]
fn approval_is_decided_on_what_is_published_then() {
    let details = request(json!({ "onboardingInformation": {
        "apiInvokerPublicKey": "key",
        "onboardingCriteria": [{ "secMethods": ["PKI"] }],
    }}));
    let changes = postpone(admission(details), queue(0), &now()).unwrap();
    let held = versioned(written::<PendingEnrolment>(&changes).remove(0).1);
    let tokens_alone = [api("A1", "weather", &[profile("AEF", &[Oauth])])];
    let denied = approve(
        &held,
        tokens_alone.iter(),
        &rotation_terms(),
        queue(1),
        &now(),
    );
    let denial = denied.unwrap_err();
    assert!(matches!(denial.refusal, Refusal::NoApiGranted { .. }));
    assert!(denial.failed.is_some());
}

/// TS 29.222 clause 8.4.4.2.7: a rejection says so with a reason that the standard names, and carries nothing else; who asks again is
/// told the operator's words.
#[test]
fn rejection_is_remembered_and_told() {
    let held = waiting();
    let rejected = reject(&held, Some(" too late "), false, &now()).unwrap();
    let (expect, record) = written::<PendingEnrolment>(&rejected.changes).remove(0);
    assert_eq!(expect, Expect::At(REVISION));
    assert_eq!(rejected.changes.steps.len(), 1);
    assert_eq!(
        again(&request(json!({})), true, &record, &now()),
        Err(Refusal::EnrolmentRejected {
            reason: Some("too late".to_owned())
        })
    );
    let text = serde_json::to_string(&record).unwrap();
    assert!(!text.contains("an invoker"), "{text}");
    assert_eq!(
        serde_json::to_value(&rejected.notification).unwrap(),
        json!({
            "result": false,
            "failReason": "API_INVOKER_NOT_ALLOWED",
            MEMBER: { "reason": "too late" },
        })
    );
    let unmet = reject(&held, None, true, &now()).unwrap().notification;
    assert_eq!(
        serde_json::to_value(unmet).unwrap(),
        json!({ "result": false, "failReason": "ONBOARDING_CRI_NOT_MET" })
    );
    for reason in ["a\nb", &"x".repeat(REASON_CHARS_MAX + 1)] {
        let refusal = reject(&held, Some(reason), false, &now()).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed { .. }));
    }
    // What is decided is decided.
    let decided = versioned(record);
    let not_found = |refusal: Refusal| matches!(refusal, Refusal::NotFound { .. });
    assert!(not_found(
        reject(&decided, None, false, &now()).unwrap_err()
    ));
    let approved = approve(&decided, [].iter(), &rotation_terms(), queue(1), &now());
    assert!(not_found(approved.unwrap_err().refusal));
    let (changes, told) = lapse(&decided);
    assert_eq!((changes.steps.len(), told), (1, None), "it was told before");
}

/// What nobody decides on ends, and the invoker is told.
#[test]
fn what_waits_too_long_ends() {
    let held = waiting();
    let (changes, told) = lapse(&held);
    let id = held.record.record_id();
    assert_eq!(
        changes.steps,
        [deletion(Kind::PendingEnrolment, &id, Expect::At(REVISION))]
    );
    let told = serde_json::to_value(told.unwrap()).unwrap();
    assert_eq!(
        (&told["result"], &told["failReason"]),
        (&json!(false), &json!("OTHER"))
    );
    assert_eq!(
        destination(&held.record, None).unwrap().as_str(),
        DESTINATION
    );
}

/// With a credential that was handed over, its record goes when the onboarding begins to wait.
#[test]
fn a_handed_over_credential_goes() {
    let candidate = Candidate {
        credential: Credential {
            registered: Some(digest(0x70)),
            reach: ApiReach::default(),
            ..credential()
        },
        public_key: key(1),
        id: ApiInvokerId::new("INV"),
    };
    let details = request(json!({}));
    let admission = admit(details, candidate, [].iter(), &rotation_terms(), &now()).unwrap();
    let changes = postpone(admission, queue(0), &now()).unwrap();
    let id = digest(0x70).to_string();
    assert!(
        changes
            .steps
            .contains(&deletion(Kind::RegisteredCredential, &id, Expect::Present))
    );
}

//! What is agreed on at onboarding besides: renewal, an end, and a name under which the answer is given again.

use capif_spec::vendor::MEMBER;
use time::Duration;

use super::*;

fn later(duration: Duration) -> DateTime {
    DateTime(now().0 + duration)
}

fn with(members: Value) -> ApiInvokerEnrolmentDetails {
    let mut document = serde_json::to_value(request(&[])).unwrap();
    for (name, value) in members.as_object().unwrap() {
        document[name] = value.clone();
    }
    wire(document)
}

fn onboarded(
    details: ApiInvokerEnrolmentDetails,
    terms: &Terms,
) -> Result<(Invoker, Value), Refusal> {
    let candidate = candidate("INV", credential(ApiReach::default()));
    let admission = admit(details, candidate, [].iter(), terms, &now());
    let admission = admission.map_err(|denial| denial.refusal)?;
    let certificate = certified(admission.order());
    let not_after = admission.order().not_after().cloned();
    let secret = admission.needs_secret().then(new_secret);
    let (changes, answer) = admission.complete(
        certificate,
        secret,
        [].iter(),
        [].iter(),
        &Tally::default(),
        now(),
    );
    let (_, invoker) = written::<Invoker>(&changes).remove(0);
    assert_eq!(not_after, invoker.expires);
    Ok((invoker, serde_json::to_value(answer).unwrap()))
}

/// D-21: the feature is answered, and with it how long certificate and secret are good; without it the secret has no end (TS 33.122
/// clause 6.1 step 6).
#[test]
fn renewal_is_agreed_on() {
    let terms = rotation_terms();
    let details = with(json!({ MEMBER: { "features": ["renewal", "another"] } }));
    let (invoker, answer) = onboarded(details, &terms).unwrap();
    let ends = later(Duration::days(90));
    assert!(invoker.renewal.agreed);
    assert_eq!(invoker.secret_expires, Some(ends.clone()));
    assert_eq!(answer[MEMBER], json!({ "features": ["renewal"] }));
    assert_eq!(
        answer["onboardingInformation"][MEMBER],
        json!({ "certificateExpires": invoker.certificate.not_after, "secretExpires": ends })
    );

    let (invoker, answer) = onboarded(request(&[]), &terms).unwrap();
    assert_eq!(
        (invoker.renewal.agreed, invoker.secret_expires),
        (false, None)
    );
    assert_eq!(answer.get(MEMBER), None);
    assert_eq!(answer["onboardingInformation"].get(MEMBER), None);

    for broken in [json!(1), json!({ "features": 1 }), json!({ "attempt": "" })] {
        let refusal = onboarded(with(json!({ MEMBER: broken })), &terms).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal:?}");
    }
}

/// TS 23.222 clause 8.1, R-6.1-20: the end is the earlier of what is asked and what the operator allows; the secret and the
/// certificate end with it.
#[test]
fn an_end_is_granted() {
    let year = Duration::days(365);
    let bounded = Terms {
        enrolment_life: Some(year),
        ..rotation_terms()
    };
    let at = |days: i64| later(Duration::days(days));
    let cases = [
        (Some("8"), Some(at(30)), None, Some(at(30))),
        (Some("8"), Some(at(30)), Some(()), Some(at(30))),
        (Some("8"), Some(at(400)), Some(()), Some(at(365))),
        (Some("8"), None, Some(()), Some(at(365))),
        (Some("8"), None, None, None),
        // Not agreed on: what the operator allows counts, and is not answered.
        (None, Some(at(30)), None, None),
        (Some("4"), Some(at(30)), Some(()), Some(at(365))),
    ];
    for (features, asked, bound, expected) in cases {
        let mut members = json!({ MEMBER: { "features": ["renewal"] } });
        if let Some(features) = features {
            members["supportedFeatures"] = json!(features);
        }
        if let Some(asked) = &asked {
            members["expTime"] = json!(asked);
        }
        let terms = if bound.is_some() {
            bounded
        } else {
            rotation_terms()
        };
        let (invoker, answer) = onboarded(with(members), &terms).unwrap();
        let case = format!("{features:?} {asked:?} {bound:?}");
        assert_eq!(invoker.expires, expected, "{case}");
        let answered = expected.clone().filter(|_| features == Some("8"));
        assert_eq!(
            answer.get("expTime").cloned(),
            answered.map(|ends| json!(ends)),
            "{case}"
        );
        let secret_ends = at(90).min(expected.unwrap_or(at(90)));
        assert_eq!(invoker.secret_expires, Some(secret_ends), "{case}");
    }
    let past = with(json!({ "supportedFeatures": "8", "expTime": now() }));
    let refusal = onboarded(past, &rotation_terms()).unwrap_err();
    assert!(matches!(refusal, Refusal::Malformed { pointer, .. } if pointer == "/expTime"));
}

fn attempt(name: &str) -> ApiInvokerEnrolmentDetails {
    with(json!({ MEMBER: { "attempt": name, "features": ["renewal"] }, "supportedFeatures": "F" }))
}

fn open(invoker: &Invoker, handover: &Handover) -> Option<Redacted> {
    assert_eq!(invoker.id.as_str(), "INV");
    let sealed = handover.secret.as_ref()?.as_str();
    (sealed == "a sealed secret").then(|| Redacted::from("the secret"))
}

fn again(
    details: ApiInvokerEnrolmentDetails,
    credential: &Credential,
    invoker: &Invoker,
    now: &DateTime,
) -> Result<ApiInvokerEnrolmentDetails, Refusal> {
    let invokers = [crate::fixtures::invoker("OTHER"), invoker.clone()];
    repetition::again(
        details,
        credential,
        false,
        invokers.iter(),
        [].iter(),
        &open,
        now,
    )
}

/// P-08: who lost the answer gets it again for the same credential, name and key: id, certificate and secret.
#[test]
fn a_lost_answer_is_given_again() {
    let (invoker, answer) = onboarded(attempt("a-1"), &rotation_terms()).unwrap();
    let credential = credential(ApiReach::default());
    let repeated = again(attempt("a-1"), &credential, &invoker, &now()).unwrap();
    assert_eq!(serde_json::to_value(repeated).unwrap(), answer);
    assert_eq!(
        answer["onboardingInformation"]["onboardingSecret"],
        "the secret"
    );
    assert_eq!(answer[MEMBER], json!({ "features": ["renewal"] }));
    let last = DateTime(invoker.certificate.not_after.0 - Duration::nanoseconds(1));
    assert!(again(attempt("a-1"), &credential, &invoker, &last).is_ok());
}

/// TS 33.122 clause 6.1, D-26: in every other case the credential was used, and that is all that is said.
#[test]
fn nobody_else_is_given_an_answer() {
    let (invoker, _) = onboarded(attempt("a-1"), &rotation_terms()).unwrap();
    let good = credential(ApiReach::default());
    let refused = |details, credential: &Credential, invoker: &Invoker, now: &DateTime| {
        again(details, credential, invoker, now).unwrap_err()
    };
    let end = invoker.certificate.not_after.clone();
    let mut other_key = attempt("a-1");
    other_key.onboarding_information.api_invoker_public_key = "another key".to_owned();
    let other_credential = Credential {
        single_use: digest(0xc1),
        ..good.clone()
    };
    let mut over = invoker.clone();
    over.expires = Some(now());
    let mut unnamed = invoker.clone();
    unnamed.renewal.handover = None;
    let mut unsealed = invoker.clone();
    if let Some(handover) = &mut unsealed.renewal.handover {
        handover.secret = Some(SealedKey::new("of another key"));
    }
    let cases = [
        ("no name", request(&[]), &good, &invoker, now()),
        ("another name", attempt("a-2"), &good, &invoker, now()),
        ("another key", other_key, &good, &invoker, now()),
        (
            "another credential",
            attempt("a-1"),
            &other_credential,
            &invoker,
            now(),
        ),
        (
            "the certificate is over",
            attempt("a-1"),
            &good,
            &invoker,
            end,
        ),
        ("the enrolment is over", attempt("a-1"), &good, &over, now()),
        ("it was used", attempt("a-1"), &good, &unnamed, now()),
        (
            "the secret does not open",
            attempt("a-1"),
            &good,
            &unsealed,
            now(),
        ),
    ];
    for (case, details, credential, invoker, now) in cases {
        let refusal = refused(details, credential, invoker, &now);
        assert_eq!(refusal, Refusal::CredentialUsed, "{case}");
    }
    // An onboarding that named no attempt can never be answered again, whoever asks.
    let (plain, _) = onboarded(request(&[]), &rotation_terms()).unwrap();
    assert_eq!(plain.renewal.handover, None);
    assert_eq!(
        refused(attempt("a-1"), &good, &plain, &now()),
        Refusal::CredentialUsed
    );
}

//! Updates that ask for more, where the operator has a say (TS 29.222 clause 5.5.2.5.2).

use super::*;

const LIFE: Duration = Duration::days(7);

fn queue(waiting: usize) -> Queue {
    Queue {
        waiting,
        life: LIFE,
    }
}

fn list(wanted: &[&str]) -> Value {
    let wanted: Vec<Value> = wanted
        .iter()
        .map(|name| json!({ "apiName": name }))
        .collect();
    json!({ "apiList": { "serviceAPIDescriptions": wanted } })
}

/// An invoker whose onboarding the operator approved: it reaches one of two APIs that its credential allows.
fn approved() -> Invoker {
    let mut inv = held();
    inv.reach = names(&["weather"]);
    inv.allowance = Some(names(&["weather", "traffic"]));
    inv.approval = true;
    inv
}

fn postponed(scene: &Scene<'_>, inv: &Invoker, wish: &Wish) -> Result<Changes, Refusal> {
    let plan = scene.plan(inv, wish).map_err(|denial| denial.refusal)?;
    assert!(plan.waits());
    plan.postpone(queue(0), &scene.now)
}

/// More than before waits, and nothing of the request is carried out meanwhile; what is no more does not wait.
#[test]
fn what_asks_for_more_waits() {
    let inv = approved();
    let scene = Scene::default();
    let more = list(&["weather", "traffic"]);
    for wish in [
        details(more.clone()),
        patch(more.clone()),
        details(json!({})),
    ] {
        let changes = postponed(&scene, &inv, &wish).unwrap();
        assert_eq!(written::<Invoker>(&changes), []);
        let (expect, held) = written::<PendingEnrolment>(&changes).remove(0);
        assert_eq!(expect, Expect::Absent);
        assert_eq!(
            (held.id.as_str(), held.expires),
            ("INV", DateTime(now().0 + LIFE))
        );
    }
    for less in [
        details(list(&["weather"])),
        patch(list(&["weather"])),
        patch(json!({ "apiInvokerInformation": "x" })),
    ] {
        assert!(!scene.plan(&inv, &less).unwrap().waits());
    }
    // Who was onboarded without the operator is asked about where the operator is asked about everyone.
    let free = Invoker {
        approval: false,
        ..approved()
    };
    assert!(!scene.plan(&free, &patch(more.clone())).unwrap().waits());
    let always = Scene {
        approval: Approval::Always,
        ..Scene::default()
    };
    assert!(always.plan(&free, &patch(more)).unwrap().waits());
}

/// A renewal does not wait, so the two are asked for apart; secrets are not kept.
#[test]
fn renewals_do_not_wait() {
    let mut inv = approved();
    inv.renewal.agreed = true;
    let mut both = list(&["weather", "traffic"]);
    both["onboardingInformation"] = json!({
        "apiInvokerPublicKey": "request 2",
        MEMBER: { "renewal": "r-1" },
    });
    let refused = Scene::default().plan(&inv, &patch(both)).unwrap_err();
    assert!(matches!(
        refused.refusal,
        Refusal::Malformed { pointer, .. } if pointer == "/apiList"
    ));

    let mut inv = approved();
    inv.onboard_secret = Some(Digest::of(b"the secret"));
    let mut with_secret = list(&["weather", "traffic"]);
    with_secret["onboardingInformation"] = json!({
        "apiInvokerPublicKey": "key of the invoker",
        "onboardingSecret": "the secret",
    });
    let changes = postponed(&Scene::default(), &inv, &details(with_secret)).unwrap();
    let (_, held) = written::<PendingEnrolment>(&changes).remove(0);
    assert!(!serde_json::to_string(&held).unwrap().contains("the secret"));
}

/// The same again changes nothing, another takes its place, and what was rejected stays so until it is forgotten.
#[test]
fn one_update_waits_at_a_time() {
    let inv = approved();
    let wish = patch(list(&["weather", "traffic"]));
    let changes = postponed(&Scene::default(), &inv, &wish).unwrap();
    let (_, mut waiting) = written::<PendingEnrolment>(&changes).remove(0);
    let with = |pending: &PendingEnrolment| Scene {
        pending: Some(versioned(pending.clone())),
        ..Scene::default()
    };
    assert_eq!(
        postponed(&with(&waiting), &inv, &wish).unwrap(),
        Changes::new()
    );
    let other = details(list(&["weather", "traffic"]));
    let changes = postponed(&with(&waiting), &inv, &other).unwrap();
    let (expect, _) = written::<PendingEnrolment>(&changes).remove(0);
    assert_eq!(expect, Expect::At(REVISION));
    // A full queue has room for one that takes the place of another.
    let plan = with(&waiting).plan(&inv, &other).unwrap();
    assert!(plan.postpone(queue(pending::PENDING_MAX), &now()).is_ok());
    let plan = Scene::default().plan(&inv, &other).unwrap();
    assert_eq!(
        plan.postpone(queue(pending::PENDING_MAX), &now()),
        Err(Refusal::ApprovalsExhausted)
    );

    waiting.rejected = Some(crate::state::Rejection {
        at: now(),
        reason: None,
    });
    assert_eq!(
        postponed(&with(&waiting), &inv, &wish),
        Err(Refusal::EnrolmentRejected { reason: None })
    );
    waiting.expires = now();
    assert!(postponed(&with(&waiting), &inv, &wish).is_ok());
}

/// Approval carries out the request as it stood, by whichever operation, on the profile as it is now; a new choice of APIs withdraws
/// what waits.
#[test]
fn approval_carries_it_out() {
    let inv = approved();
    let mut more = list(&["weather", "traffic"]);
    more["apiInvokerInformation"] = json!("more");
    for (wish, keeps) in [(details(more.clone()), false), (patch(more.clone()), true)] {
        let changes = postponed(&Scene::default(), &inv, &wish).unwrap();
        let (_, held) = written::<PendingEnrolment>(&changes).remove(0);
        let waited = pending::update_of(&held).unwrap();
        let scene = Scene {
            approval: Approval::Given,
            pending: Some(versioned(held)),
            ..Scene::default()
        };
        let mut moved = inv.clone();
        moved.features = "C".into();
        moved.public_key_text = "renewed meanwhile".into();
        moved.expires = Some(DateTime(now().0 + LIFE));
        let outcome = scene.update(&moved, &waited).unwrap();
        let written = outcome.invoker().unwrap();
        assert_eq!(written.reach, names(&["weather", "traffic"]));
        assert_eq!(written.information.as_deref(), Some("more"));
        assert_eq!(written.public_key_text, "renewed meanwhile");
        assert_eq!(
            written.expires.is_some(),
            keeps,
            "a PUT takes away what it leaves out"
        );
        assert!(outcome.changes.steps.contains(&deletion(
            Kind::PendingEnrolment,
            "INV",
            Expect::At(REVISION)
        )));

        // Without approval: less than what it has is chosen, and what waited is out of date.
        let scene = Scene {
            approval: Approval::AsOnboarded,
            ..scene
        };
        let less = scene.update(&inv, &patch(list(&["weather"]))).unwrap();
        assert!(less.changes.steps.contains(&deletion(
            Kind::PendingEnrolment,
            "INV",
            Expect::At(REVISION)
        )));
        let about = patch(json!({ "apiInvokerInformation": "x" }));
        let unrelated = scene.update(&inv, &about).unwrap();
        assert!(!unrelated.changes.steps.contains(&deletion(
            Kind::PendingEnrolment,
            "INV",
            Expect::At(REVISION)
        )));
    }
}

/// TS 29.222 clause 8.4.4.2.2: an update too is granted API by API; criteria stay with the profile and count for the next list.
#[test]
fn updates_are_granted_api_by_api() {
    let apis = [
        api("A1", "weather", &[profile("AEF", &[Pki])]),
        api("A2", "traffic", &[profile("AEF", &[Oauth])]),
    ];
    let scene = Scene {
        apis: &apis,
        ..Scene::default()
    };
    let mut inv = approved();
    inv.approval = false;
    let mut asked = list(&["weather", "traffic", "maps"]);
    asked["onboardingInformation"] = json!({
        "apiInvokerPublicKey": "key of the invoker",
        "onboardingCriteria": [{ "secMethods": ["PKI"] }],
    });
    for wish in [details(asked.clone()), patch(asked.clone())] {
        let outcome = scene.update(&inv, &wish).unwrap();
        assert_eq!(
            outcome.answer["failureReasons"],
            json!([
                { "apiName": "maps", "failureCode": "AUTHORIZATION_ISSUE" },
                { "apiName": "traffic", "failureCode": "ONBOARDING_CRI_NOT_MET" },
            ])
        );
        assert_eq!(
            outcome.answer["onboardingInformation"]["onboardingCriteria"],
            json!([{ "secMethods": ["PKI"] }])
        );
        let chosen = outcome.invoker().unwrap();
        assert_eq!(chosen.reach, names(&["weather"]));
        // What is left out of a PATCH stays, and counts.
        let denied = scene.plan(&chosen, &patch(list(&["traffic"]))).unwrap_err();
        assert!(denied.failed.is_some());
        // What is left out of a PUT is taken away.
        let free = scene.update(&chosen, &details(list(&["traffic"]))).unwrap();
        let free = free.invoker().unwrap();
        assert_eq!(
            (free.reach, free.criteria),
            (names(&["traffic"]), Vec::new())
        );
    }
}

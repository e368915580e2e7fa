//! When tokens of before are dead.

use super::*;

/// TS 33.122 clause 6.3, TS 29.222 clause 5.6.2.5: tokens of before are dead once something is taken away, and only then: whoever
/// repeats a negotiation or gains by it keeps them.
#[test]
fn the_generation_grows_when_something_is_taken_away() {
    let apis = [
        api(
            "A1",
            "weather",
            &[profile_with(
                "AEF1",
                &[Pki, Oauth],
                &[("a.example", &[]), ("b.example", &[])],
            )],
        ),
        api("A2", "traffic", &[profile("AEF2", &[Oauth])]),
    ];
    let of = |mut entry: Value, api: &str| {
        entry["apiId"] = json!(api);
        entry
    };
    let one = || at("AEF1", &[Oauth]);
    let two = || at("AEF2", &[Oauth]);
    let (a, b) = (|| on("a.example", &[Oauth]), || on("b.example", &[Oauth]));
    let cases = [
        ("the same", vec![one(), two()], vec![one(), two()], false),
        (
            "another order",
            vec![one(), two()],
            vec![two(), one()],
            false,
        ),
        (
            "more preferences, same method",
            vec![two()],
            vec![at("AEF2", &[Psk, Pki, Oauth])],
            false,
        ),
        ("one more AEF", vec![one()], vec![one(), two()], false),
        (
            "a method where there was none",
            vec![one(), at("AEF2", &[Pki])],
            vec![one(), two()],
            false,
        ),
        (
            "no more asked where there was none",
            vec![one(), at("AEF2", &[Pki])],
            vec![one()],
            false,
        ),
        ("one AEF less", vec![one(), two()], vec![one()], true),
        ("another AEF", vec![one()], vec![two()], true),
        (
            "another method",
            vec![one()],
            vec![at("AEF1", &[Pki])],
            true,
        ),
        ("no method", vec![two()], vec![at("AEF2", &[Pki])], true),
        (
            "one API instead of all",
            vec![one()],
            vec![of(one(), "A1")],
            true,
        ),
        (
            "all APIs instead of one",
            vec![of(one(), "A1")],
            vec![one()],
            true,
        ),
        (
            "the same API",
            vec![of(one(), "A1")],
            vec![of(one(), "A1")],
            false,
        ),
        ("the same interfaces", vec![a(), b()], vec![b(), a()], false),
        ("one interface more", vec![a()], vec![a(), b()], false),
        ("one interface less", vec![a(), b()], vec![a()], true),
        ("another interface", vec![a()], vec![b()], true),
    ];
    for (case, before, after, grows) in cases {
        let (mut context, _) = negotiated(per_api(&before), None, &apis).unwrap();
        assert_eq!(context.generation, 1, "{case}");
        for generation in [1, 6, u64::MAX] {
            context.generation = generation;
            let held = versioned(context.clone());
            let (after, _) = negotiated(per_api(&after), Some(&held), &apis).unwrap();
            let expected = generation.saturating_add(u64::from(grows));
            assert_eq!(after.generation, expected, "{case}");
        }
    }
}

use super::*;

/// AEFs with the names of their APIs.
type Grants = &'static [(&'static str, &'static [&'static str])];

fn grants(scope: &Scope) -> Vec<(&str, Vec<&str>)> {
    scope
        .grants
        .iter()
        .map(|(aef, names)| (aef.as_str(), names.iter().map(String::as_str).collect()))
        .collect()
}

#[test]
fn reads_what_the_standards_and_clients_write() {
    let cases: [(&str, Grants, &str); 7] = [
        (
            "3gpp#a:x,y;b:x",
            &[("a", &["x", "y"]), ("b", &["x"])],
            "3gpp#a:x,y;b:x",
        ),
        (
            "a:x,y; b:x",
            &[("a", &["x", "y"]), ("b", &["x"])],
            "3gpp#a:x,y;b:x",
        ),
        // One group per API, as the OpenCAPIF client writes it.
        (
            "3gpp#a:x;a:y;b:z;a:x",
            &[("a", &["x", "y"]), ("b", &["z"])],
            "3gpp#a:x,y;b:z",
        ),
        ("3gpp#a:x,x", &[("a", &["x"])], "3gpp#a:x"),
        (
            "3gpp#a:/nef/v1/:x y",
            &[("a", &["/nef/v1/:x y"])],
            "3gpp#a:/nef/v1/:x y",
        ),
        (
            "3gpp#a:x openid",
            &[("a", &["x openid"])],
            "3gpp#a:x openid",
        ),
        ("3gpp#a:ü", &[("a", &["ü"])], "3gpp#a:ü"),
    ];
    for (text, expected, printed) in cases {
        let scope: Scope = text.parse().unwrap();
        let expected: Vec<(&str, Vec<&str>)> = expected
            .iter()
            .map(|(aef, names)| (*aef, names.to_vec()))
            .collect();
        assert_eq!(grants(&scope), expected, "{text}");
        assert_eq!(scope.to_string(), printed);
        assert_eq!(printed.parse(), Ok(scope));
    }
}

#[test]
fn refuses_what_is_no_scope() {
    for (text, error) in [
        ("", ScopeError::EmptyPart(1)),
        ("3gpp#", ScopeError::EmptyPart(1)),
        ("3gpp#a", ScopeError::NoColon(1)),
        ("openid", ScopeError::NoColon(1)),
        ("3gpp#a:", ScopeError::EmptyPart(1)),
        ("3gpp#:x", ScopeError::EmptyPart(1)),
        ("3gpp#a:x,", ScopeError::EmptyPart(1)),
        ("3gpp#a:x,,y", ScopeError::EmptyPart(1)),
        ("3gpp#a:x;", ScopeError::EmptyPart(2)),
        ("3gpp#a:x; ;b:y", ScopeError::EmptyPart(2)),
        ("3gpp#a: ", ScopeError::EmptyPart(1)),
        ("3gpp#a:x\n", ScopeError::ControlCharacter),
        ("3gpp#a:x\0", ScopeError::ControlCharacter),
    ] {
        assert_eq!(text.parse::<Scope>(), Err(error), "{text:?}");
    }
    let long = format!("3gpp#a:{}", "x".repeat(SCOPE_BYTES_MAX));
    assert_eq!(long.parse::<Scope>(), Err(ScopeError::TooLong));
}

#[test]
fn contains_compares_whole_names() {
    let scope: Scope = "3gpp#a:x,y;b:z".parse().unwrap();
    let opens = |aef: &str, name: &str| scope.contains(&AefId::from(aef), name);
    assert!(opens("a", "x") && opens("a", "y") && opens("b", "z"));
    assert!(!opens("a", "z") && !opens("b", "x") && !opens("a", "x,y") && !opens("A", "x"));
}

#[test]
fn a_group_without_apis_is_not_printed() {
    let scope = Scope {
        grants: vec![
            (AefId::from("a"), Vec::new()),
            (AefId::from("b"), vec!["x".to_owned()]),
        ],
    };
    assert_eq!(scope.to_string(), "3gpp#b:x");
    assert_eq!(Scope::default().to_string(), "");
}

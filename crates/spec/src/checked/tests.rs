use super::*;

#[test]
fn a_callback_is_absolute_with_an_authority_and_nothing_else() {
    for uri in [
        "https://invoker.example/notify",
        "https://invoker.example",
        "http://192.0.2.1:8080/a/b",
        "https://[2001:db8::1]:443/x",
        "https://[2001:db8::1]",
        "https://host:/x",
        "HTTPS://Host.Example/%20",
    ] {
        assert_eq!(callback_mistake(uri), None, "{uri}");
    }
    for uri in [
        "",
        "notify",
        "/notify",
        "//invoker.example/notify",
        "https:invoker.example",
        "https:/invoker.example",
        "https://",
        "https:///notify",
        "https://:443/notify",
        "https://invoker.example/notify?x=1",
        "https://invoker.example?x=1",
        "https://invoker.example/notify#x",
        "https://invoker.example/?",
        "https://user@invoker.example/notify",
        "https://user:pass@invoker.example/notify",
        "https://invoker.example:65536/",
        "https://invoker.example:+443/",
        "https://invoker.example:443:443/",
        "https://[2001:db8::1/",
        "https://[::1]x/",
        "https://2001:db8::1/",
        "https://a b/",
        "https://a\\b/",
        "https://a/\n",
        "https://ä/",
        "1ttps://a/",
        "://a/",
        "mailto:a@b",
    ] {
        assert!(callback_mistake(uri).is_some(), "{uri}");
    }
    let violation = callback("notificationDestination", &Uri::from("x")).unwrap_err();
    assert_eq!(violation.pointer, "/notificationDestination");
}

#[test]
fn a_text_is_bounded() {
    assert!(bounded("x", &"a".repeat(TEXT_BYTES_MAX)).is_ok());
    let violation = bounded("x", &"a".repeat(TEXT_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(violation.pointer, "/x");
}

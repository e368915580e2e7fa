use super::*;

fn targets(texts: &[&str]) -> Vec<Target> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn section(allow: &[&str]) -> CallbacksSection {
    CallbacksSection {
        allow: targets(allow),
        ..CallbacksSection::default()
    }
}

impl CallbacksSection {
    fn allows(&self, destination: &str) -> bool {
        Place::of(destination).is_some_and(|place| self.lets(&place))
    }
}

#[test]
fn nothing_is_allowed_until_it_is_listed() {
    let nowhere = CallbacksSection::default();
    for destination in ["https://example.com/", "https://8.8.8.8/", "https://[::1]/"] {
        assert!(!nowhere.allows(destination), "{destination}");
    }
    assert!(!nowhere.dials("127.0.0.1:443".parse().unwrap()));
}

#[test]
fn destinations_are_judged_by_scheme_host_and_port() {
    let section = section(&[
        "Hooks.example.com:443",
        "*.example.org:8443",
        "192.0.2.1:443",
        "[2001:db8::1]:443",
    ]);
    for destination in [
        "https://hooks.example.com",
        "https://hooks.example.com/x/y",
        "https://HOOKS.example.COM:443/",
        "https://a.example.org:8443/",
        "https://a.b.example.org:8443/",
        "https://192.0.2.1/",
        "https://[2001:db8::1]/",
        "https://[2001:DB8:0::1]:443/",
    ] {
        assert!(section.allows(destination), "{destination}");
    }
    for destination in [
        "",
        "hooks.example.com",
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com./",
        "https://hooks.example.com.evil.example/",
        "https://xhooks.example.com/",
        "https://example.org:8443/",
        "https://xexample.org:8443/",
        "https://a.example.org/",
        "https://hooks.example.com@evil.example/",
        "https://evil.example@hooks.example.com/",
        "https://192.0.2.2/",
        "https://0xc0.0.2.1/",
        "https://3221225985/",
        "https://192.0.513/",
        "https://[::ffff:192.0.2.2]/",
        "https://[fe80::1%25eth0]/",
        "https://a.example.org:8443.evil.example/",
        "https://a.example.org:08443x/",
        "https://*.example.org:8443/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:/",
    ] {
        assert!(!section.allows(destination), "{destination}");
    }
    assert!(
        section.allows("https://[::ffff:192.0.2.1]/"),
        "the same address"
    );
}

#[test]
fn addresses_that_are_not_public_must_be_listed_themselves() {
    let section = section(&[
        "localhost:443",
        "*.internal:443",
        "10.0.0.5:443",
        "[::1]:8443",
    ]);
    for address in [
        "8.8.8.8:443",
        "[2606:4700::1111]:443",
        "10.0.0.5:443",
        "[::1]:8443",
    ] {
        assert!(section.dials(address.parse().unwrap()), "{address}");
    }
    for address in [
        "127.0.0.1:443",
        "[::1]:443",
        "10.0.0.5:80",
        "10.0.0.6:443",
        "172.16.0.1:443",
        "192.168.1.1:443",
        "169.254.169.254:443",
        "100.64.0.1:443",
        "0.0.0.0:443",
        "192.0.0.8:443",
        "198.18.0.1:443",
        "224.0.0.1:443",
        "240.0.0.1:443",
        "255.255.255.255:443",
        "[::]:443",
        "[::ffff:127.0.0.1]:443",
        "[::ffff:10.0.0.6]:443",
        "[::7f00:1]:443",
        "[64:ff9b::7f00:1]:443",
        "[fc00::1]:443",
        "[fe80::1]:443",
        "[fec0::1]:443",
        "[ff02::1]:443",
        "[2001::1]:443",
        "[2001:db8::1]:443",
        "[2002:7f00:1::]:443",
    ] {
        assert!(!section.dials(address.parse().unwrap()), "{address}");
    }
    assert!(
        section.dials("[::ffff:10.0.0.5]:443".parse().unwrap()),
        "the same address"
    );
}

/// P-34: what a destination could be read as by somebody else is no destination at all.
#[test]
fn no_spelling_leads_elsewhere() {
    let section = section(&[
        "hooks.example.com:443",
        "192.0.2.1:443",
        "[2001:db8::1]:443",
    ]);
    let forms = include_str!("../callbacks_forms.txt");
    let mut count = 0;
    // The same without TLS, in a list of its own.
    let insecure = CallbacksSection {
        insecure_http: section.allow.clone(),
        ..CallbacksSection::default()
    };
    let plain = |form: &str| form.replacen("https:", "http:", 1);
    for form in forms.lines().filter(|line| !line.starts_with('#')) {
        assert!(!section.allows(form), "{form}");
        assert!(!insecure.allows(form), "{form}");
        assert!(!insecure.allows(&plain(form)), "{}", plain(form));
        count += 1;
    }
    assert!(count >= 80, "{count}");
    for good in [
        "https://hooks.example.com/x",
        "https://HOOKS.example.com:443/",
        "https://192.0.2.1",
        "https://[2001:DB8:0::1]/",
    ] {
        assert!(section.allows(good), "{good}");
        assert!(!insecure.allows(good), "{good}");
        assert!(!section.allows(&plain(good)), "{good}");
    }
    assert!(insecure.allows("http://HOOKS.example.com:443/x"));
    assert!(insecure.allows("http://192.0.2.1:443"));
}

#[test]
fn what_goes_without_tls_stands_in_a_list_of_its_own() {
    let section = CallbacksSection {
        allow: targets(&["127.0.0.1:8443", "localhost:8443"]),
        insecure_http: targets(&["hooks.example.com:80", "10.0.0.5:8080", "localhost:8080"]),
        ..CallbacksSection::default()
    };
    for (destination, allowed) in [
        ("http://hooks.example.com/x", true),
        ("http://hooks.example.com:80/x", true),
        ("http://hooks.example.com:443/x", false),
        ("https://hooks.example.com:80/x", false),
        ("http://10.0.0.5:8080/", true),
        ("http://10.0.0.5/", false),
        ("http://127.0.0.1:8443/", false),
        ("https://127.0.0.1:8443/", true),
        ("ws://10.0.0.5:8080/", false),
    ] {
        assert_eq!(section.allows(destination), allowed, "{destination}");
    }
    for (address, plain, secure) in [
        ("8.8.8.8:80", true, true),
        ("10.0.0.5:8080", true, false),
        ("127.0.0.1:8443", false, true),
        ("127.0.0.1:8080", false, false),
        ("169.254.169.254:80", false, false),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(section.dials_insecurely(address), plain, "{address}");
        assert_eq!(section.dials(address), secure, "{address}");
    }
    assert!(!section.dials_own("gateway.example", "127.0.0.1:8080".parse().unwrap()));
}

#[test]
fn places_are_written_as_the_operator_lists_them() {
    for (destination, text) in [
        ("http://Hooks.example.com/x", "hooks.example.com:80"),
        ("https://hooks.example.com/x", "hooks.example.com:443"),
        ("http://192.0.2.1:8080", "192.0.2.1:8080"),
        ("https://[2001:DB8:0::1]/", "[2001:db8::1]:443"),
    ] {
        let place = Place::of(destination).unwrap();
        assert_eq!(place.to_string(), text);
        let target: Target = text.parse().unwrap();
        assert_eq!(target.to_string(), text);
    }
    let below: Target = "*.Example.org:80".parse().unwrap();
    assert_eq!(below.to_string(), "*.example.org:80");
}

#[test]
fn hosts_of_providers_may_be_private_and_this_machine_if_they_say_so() {
    let section = section(&["127.0.1.1:443"]);
    for (host, address, dials) in [
        ("gateway.example", "8.8.8.8:443", true),
        ("gateway.example", "10.1.2.3:443", true),
        ("gateway.example", "192.168.1.1:8443", true),
        ("gateway.example", "100.64.0.1:443", true),
        ("gateway.example", "[fd00::1]:443", true),
        ("gateway.example", "127.0.0.1:443", false),
        ("gateway.example", "127.0.1.1:443", true),
        ("gateway.example", "127.0.1.1:444", false),
        ("gateway.example", "[::1]:443", false),
        ("gateway.example", "[::ffff:127.0.0.1]:443", false),
        ("gateway.example", "169.254.169.254:80", false),
        ("gateway.example", "0.0.0.0:443", false),
        ("gateway.example", "224.0.0.1:443", false),
        ("gateway.example", "[fe80::1]:443", false),
        ("gateway.example", "[64:ff9b::7f00:1]:443", false),
        ("localhost", "127.0.0.1:8443", true),
        ("127.0.0.1", "127.0.0.1:8443", true),
        ("::1", "[::1]:8443", true),
        ("169.254.169.254", "169.254.169.254:80", false),
        ("0.0.0.0", "0.0.0.0:80", false),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(section.dials_own(host, address), dials, "{host} {address}");
    }
}

#[test]
fn places_are_at_hosts_as_certificates_name_them() {
    for (destination, host, is_at) in [
        ("https://Gateway.example:8443/x", "gateway.example", true),
        ("https://gateway.example/", "GATEWAY.example", true),
        ("https://gateway.example.evil/", "gateway.example", false),
        ("https://a.gateway.example/", "gateway.example", false),
        ("https://127.0.0.1:8443/", "127.0.0.1", true),
        ("https://127.0.0.1:8443/", "localhost", false),
        ("https://[::1]:8443/", "::1", true),
        ("https://[::ffff:127.0.0.1]/", "127.0.0.1", true),
    ] {
        let place = Place::of(destination).unwrap();
        assert_eq!(place.is_at(host), is_at, "{destination} {host}");
    }
}

#[test]
fn targets_have_a_host_and_a_port() {
    for text in [
        "",
        "example.com",
        "example.com:",
        "example.com:0",
        "example.com:65536",
        ":443",
        "*:443",
        "*.:443",
        "a.*.example.com:443",
        "https://example.com:443",
        "example.com:443/x",
        "user@example.com:443",
        "::1:443",
        "[::1:443",
        "[example.com]:443",
        "127.1:443",
        "a..b:443",
    ] {
        assert_eq!(text.parse::<Target>(), Err(NotATarget), "{text}");
    }
}

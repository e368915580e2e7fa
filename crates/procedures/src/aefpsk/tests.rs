use capif_spec::common::Port;

use super::*;

const NEF: &str = "https://aef1.example.com:443/nef";
const V6: &str = "https://[2001:db8::1]:8443";

fn octets(first: u8, count: u8) -> Vec<u8> {
    (first..).take(count.into()).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn derived(profile: Profile, key: &[u8], session_id: &[u8], p0: &str) -> String {
    let facts = Facts {
        profile,
        key,
        session_id,
    };
    hex(&*derive(&facts, p0).unwrap())
}

/// The vectors on which every implementation of these profiles agrees.
#[test]
fn vectors() {
    let (master, server_id) = (octets(0, 48), octets(0x80, 32));
    assert_eq!(
        derived(Profile::A1Tls12, &master, &server_id, NEF),
        "a6e0422ca6090b4adfe5fddc74fe6beece61b4a76fc39240f225c2bd6cc1398a"
    );
    // What a peer that does not look would compute; nobody here uses it.
    assert_eq!(
        hex(&*kdf(&master, NEF.as_bytes(), &[]).unwrap()),
        "715b8463ed585769a9de1208429dd231f27e039e5036dcddd0bd5f65ea9959e2"
    );
    let (exported_key, exported_id) = (octets(0x40, 32), octets(0xc0, 32));
    assert_eq!(
        derived(Profile::A1Exporter, &exported_key, &exported_id, NEF),
        "66b23011681c3df3e81f5b3601a6fc6683af7ed20077613e3f4c578b296b66aa"
    );
    assert_eq!(
        derived(Profile::A1Exporter, &exported_key, &exported_id, V6),
        "60a56d40477d8b3c5cc4b707529e57bac5eca9f0266a24228ccd56c478730a0d"
    );
}

/// Every single bit of each part counts, and so does where one part ends and the next begins.
#[test]
fn every_bit_of_every_part_changes_the_key() {
    let parts = [octets(0, 48), NEF.as_bytes().to_vec(), octets(0x80, 32)];
    let mut seen = std::collections::BTreeSet::new();
    assert!(seen.insert(hex(&*kdf(&parts[0], &parts[1], &parts[2]).unwrap())));
    for part in 0..parts.len() {
        for bit in 0..parts[part].len() * 8 {
            let mut changed = parts.clone();
            changed[part][bit / 8] ^= 1 << (bit % 8);
            let key = hex(&*kdf(&changed[0], &changed[1], &changed[2]).unwrap());
            assert!(seen.insert(key), "bit {bit} of part {part}");
        }
    }
    for moved in 1..=4 {
        let mut p0 = parts[1].clone();
        let mut p1 = p0.split_off(p0.len() - moved);
        p1.extend_from_slice(&parts[2]);
        assert!(seen.insert(hex(&*kdf(&parts[0], &p0, &p1).unwrap())));
    }
}

#[test]
fn facts_that_do_not_fit_the_profile_are_refused() {
    use DerivationError::{InterfaceInformation, Key, SessionId};
    use Profile::{A1Exporter, A1Tls12};
    let long = "x".repeat(65_536);
    let cases: &[(Profile, u8, u8, &str, DerivationError)] = &[
        (A1Tls12, 48, 0, NEF, SessionId),
        (A1Tls12, 48, 33, NEF, SessionId),
        (A1Tls12, 47, 32, NEF, Key),
        (A1Tls12, 0, 32, NEF, Key),
        (A1Exporter, 32, 0, NEF, SessionId),
        (A1Exporter, 32, 31, NEF, SessionId),
        (A1Exporter, 48, 32, NEF, Key),
        (A1Exporter, 0, 32, NEF, Key),
        (A1Exporter, 32, 32, "", InterfaceInformation),
        (
            A1Exporter,
            32,
            32,
            "https://münchen.example:443",
            InterfaceInformation,
        ),
        (A1Exporter, 32, 32, &long, InterfaceInformation),
    ];
    for (profile, key, id, p0, expected) in cases {
        let (key, id) = (octets(0, *key), octets(0, *id));
        let facts = Facts {
            profile: *profile,
            key: &key,
            session_id: &id,
        };
        assert_eq!(derive(&facts, p0).err(), Some(*expected), "{facts:?}");
    }
}

#[test]
fn facts_do_not_print_themselves() {
    let facts = Facts {
        profile: Profile::A1Tls12,
        key: &[7; 48],
        session_id: &[9; 32],
    };
    assert_eq!(format!("{facts:?}"), "Facts { profile: A1Tls12, .. }");
}

fn interface(
    field: &str,
    address: &str,
    port: Option<u16>,
    prefix: Option<&str>,
) -> InterfaceDescription {
    let mut interface = InterfaceDescription {
        port: port.map(Port),
        api_prefix: prefix.map(str::to_owned),
        ..InterfaceDescription::default()
    };
    let place = match field {
        "fqdn" => &mut interface.fqdn,
        "ipv4" => &mut interface.ipv4_addr,
        _ => &mut interface.ipv6_addr,
    };
    *place = Some(address.to_owned());
    interface
}

#[test]
fn an_interface_has_one_spelling() {
    let cases = [
        ("fqdn", "AEF1.Example.com", None, Some("/nef"), NEF),
        ("fqdn", "aef1.example.com", Some(443), Some("/nef/"), NEF),
        (
            "fqdn",
            "localhost",
            Some(8080),
            Some("/"),
            "https://localhost:8080",
        ),
        (
            "fqdn",
            "xn--mnchen-3ya.example",
            None,
            None,
            "https://xn--mnchen-3ya.example:443",
        ),
        (
            "ipv4",
            "192.0.2.7",
            Some(9443),
            Some("/a/B/"),
            "https://192.0.2.7:9443/a/B",
        ),
        ("ipv6", "2001:0DB8:0:0:0:0:0:1", Some(8443), None, V6),
        ("ipv6", "2001:db8::1", Some(8443), Some("/"), V6),
        (
            "ipv6",
            "::FFFF:192.0.2.7",
            None,
            None,
            "https://[::ffff:192.0.2.7]:443",
        ),
    ];
    for (field, address, port, prefix, expected) in cases {
        let found = interface_information(&interface(field, address, port, prefix));
        assert_eq!(found.as_deref(), Some(expected));
    }
}

/// What two sides could spell differently has no interface information, so that no key is derived for it.
#[test]
fn an_interface_of_two_readings_has_none() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long_name = format!("{}a", "a.".repeat(127));
    let long_prefix = format!("/{}", "a".repeat(65_530));
    let cases = [
        ("fqdn", "", None, None),
        ("fqdn", "münchen.example", None, None),
        ("fqdn", "aef.example.", None, None),
        ("fqdn", "aef..example", None, None),
        ("fqdn", "-aef.example", None, None),
        ("fqdn", "aef-.example", None, None),
        ("fqdn", "aef_1.example", None, None),
        ("fqdn", "aef.example/x", None, None),
        ("fqdn", "aef.example:80", None, None),
        ("fqdn", "user@aef.example", None, None),
        ("fqdn", "192.0.2.7", None, None),
        ("fqdn", "127.1", None, None),
        ("fqdn", &long_label, None, None),
        ("fqdn", &long_name, None, None),
        ("ipv4", "aef.example", None, None),
        ("ipv4", "192.0.2.007", None, None),
        ("ipv4", "192.0.2", None, None),
        ("ipv6", "[2001:db8::1]", None, None),
        ("ipv6", "fe80::1%eth0", None, None),
        ("ipv6", "192.0.2.7", None, None),
        ("fqdn", "aef.example", Some(0), None),
        ("fqdn", "aef.example", None, Some("")),
        ("fqdn", "aef.example", None, Some("nef")),
        ("fqdn", "aef.example", None, Some("//")),
        ("fqdn", "aef.example", None, Some("/nef//")),
        ("fqdn", "aef.example", None, Some("/a//b")),
        ("fqdn", "aef.example", None, Some("/a/../b")),
        ("fqdn", "aef.example", None, Some("/a/.")),
        ("fqdn", "aef.example", None, Some("/a%2fb")),
        ("fqdn", "aef.example", None, Some("/a?b")),
        ("fqdn", "aef.example", None, Some("/a#b")),
        ("fqdn", "aef.example", None, Some("/ü")),
        ("fqdn", "aef.example", None, Some(long_prefix.as_str())),
    ];
    for (field, address, port, prefix) in cases {
        let found = interface_information(&interface(field, address, port, prefix));
        assert_eq!(found, None, "{field} {address} {port:?} {prefix:?}");
    }
    let mut two = interface("fqdn", "aef.example", None, None);
    two.ipv4_addr = Some("192.0.2.7".to_owned());
    assert_eq!(interface_information(&two), None);
    assert_eq!(
        interface_information(&InterfaceDescription::default()),
        None
    );
}

/// Methods and members of others do not belong to an interface's information: changing them changes no key.
#[test]
fn only_the_address_counts() {
    let plain = interface("fqdn", "aef.example", Some(8443), None);
    let mut other = plain.clone();
    other.security_methods = Some(vec![capif_spec::publish_service::SecurityMethod::Psk]);
    other.extra.insert("vendor".to_owned(), true.into());
    assert_eq!(interface_information(&plain), interface_information(&other));
}

#[test]
fn identities_say_whose_they_are() {
    for (invoker, number) in [("INV0af3", 1), ("INV0af3", u64::MAX), ("a.b", 0)] {
        let text = identity(&invoker.into(), number);
        assert_eq!(invoker_of(&text), Some((invoker.into(), number)));
    }
    assert_eq!(identity(&"INV1".into(), 7), "3GPP-CAPIF.INV1.7");
    let long = format!("3GPP-CAPIF.{}.1", "a".repeat(128));
    for text in [
        "",
        "3GPP-CAPIF",
        "3GPP-CAPIF.",
        "3GPP-CAPIF.7",
        "3GPP-CAPIF..7",
        "3GPP-CAPIF.INV1.",
        "3GPP-CAPIF.INV1.07",
        "3GPP-CAPIF.INV1.+7",
        "3GPP-CAPIF.INV1.-7",
        "3GPP-CAPIF.INV1. 7",
        "3GPP-CAPIF.INV1.7 ",
        "3GPP-CAPIF.INV1.7x",
        "3GPP-CAPIF.INV\u{0}1.7",
        "3GPP-CAPIF.INV 1.7",
        "3GPP-CAPIF.INV1.18446744073709551616",
        "3gpp-capif.INV1.7",
        " 3GPP-CAPIF.INV1.7",
        "3GPP-AKMA.INV1.7",
        &long,
    ] {
        assert_eq!(invoker_of(text), None, "{text:?}");
    }
}

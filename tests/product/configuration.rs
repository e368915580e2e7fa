//! Configuration: one commented file, mistakes explained, everything overridable by the environment, loopback by default.

use capif_ccf::config::{Config, FILE_NAME, TEMPLATE};

use crate::support::process::Machine;

fn shown(config: &Config) -> String {
    format!("{config:#?}")
}

/// The lines of keys in the template, with their sections; those of an example are none.
fn keys() -> Vec<(String, String)> {
    let mut section = String::new();
    let mut example = false;
    let mut keys = Vec::new();
    for line in TEMPLATE.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        example = (example || line.starts_with("# [")) && !line.is_empty();
        let Some(line) = line.strip_prefix("# ") else {
            continue;
        };
        let Some((name, _)) = line.split_once(" = ") else {
            continue;
        };
        let is_key = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_key && !example {
            keys.push((section.clone(), line.to_owned()));
        }
    }
    keys
}

/// Every key stands in the template with its default: uncommented one by one, nothing changes.
#[test]
fn the_template_shows_the_defaults() {
    let defaults = shown(&Config::parse("").unwrap());
    assert_eq!(shown(&Config::parse(TEMPLATE).unwrap()), defaults);
    let keys = keys();
    let mut all = String::new();
    let mut last = String::new();
    for (section, line) in &keys {
        let config = Config::parse(&format!("{section}\n{line}\n")).unwrap();
        assert_eq!(shown(&config), defaults, "{line}");
        if *section != last {
            all.push_str(&format!("{section}\n"));
            last.clone_from(section);
        }
        all.push_str(&format!("{line}\n"));
    }
    assert_eq!(shown(&Config::parse(&all).unwrap()), defaults);
    // None is missing: each key that the defaults print is one of them, but for the tables, which are examples there.
    let printed = defaults
        .lines()
        .filter(|line| line.starts_with("        ") && !line.starts_with("         "));
    let names: Vec<&str> = printed
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, _)| name)
        .collect();
    for name in names
        .iter()
        .filter(|name| !["issuers", "apis"].contains(*name))
    {
        assert!(
            keys.iter()
                .any(|(_, line)| line.starts_with(&format!("{name} = "))),
            "{name}"
        );
    }
    assert!(names.len() >= keys.len());
}

/// APIs can have methods of their own, by whatever name; none at all is a choice.
#[test]
fn apis_have_methods_of_their_own() {
    use capif_spec::publish_service::SecurityMethod::{Oauth, Pki, Psk};
    let text = "[security]\nmethods = [\"OAUTH\"]\n\
                [security.apis.weather]\nmethods = [\"psk\", \"PKI\"]\n\
                [security.apis.\"3gpp-as.session.v1\"]\nmethods = []\n";
    let policy = Config::parse(text).unwrap().security.policy();
    assert_eq!(policy.methods, [Oauth]);
    assert_eq!(policy.by_api["weather"], [Psk, Pki]);
    assert_eq!(policy.by_api["3gpp-as.session.v1"], []);
    assert_eq!(policy.by_api.len(), 2);
    assert!(!policy.certificate_bound_tokens);
}

/// Mistakes are refused with the key and what to do, by `config check` and by `serve`.
#[tokio::test]
async fn mistakes_are_explained() {
    let machine = Machine::new();
    machine
        .capif(&["config", "check"])
        .await
        .failed(3, "capif init");
    machine.capif(&["init"]).await.done();
    machine.capif(&["config", "check"]).await.done();
    let path = machine.ccf_folder().join(FILE_NAME);
    for (text, said) in [
        ("[ccf]\nlisten_adress = \"127.0.0.1:1\"", "listen_adress"),
        ("[ccf]\nlistn = \"127.0.0.1:1\"", "listen"),
        ("[cfc]\nlisten = \"127.0.0.1:1\"", "ccf"),
        ("[log]\nlevle = \"info\"", "level"),
        ("[log]\nlevel = \"loud\"", "log.level"),
        ("[log]\nformat = \"xml\"", "log.format"),
        ("[ccf]\nlisten = \"somewhere\"", "ccf.listen"),
        ("[ccf]\nlisten = 8443", "ccf.listen"),
        (
            "[management]\nlisten = \"0.0.0.0:8480\"",
            "management.listen",
        ),
        ("[management]\nlisten = \"192.0.2.1:8480\"", "loopback"),
        ("[operator]\nlisten = \"8482\"", "operator.listen"),
        ("[security]\nmethods = [\"PSK\", \"PKI\", \"PSK\"]", "twice"),
        (
            "[security.apis.weather]\nmethods = [\"NONE\"]",
            "security.apis.weather.methods",
        ),
        (
            "[security.apis.weather]\nmethods = [\"PSK\", \"PSK\"]",
            "security.apis.weather.methods",
        ),
        ("[security.apis.weather]\nmethod = [\"PSK\"]", "methods"),
        ("[security.apis.weather]", "methods"),
        ("[security.apis]\nweather = [\"PSK\"]", "security.apis"),
        (
            "[security]\ncertificate_bound_tokens = 1",
            "security.certificate_bound_tokens",
        ),
        ("[security]\nmethods = []", "security.methods"),
        ("[security]\nmethods = [\"NONE\"]", "security.methods"),
        ("[security]\ntoken_seconds = 0", "security.token_seconds"),
        ("[security]\ntoken_seconds = -1", "security.token_seconds"),
        (
            "[certificates]\ninvoker_days = 0",
            "certificates.invoker_days",
        ),
        (
            "[certificates]\ninvoker_days = 100000",
            "certificates.invoker_days",
        ),
        (
            "[callbacks]\nallow = [\"hooks.example.com\"]",
            "host and port",
        ),
        ("[callbacks]\nallow = [\"*:443\"]", "callbacks.allow"),
        ("[callbacks]\nallowed = []", "allow"),
        ("[limits]\nbody_bytes_max = 0", "limits.body_bytes_max"),
        ("[limits]\nconnections_max = 0", "limits.connections_max"),
        (
            "[[onboarding.issuers]]\nissuer = \"a\"\naudience = \"b\"",
            "jwks",
        ),
        (
            "[[onboarding.issuers]]\nissuer = \"a\"\naudience = \"b\"\njwks_url = \"http://a/\"",
            "https",
        ),
        (
            "[[onboarding.issuers]]\nissuer = \"a\"\naudience = \"b\"\njwks_file = \"/no\"\njwks_url = \"https://a/\"",
            "jwks",
        ),
        (
            "[[onboarding.issuers]]\nissuer = \"a\"\naudience = \"b\"\njwks_file = \"/nowhere\"",
            "/nowhere",
        ),
        ("[ccf", "capif.toml"),
        ("listen = \"127.0.0.1:1\"", "listen"),
    ] {
        std::fs::write(&path, text).unwrap();
        let outcome = machine.capif_bare(&["config", "check"]).await;
        assert_eq!(outcome.code, 1, "{text}: {outcome:?}");
        assert!(outcome.stderr.contains(said), "{text}: {outcome:?}");
        assert_eq!(outcome.stdout, "");
    }
    std::fs::write(&path, "[ccf]\nlistn = \"127.0.0.1:1\"").unwrap();
    machine.capif(&["serve"]).await.failed(1, "listn");
    // What is there is not made anew.
    machine.capif(&["init"]).await.failed(7, "capif-data");
}

/// Every key can be set from the environment, which wins, and mistakes there are explained as well.
#[tokio::test]
async fn the_environment_overrides_every_key() {
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    for (section, line) in keys() {
        let (name, value) = line.split_once(" = ").unwrap();
        let section = section.trim_matches(['[', ']']);
        let variable = match section {
            "" => format!("CAPIF_{name}").to_uppercase(),
            _ => format!("CAPIF_{section}__{name}").to_uppercase(),
        };
        machine.set(&variable, value.trim_matches('"'));
        machine.capif(&["config", "check"]).await.done();
        // A list of texts cannot be mistaken for anything else.
        if !matches!(name, "address" | "names") {
            machine.set(&variable, "nonsense");
            let outcome = machine.capif(&["config", "check"]).await;
            assert_eq!(outcome.code, 1, "{variable}: {outcome:?}");
            assert!(outcome.stderr.contains(name), "{variable}: {outcome:?}");
        }
        machine.set(&variable, value.trim_matches('"'));
    }
    machine.set("CAPIF_CCF__LISTEM", "127.0.0.1:1");
    let outcome = machine.capif(&["config", "check"]).await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.stderr.to_lowercase().contains("listem"),
        "{outcome:?}"
    );
}

/// P-46: the defaults bind to loopback alone.
#[test]
fn the_defaults_listen_on_loopback() {
    let config = Config::parse("").unwrap();
    assert!(config.ccf.listen.ip().is_loopback());
    assert!(config.management.listen.ip().is_loopback());
    assert!(config.operator.listen.unwrap().ip().is_loopback());
    assert!(config.account_service.listen.ip().is_loopback());
    assert_eq!(config.account_service.insecure_plaintext_listen, None);
    assert!(capif_aef::config::LISTEN_DEFAULT.ip().is_loopback());
}

//! `capif config`

use std::path::Path;

use capif_ccf::{
    config::{Config, FILE_NAME},
    init::ID_FILE,
};
use clap::Subcommand;

use crate::{
    exit::{Exit, Failure},
    operator::{OwnFolder, not_initialised},
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether the configuration can be used, and if not, which key is wrong
    Check(OwnFolder),
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let Command::Check(OwnFolder { dir }) = &args.command;
    if !dir.join(ID_FILE).exists() && !dir.join(FILE_NAME).exists() {
        return Err(not_initialised(dir));
    }
    let config = check(dir)?;
    for doubt in doubts(&config) {
        output::note(&format!("warning: {doubt}"));
    }
    output::note(&format!("{} is fine", dir.join(FILE_NAME).display()));
    Ok(Exit::Done)
}

/// Reads the configuration as `serve` would, and looks at the files that it names.
fn check(dir: &Path) -> Result<Config, Failure> {
    let config = Config::load(dir).map_err(|error| Failure::of(Exit::Usage, &error))?;
    for issuer in &config.onboarding.issuers {
        let files = [
            ("jwks_file", &issuer.jwks_file),
            ("ca_file", &issuer.ca_file),
        ];
        for (key, path) in files {
            let Some(path) = path else { continue };
            std::fs::File::open(path).map_err(|error| {
                Failure::usage(format!(
                    "onboarding.issuers ({}): {key} {} cannot be read ({error})",
                    issuer.issuer,
                    path.display()
                ))
            })?;
        }
    }
    let files = [
        ("callbacks.ca_file", &config.callbacks.ca_file),
        ("custody.passphrase_file", &config.custody.passphrase_file),
        ("custody.pkcs11_module", &config.custody.pkcs11_module),
        ("custody.pkcs11_pin_file", &config.custody.pkcs11_pin_file),
        ("authority.hook_ca_file", &config.authority.hook_ca_file),
    ];
    for (key, path) in files {
        if !path.as_os_str().is_empty() {
            std::fs::File::open(path).map_err(|error| {
                Failure::usage(format!(
                    "{key}: {} cannot be read ({error})",
                    path.display()
                ))
            })?;
        }
    }
    Ok(config)
}

/// What is allowed but hardly meant.
pub(crate) fn doubts(config: &Config) -> Vec<String> {
    let mut doubts = Vec::new();
    if config.ccf.address.is_empty() && config.ccf.listen.ip().is_unspecified() {
        doubts.push(format!(
            "ccf.listen is {}, and enrolment codes would send others there: set ccf.address to the host and port \
             under which they reach this machine",
            config.ccf.listen
        ));
    }
    let insecure = &config.callbacks.insecure_http;
    if !insecure.is_empty() {
        let places: Vec<String> = insecure.iter().map(ToString::to_string).collect();
        doubts.push(format!(
            "INSECURE: callbacks.insecure_http has notifications to {} travel without TLS: whoever is on the way reads them, and \
             can change them, keep them or make them up",
            places.join(", ")
        ));
    }
    if config.moved.is_elsewhere() {
        let left = |key: &str, whose: &str| {
            format!(
                "moved.{key} is empty: nobody is sent on from the {whose} of this address, which is not served here any more"
            )
        };
        if config.moved.revocation.is_empty() {
            doubts.push(left("revocation", "revocation lists and OCSP"));
        }
        if config.account_service.enabled && config.moved.accounts.is_empty() {
            doubts.push(left("accounts", "account service"));
        }
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_can_reach_is_doubted() {
        let config = |text: &str| Config::parse(text).unwrap();
        assert!(doubts(&config("")).is_empty());
        assert_eq!(doubts(&config("[ccf]\nlisten = \"0.0.0.0:8443\"")).len(), 1);
        let named = config("[ccf]\nlisten = \"0.0.0.0:8443\"\naddress = \"ccf.example:8443\"");
        assert!(doubts(&named).is_empty());
    }

    #[test]
    fn what_is_left_behind_by_a_move_is_doubted() {
        let moved = "[moved]\nto = \"https://new.example\"\n";
        let of = |more: &str| doubts(&Config::parse(&format!("{moved}{more}")).unwrap());
        assert!(of("")[0].contains("moved.revocation"));
        let revocation = "revocation = \"http://new.example:8481\"\n";
        assert!(of(revocation).is_empty());
        let accounts = format!("{revocation}[account_service]\nenabled = true");
        assert!(of(&accounts)[0].contains("moved.accounts"));
        let told = format!(
            "{revocation}accounts = \"https://new.example:8084\"\n[account_service]\nenabled = true"
        );
        assert!(of(&told).is_empty());
    }

    #[test]
    fn notifications_without_tls_are_doubted() {
        let text = "[callbacks]\ninsecure_http = [\"127.0.0.1:8080\", \"*.example.org:80\"]";
        let [doubt] = doubts(&Config::parse(text).unwrap()).try_into().unwrap();
        assert!(
            doubt.contains("127.0.0.1:8080, *.example.org:80"),
            "{doubt}"
        );
        assert!(doubt.contains("without TLS"), "{doubt}");
    }

    #[test]
    fn a_missing_file_is_a_mistake() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(FILE_NAME),
            "[[onboarding.issuers]]\nissuer = \"i\"\naudience = \"a\"\njwks_file = \"/nowhere.json\"",
        )
        .unwrap();
        let failure = check(dir.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("/nowhere.json"), "{failure}");
        std::fs::write(
            dir.path().join(FILE_NAME),
            "[callbacks]\nallow = [\"a.example:443\"]\nca_file = \"/nowhere.pem\"",
        )
        .unwrap();
        let failure = check(dir.path()).unwrap_err();
        assert!(failure.to_string().contains("/nowhere.pem"), "{failure}");
    }
}

use std::{env, fs, process::Command};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::*;
use crate::config::CustodySection;

/// Where Debian and others keep the module of SoftHSM.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];

/// Names the folder of the token to a test that runs in a process of its own.
const FOLDER: &str = "CAPIF_TEST_TOKEN";

/// A token of SoftHSM.
pub(crate) struct Soft {
    pub(crate) section: CustodySection,
    pub(crate) folder: PathBuf,
}

/// Runs a test with a token of its own. SoftHSM is configured by the environment of its process, so the test, which gives its
/// module and name, runs in a process of its own; without SoftHSM it says that it did not run.
pub(crate) fn with_token(module: &str, name: &str, test: impl FnOnce(Soft)) {
    let Some(library) = MODULES.iter().find(|path| Path::new(path).exists()) else {
        println!("did not run: there is no SoftHSM here");
        return;
    };
    if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
        return test(Soft {
            section: CustodySection {
                pkcs11_module: PathBuf::from(library),
                pkcs11_token: "capif".to_owned(),
                pkcs11_pin_file: folder.join("pin"),
                ..CustodySection::default()
            },
            folder,
        });
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("tokens")).unwrap();
    let config = path.join("softhsm2.conf");
    fs::write(
        &config,
        format!("directories.tokendir = {}\n", path.join("tokens").display()),
    )
    .unwrap();
    crate::init::write(&path.join("pin"), "123456\n", 0o600).unwrap();
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "capif",
            "--pin",
            "123456",
            "--so-pin",
            "654321",
        ])
        .env("SOFTHSM2_CONF", &config)
        .output();
    let Ok(made) = made else {
        println!("did not run: there is no softhsm2-util here");
        return;
    };
    assert!(made.status.success(), "{made:?}");
    let (_crate, module) = module.split_once("::").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("{module}::{name}")])
        .env("SOFTHSM2_CONF", &config)
        .env(FOLDER, path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}

/// Signs with a key and verifies, often enough to meet numbers that are shorter or begin with a high bit.
pub(crate) fn assert_signs(key: &(impl SigningKey + Sync)) {
    for number in 0..200_u32 {
        let message = number.to_be_bytes();
        let signature = key.sign(&message).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.der_bytes())
            .verify(&message, &signature)
            .unwrap();
    }
}

fn token(soft: &Soft) -> Arc<Token> {
    let section = &soft.section;
    Arc::new(Token::new(
        &section.pkcs11_module,
        &section.pkcs11_token,
        &section.pkcs11_pin_file,
    ))
}

#[test]
fn keys_do_not_leave_the_token() {
    with_token(module_path!(), "keys_do_not_leave_the_token", |soft| {
        let token = token(&soft);
        let key = TokenKey::make(&token).unwrap();
        assert_signs(&key);
        token
            .with(|open| {
                let private = private_key(open, &key.id)?.unwrap();
                let attributes = open.session.get_attributes(
                    private,
                    &[
                        AttributeType::Sensitive,
                        AttributeType::Extractable,
                        AttributeType::NeverExtractable,
                        AttributeType::Value,
                    ],
                )?;
                assert_eq!(
                    attributes,
                    [
                        Attribute::Sensitive(true),
                        Attribute::Extractable(false),
                        Attribute::NeverExtractable(true),
                    ]
                );
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn many_sign_at_once_and_a_lost_session_is_opened_anew() {
    let name = "many_sign_at_once_and_a_lost_session_is_opened_anew";
    with_token(module_path!(), name, |soft| {
        let token = token(&soft);
        let key = TokenKey::make(&token).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_signs(&key));
            }
        });
        // Everything that the process had with the token is gone, as after it was unplugged.
        let module = loaded(&soft.section.pkcs11_module).unwrap();
        module.finalize().unwrap();
        assert_signs(&key);
        let again = TokenKey::find(&token, &key.reference()).unwrap();
        assert_eq!(again.point, key.point);
    });
}

#[test]
fn a_refused_pin_is_not_tried_twice() {
    with_token(module_path!(), "a_refused_pin_is_not_tried_twice", |soft| {
        let token = token(&soft);
        let pin = soft.folder.join("pin");
        crate::init::write(&pin, "000000", 0o600).unwrap();
        for _ in 0..20 {
            let error = TokenKey::make(&token).unwrap_err();
            assert!(matches!(error, TokenError::Pin(_)), "{error}");
        }
        crate::init::write(&pin, "123456", 0o600).unwrap();
        TokenKey::make(&token).unwrap();
        // Only an unused token logs in again.
        token.state().session = None;
        fs::remove_file(&pin).unwrap();
        assert!(matches!(TokenKey::make(&token), Err(TokenError::NoPin(_))));
    });
}

#[test]
fn what_is_missing_is_named() {
    with_token(module_path!(), "what_is_missing_is_named", |soft| {
        let other = CustodySection {
            pkcs11_token: "another".to_owned(),
            ..soft.section.clone()
        };
        let error = TokenKey::make(&token(&Soft {
            section: other,
            folder: soft.folder.clone(),
        }));
        assert!(matches!(&error, Err(TokenError::Absent(label)) if label == "another"));
        let token = token(&soft);
        let error = TokenKey::find(&token, "pkcs11:id=%01%02").unwrap_err();
        assert!(error.to_string().contains("the id 0102"), "{error}");
        let key = TokenKey::make(&token).unwrap();
        token.erase(&key.reference()).unwrap();
        token.erase(&key.reference()).unwrap();
        assert!(key.sign(b"message").is_err());
    });
}

#[test]
fn a_missing_module_is_named() {
    let token = Arc::new(Token::new(
        Path::new("/nowhere/module.so"),
        "capif",
        Path::new("/nowhere/pin"),
    ));
    let error = TokenKey::make(&token).unwrap_err().to_string();
    assert!(
        error.contains("/nowhere/module.so") && error.contains("pkcs11_module"),
        "{error}"
    );
}

#[test]
fn references_are_read_strictly() {
    assert_eq!(
        id_of("pkcs11:object=a;id=%01%fF;type=private").unwrap(),
        [1, 0xff]
    );
    assert_eq!(id_of("pkcs11:id=%00").unwrap(), [0]);
    let long = format!("pkcs11:id={}", "%00".repeat(65));
    for text in [
        "",
        "pkcs11:",
        "pkcs11:id=",
        "pkcs11:id=%",
        "pkcs11:id=%1",
        "pkcs11:id=%zz",
        "pkcs11:id=01",
        "pkcs11:id=%01 %02",
        "pkcs11:id=%+1",
        "x:id=%01",
        &long,
    ] {
        assert!(matches!(id_of(text), Err(TokenError::Reference)), "{text}");
    }
}

#[test]
fn signatures_are_put_in_der() {
    let mut raw = [0; 64];
    raw[31] = 1;
    raw[32] = 0x80;
    let der = in_der(&raw).unwrap();
    assert_eq!(der[..7], [0x30, 38, 2, 1, 1, 2, 33]);
    assert_eq!(der[7..9], [0, 0x80]);
    for length in [0, 32, 63, 65] {
        assert!(in_der(&vec![1; length]).is_none(), "{length}");
    }
}

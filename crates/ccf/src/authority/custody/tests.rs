use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use super::*;
use crate::authority::pkcs11::tests as token;

const FILE: &str = "ca/some.key";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["ca/2", "keys"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    dir
}

fn passphrase(dir: &Path, text: &str) -> Passphrase {
    let path = dir.join("passphrase");
    init::write(&path, text, 0o600).unwrap();
    Passphrase::read(&path).unwrap()
}

fn sealing(dir: &Path, text: &str) -> Custody {
    Custody {
        passphrase: Some(passphrase(dir, text)),
        token: None,
    }
}

fn text(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap()
}

#[test]
fn a_plain_key_is_its_owners_alone_and_comes_back() {
    let dir = folder();
    let custody = Custody::default();
    let made = custody.make(dir.path(), FILE).unwrap();
    let mode = fs::metadata(dir.path().join(FILE))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let loaded = custody.load(dir.path(), FILE).unwrap();
    assert_eq!(made.der_bytes(), loaded.der_bytes());
    assert_eq!(
        *custody.read(dir.path(), FILE).unwrap(),
        text(dir.path(), FILE)
    );
    assert_eq!(format!("{loaded:?}"), "AuthorityKey([redacted])");

    fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o640)).unwrap();
    let error = custody.load(dir.path(), FILE).unwrap_err().to_string();
    assert!(error.contains("others"), "{error}");
    custody.erase(dir.path(), "ca/none.key").unwrap();
    fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o600)).unwrap();
    custody.erase(dir.path(), FILE).unwrap();
    assert!(!dir.path().join(FILE).exists());
}

#[test]
fn a_sealed_key_opens_with_its_passphrase_alone() {
    let dir = folder();
    let custody = sealing(dir.path(), "correct horse battery\n");
    let made = custody.make(dir.path(), FILE).unwrap();
    let sealed = text(dir.path(), FILE);
    assert!(
        sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
        "{sealed}"
    );
    let loaded = custody.load(dir.path(), FILE).unwrap();
    assert_eq!(made.der_bytes(), loaded.der_bytes());
    assert!(
        custody
            .read(dir.path(), FILE)
            .unwrap()
            .contains("BEGIN PRIVATE KEY")
    );

    let error = sealing(dir.path(), "another horse battery").load(dir.path(), FILE);
    assert!(
        matches!(error, Err(CustodyError::Passphrase(_))),
        "{error:?}"
    );
    let error = Custody::default().load(dir.path(), FILE).unwrap_err();
    assert!(matches!(error, CustodyError::Sealed(_)));
    assert!(error.to_string().contains("passphrase_file"), "{error}");
    assert!(error.to_string().contains("capif-passphrase"), "{error}");
    assert_eq!(format!("{custody:?}").find("horse"), None);
}

#[test]
fn a_key_that_is_no_pair_is_sealed_in_the_same_form() {
    let dir = folder();
    let key = crate::sealing::create().unwrap();
    let custody = sealing(dir.path(), "correct horse battery");
    custody.write(dir.path(), "keys/sealing.key", &key).unwrap();
    assert!(sealed::is_sealed(&text(dir.path(), "keys/sealing.key")));
    assert_eq!(custody.read(dir.path(), "keys/sealing.key").unwrap(), key);
    for text in [
        "",
        "short",
        "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
    ] {
        let error = custody.write(dir.path(), FILE, text);
        assert!(matches!(error, Err(CustodyError::NoKey { .. })), "{text}");
        assert!(!dir.path().join(FILE).exists());
    }
}

#[test]
fn openssl_opens_what_is_sealed_here() {
    let dir = folder();
    let custody = sealing(dir.path(), "correct horse battery");
    custody.make(dir.path(), FILE).unwrap();
    let run = |pass: &str| {
        Command::new("openssl")
            .args(["pkey", "-noout", "-text", "-passin", pass, "-in"])
            .arg(dir.path().join(FILE))
            .output()
    };
    let Ok(output) = run(&format!("file:{}", dir.path().join("passphrase").display())) else {
        println!("did not run: there is no openssl here");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("prime256v1"));
    assert!(!run("pass:another").unwrap().status.success());
}

#[test]
fn an_open_key_is_refused_where_a_passphrase_is_configured() {
    let dir = folder();
    Custody::default().make(dir.path(), FILE).unwrap();
    let error = sealing(dir.path(), "correct horse battery")
        .load(dir.path(), FILE)
        .unwrap_err();
    assert!(matches!(error, CustodyError::Open(_)));
    assert!(error.to_string().contains("capif ca seal"), "{error}");
}

#[test]
fn a_folder_is_sealed_as_a_whole_and_under_another_passphrase_later() {
    let dir = folder();
    let plain = Custody::default();
    let files = ["ca/root.key", "ca/2/issuing.key", "keys/one.key"];
    let points = files.map(|file| plain.make(dir.path(), file).unwrap().der_bytes().to_vec());
    let secret = crate::sealing::create().unwrap();
    plain
        .write(dir.path(), "keys/sealing.key", &secret)
        .unwrap();
    init::write(&dir.path().join("ca/2/half.key.new"), "PRIVATE", 0o600).unwrap();
    fs::write(dir.path().join("ca/root.pem"), "certificate").unwrap();

    let first = sealing(dir.path(), "correct horse battery");
    let new = first.passphrase.clone().unwrap();
    assert_eq!(seal(dir.path(), &plain, &new).unwrap(), 4);
    assert_eq!(seal(dir.path(), &plain, &new).unwrap(), 0);
    assert!(!dir.path().join("ca/2/half.key.new").exists());
    assert_eq!(text(dir.path(), "ca/root.pem"), "certificate");

    let second = sealing(dir.path(), "another horse battery");
    let new = second.passphrase.clone().unwrap();
    let error = seal(dir.path(), &plain, &new);
    assert!(
        matches!(error, Err(CustodyError::Passphrase(_))),
        "{error:?}"
    );
    assert!(
        first.load(dir.path(), files[0]).is_ok(),
        "nothing was changed"
    );
    assert_eq!(seal(dir.path(), &first, &new).unwrap(), 4);
    for (file, point) in files.iter().zip(&points) {
        assert_eq!(second.load(dir.path(), file).unwrap().der_bytes(), point);
    }
    assert_eq!(second.read(dir.path(), "keys/sealing.key").unwrap(), secret);
}

#[test]
fn sealing_takes_up_where_it_was_cut_off() {
    let dir = folder();
    let plain = Custody::default();
    let files = ["ca/root.key", "ca/2/issuing.key", "keys/one.key"];
    for file in files {
        plain.make(dir.path(), file).unwrap();
    }
    let custody = sealing(dir.path(), "correct horse battery");
    let new = custody.passphrase.clone().unwrap();
    // As after a crash: one file is sealed, another's sealed text lies beside it.
    let open = text(dir.path(), files[0]);
    custody.write(dir.path(), files[0], &open).unwrap();
    init::write(&dir.path().join("keys/one.key.sealed"), "half", 0o600).unwrap();
    assert_eq!(seal(dir.path(), &plain, &new).unwrap(), 2);
    for file in files {
        custody.load(dir.path(), file).unwrap();
        assert!(!beside(&dir.path().join(file), ".sealed").exists());
    }
    // One file that is no key: nothing is touched.
    fs::write(dir.path().join("keys/z.key"), "no key").unwrap();
    fs::set_permissions(
        dir.path().join("keys/z.key"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    plain.make(dir.path(), "keys/a.key").unwrap();
    let before = text(dir.path(), "keys/a.key");
    assert!(seal(dir.path(), &plain, &new).is_err());
    assert_eq!(text(dir.path(), "keys/a.key"), before);
}

#[test]
fn a_running_core_function_is_not_sealed() {
    let dir = folder();
    let _socket =
        std::os::unix::net::UnixListener::bind(dir.path().join(crate::admin::SOCKET)).unwrap();
    let new = passphrase(dir.path(), "correct horse battery");
    let error = seal(dir.path(), &Custody::default(), &new).unwrap_err();
    assert!(error.to_string().contains("stop it first"), "{error}");
}

#[test]
fn a_passphrase_is_one_line_in_a_file_of_its_owner() {
    let dir = folder();
    let path = dir.path().join("passphrase");
    for (text, taken) in [
        ("secret", Some("secret")),
        ("secret\n", Some("secret")),
        ("se cret\r\n", Some("se cret")),
        ("", None),
        ("\n", None),
        ("two\nlines\n", None),
        ("nul\0", None),
    ] {
        init::write(&path, text, 0o600).unwrap();
        let read = Passphrase::read(&path);
        assert_eq!(read.as_ref().ok().map(Passphrase::text), taken, "{text:?}");
    }
    init::write(&path, "short", 0o600).unwrap();
    let error = Passphrase::read_new(&path).unwrap_err();
    assert!(error.to_string().contains("12"), "{error}");
    init::write(&path, "long enough for it", 0o644).unwrap();
    assert!(matches!(
        Passphrase::read(&path),
        Err(CustodyError::Exposed { .. })
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        Passphrase::read(&path),
        Err(CustodyError::File { .. })
    ));
}

#[test]
fn systemd_hands_the_passphrase_over_in_a_folder() {
    let dir = folder();
    let taken = |folder: Option<&Path>| Passphrase::from_systemd(folder.map(Path::to_owned));
    assert!(taken(None).unwrap().is_none());
    assert!(taken(Some(dir.path())).unwrap().is_none());
    fs::write(
        dir.path().join(passphrase::CREDENTIAL),
        "correct horse battery\n",
    )
    .unwrap();
    let passphrase = taken(Some(dir.path())).unwrap().unwrap();
    assert_eq!(passphrase.text(), "correct horse battery");
    fs::write(dir.path().join(passphrase::CREDENTIAL), "").unwrap();
    assert!(taken(Some(dir.path())).is_err());
}

#[test]
fn an_issuing_key_in_a_token_signs_and_never_lies_in_a_file() {
    let name = "an_issuing_key_in_a_token_signs_and_never_lies_in_a_file";
    token::with_token(module_path!(), name, issuing_key_in_a_token);
}

fn issuing_key_in_a_token(soft: token::Soft) {
    let dir = folder();
    let custody = Custody::open(&soft.section).unwrap();
    let made = custody.make_issuing(dir.path(), FILE).unwrap();
    let reference = text(dir.path(), FILE);
    assert!(
        reference.starts_with("pkcs11:object=capif-issuing;id=%"),
        "{reference}"
    );
    let loaded = custody.load(dir.path(), FILE).unwrap();
    assert_eq!(made.der_bytes(), loaded.der_bytes());
    token::assert_signs(&loaded);
    assert!(matches!(
        custody.read(dir.path(), FILE),
        Err(CustodyError::InToken(_))
    ));
    let error = Custody::default().load(dir.path(), FILE);
    assert!(matches!(error, Err(CustodyError::NoToken(_))), "{error:?}");
    // The root's key stays in a file all the same, and sealing leaves the reference alone.
    custody.make(dir.path(), "ca/root.key").unwrap();
    let new = passphrase(dir.path(), "correct horse battery");
    assert_eq!(seal(dir.path(), &custody, &new).unwrap(), 1);
    assert_eq!(text(dir.path(), FILE), reference);

    custody.erase(dir.path(), FILE).unwrap();
    assert!(!dir.path().join(FILE).exists());
    init::write(&dir.path().join(FILE), &reference, 0o600).unwrap();
    let error = custody.load(dir.path(), FILE).unwrap_err();
    assert!(
        error.to_string().contains("holds no P-256 key pair"),
        "{error}"
    );
}

//! TLS-PSK with programs that others wrote: `openssl s_client`, and the `ssl` module of Python 3.13.

use std::{path::PathBuf, process::Command};

use capif_aef::Gateway;
use capif_spec::{publish_service::SecurityMethod, vendor::PskTls};
use capif_transport::{Psk, PskCredential, PskVersion};

use super::PATH;
use crate::support::{
    World,
    backend::Backend,
    psk::{Seen, hex, program, run},
};

/// A client in Python: connects with a key, sends its input, prints the answer.
const PYTHON_CLIENT: &str = r#"
import socket, ssl, sys
host, port, identity, key, version = sys.argv[1:6]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = {
    "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
if version == "1.2":
    context.set_ciphers("ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES128-GCM-SHA256")
context.set_psk_client_callback(lambda hint: (identity, bytes.fromhex(key)))
with socket.create_connection((host, int(port)), 10) as plain:
    with context.wrap_socket(plain) as secure:
        secure.sendall(sys.stdin.buffer.read())
        while octets := secure.recv(65536):
            sys.stdout.buffer.write(octets)
"#;

/// A gateway for TLS-PSK in one version, with an invoker's key for it.
struct Site {
    _world: World,
    _backend: Backend,
    gateway: Gateway,
    credential: PskCredential,
}

impl Site {
    async fn start(version: PskVersion) -> Self {
        let world = World::start().await;
        let backend = Backend::start();
        let bundle = world.bundle("acme").await;
        let methods = [SecurityMethod::Psk];
        let mut config =
            world.gateway_config("acme", Some(bundle), "weather", &backend.url(), &methods);
        config.psk_tls = Some(match version {
            PskVersion::Tls12 => PskTls::Tls12,
            PskVersion::Tls13 => PskTls::Tls13,
        });
        let gateway = Gateway::start(config).await.unwrap();
        let invoker = world.raw_invoker(&[]).await;
        let credential = invoker
            .psk(&world, gateway.aef_id().as_str(), gateway.address())
            .await;
        assert_eq!(credential.version, version);
        Self {
            _world: world,
            _backend: backend,
            gateway,
            credential,
        }
    }

    fn with_key(&self, change: impl FnOnce(&mut PskCredential)) -> PskCredential {
        let mut credential = self.credential.clone();
        change(&mut credential);
        credential
    }

    fn another_key(&self) -> PskCredential {
        self.with_key(|credential| credential.key = Psk::new([7; 32]))
    }

    fn another_identity(&self) -> PskCredential {
        self.with_key(|credential| {
            credential.identity = credential.identity.replace("INV", "INVX");
        })
    }

    async fn openssl(&self, openssl: &PathBuf, with: &PskCredential, more: &[&str]) -> Seen {
        let mut command = Command::new(openssl);
        let version = match with.version {
            PskVersion::Tls12 => "-tls1_2",
            PskVersion::Tls13 => "-tls1_3",
        };
        command
            .args(["s_client", "-connect", self.gateway.address(), version])
            .args(["-psk_identity", &with.identity, "-psk", &hex(&with.key)])
            // Reads to the end of the answer, whatever its own input does.
            .args(["-ign_eof", "-nocommands"])
            .args(more);
        run(command, request()).await
    }

    async fn python(&self, python: &PathBuf, with: &PskCredential) -> Seen {
        let mut command = Command::new(python);
        let (host, port) = self.gateway.address().rsplit_once(':').unwrap();
        command.args(["-c", PYTHON_CLIENT, host, port]).args([
            &with.identity,
            &hex(&with.key),
            &with.version.to_string(),
        ]);
        run(command, request()).await
    }
}

fn request() -> String {
    format!("GET {PATH} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
}

fn openssl() -> Option<PathBuf> {
    program(&["openssl".into()], &["version"])
}

/// A Python that can do TLS-PSK: the one that is named, or a usual one.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("CAPIF_TEST_PYTHON").map(PathBuf::from);
    let names: Vec<PathBuf> = named
        .into_iter()
        .chain(["python3.13", "python3"].map(PathBuf::from))
        .collect();
    let check = "import ssl; ssl.SSLContext.set_psk_client_callback; assert ssl.HAS_PSK";
    program(&names, &["-c", check])
}

/// The alert by which `s_client` says that it was refused.
fn alert(seen: &Seen) -> String {
    assert!(!seen.stdout.contains("HTTP/1.1"), "{seen:?}");
    let line = seen.stderr.lines().find(|line| line.contains("alert"));
    let line = line.unwrap_or_else(|| panic!("no alert: {seen:?}"));
    // After the thread's name, which differs.
    line.split_once("error:").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_calls_in_tls_1_3() {
    let Some(openssl) = openssl() else {
        return println!("did not run: there is no openssl here");
    };
    let site = Site::start(PskVersion::Tls13).await;
    let seen = site.openssl(&openssl, &site.credential, &[]).await;
    assert!(seen.stdout.contains("HTTP/1.1 200 OK"), "{seen:?}");
    assert!(seen.stdout.contains("Reused, TLSv1.3"), "{seen:?}");

    let wrong = alert(&site.openssl(&openssl, &site.another_key(), &[]).await);
    let unknown = alert(&site.openssl(&openssl, &site.another_identity(), &[]).await);
    assert_eq!(wrong, unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_calls_in_tls_1_2_with_forward_secrecy_alone() {
    let Some(openssl) = openssl() else {
        return println!("did not run: there is no openssl here");
    };
    let site = Site::start(PskVersion::Tls12).await;
    for suite in ["ECDHE-PSK-CHACHA20-POLY1305", "DHE-PSK-AES128-GCM-SHA256"] {
        let more = ["-cipher", suite];
        let seen = site.openssl(&openssl, &site.credential, &more).await;
        assert!(seen.stdout.contains("HTTP/1.1 200 OK"), "{suite}: {seen:?}");
        assert!(
            seen.stdout.contains("Extended master secret: yes"),
            "{seen:?}"
        );

        let wrong = alert(&site.openssl(&openssl, &site.another_key(), &more).await);
        let unknown = alert(
            &site
                .openssl(&openssl, &site.another_identity(), &more)
                .await,
        );
        assert_eq!(wrong, unknown);
    }
    let more = ["-cipher", "PSK-AES128-GCM-SHA256"];
    let seen = site.openssl(&openssl, &site.credential, &more).await;
    alert(&seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_in_the_one_version_that_the_interface_names() {
    let Some(openssl) = openssl() else {
        return println!("did not run: there is no openssl here");
    };
    for (version, other) in [
        (PskVersion::Tls13, PskVersion::Tls12),
        (PskVersion::Tls12, PskVersion::Tls13),
    ] {
        let site = Site::start(version).await;
        let credential = site.with_key(|credential| credential.version = other);
        alert(&site.openssl(&openssl, &credential, &[]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_calls_in_both_versions() {
    let Some(python) = python() else {
        return println!(
            "did not run: there is no Python 3.13 here; name one in CAPIF_TEST_PYTHON"
        );
    };
    for version in [PskVersion::Tls13, PskVersion::Tls12] {
        let site = Site::start(version).await;
        let seen = site.python(&python, &site.credential).await;
        assert!(seen.stdout.contains("HTTP/1.1 200 OK"), "{seen:?}");

        let reason = |seen: &Seen| {
            assert!(!seen.stdout.contains("HTTP/1.1"), "{seen:?}");
            seen.stderr.lines().last().unwrap().to_owned()
        };
        let wrong = reason(&site.python(&python, &site.another_key()).await);
        let unknown = reason(&site.python(&python, &site.another_identity()).await);
        assert!(wrong.contains("SSL"), "{wrong}");
        assert_eq!(wrong, unknown);
    }
}

//! What others are told of revocation, and how the keys behind it are kept (R-T-04, R-6.8-04, R-U-06, P-10; TS 33.310 clause 6.1;
//! RFC 5280 section 5, RFC 6960): lists, OCSP and staples ([`told`]), sealed keys and tokens ([`custody`]), an authority of
//! somebody else ([`outside`]). The judge is OpenSSL's program.

mod custody;
mod outside;
mod told;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{World, people::Party};

/// What a test says that needs the program and does not find it.
const NO_OPENSSL: &str = "did not run: there is no openssl here";

/// OpenSSL's program in a folder with files for it.
struct Openssl(tempfile::TempDir);

impl Openssl {
    /// Nothing where it is not installed.
    fn find() -> Option<Self> {
        let version = Command::new("openssl").arg("version").output();
        version.ok()?.status.success().then_some(())?;
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn file(&self, name: &str, octets: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, octets).unwrap();
        path
    }

    /// Runs it off the runtime, since the core function that it asks is part of this process.
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        command
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// Puts the authorities of a core function and somebody's certificate in place, as `roots.pem`, `issuing.pem` and `leaf.pem`.
    fn put_chain(&self, root: &str, chain: &str) {
        let blocks = pem::parse_many(chain).unwrap();
        self.file("roots.pem", root);
        self.file("leaf.pem", pem::encode(&blocks[0]));
        self.file("issuing.pem", pem::encode(&blocks[1]));
    }

    /// What the responder says of a certificate, once its signature was checked: `good`, `revoked` or `unknown`.
    async fn ocsp(&self, world: &World, party: &Party) -> String {
        self.put_chain(&world.root_pem(), &party.pems.chain);
        let url = format!("http://{}/ocsp", world.ccf().revocation_addr());
        let output = self
            .run(&[
                "ocsp",
                "-url",
                &url,
                "-CAfile",
                "roots.pem",
                "-issuer",
                "issuing.pem",
                "-cert",
                "leaf.pem",
                "-validity_period",
                "900",
            ])
            .await;
        let (said, checked) = (text(&output.stdout), text(&output.stderr));
        assert!(checked.contains("Response verify OK"), "{said}{checked}");
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("leaf.pem: "));
        line.unwrap_or_else(|| panic!("{said}{checked}")).to_owned()
    }

    /// Whether a certificate passes with the revocation list of its authority.
    async fn passes(&self, world: &World, party: &Party) -> bool {
        self.put_chain(&world.root_pem(), &party.pems.chain);
        self.file("list.der", list(world, 1).await);
        let output = self
            .run(&[
                "crl", "-inform", "DER", "-in", "list.der", "-out", "list.pem",
            ])
            .await;
        assert!(output.status.success(), "{output:?}");
        let time = world.now().to_string();
        let output = self
            .run(&[
                "verify",
                "-attime",
                &time,
                "-crl_check",
                "-CRLfile",
                "list.pem",
                "-CAfile",
                "roots.pem",
                "-untrusted",
                "issuing.pem",
                "leaf.pem",
            ])
            .await;
        let said = text(&output.stdout) + &text(&output.stderr);
        if output.status.success() {
            return true;
        }
        assert!(said.contains("certificate revoked"), "{said}");
        false
    }

    /// What `s_client` shows of the staple that the core function sends along.
    async fn staple(&self, world: &World) -> String {
        self.file("roots.pem", world.root_pem());
        let output = self
            .run(&[
                "s_client",
                "-connect",
                world.address(),
                "-CAfile",
                "roots.pem",
                "-verify_return_error",
                "-status",
            ])
            .await;
        text(&output.stdout)
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// The revocation list of an authority.
async fn list(world: &World, authority: u32) -> Vec<u8> {
    served(world, authority).await.unwrap()
}

/// The same, as it is served; nothing if there is none.
async fn served(world: &World, authority: u32) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(world.ccf().revocation_addr())
        .await
        .unwrap();
    let request =
        format!("GET /crl/{authority}.crl HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    if answer.starts_with(b"HTTP/1.1 404 ") {
        return None;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", text(&answer));
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    Some(answer[end + 4..].to_vec())
}

/// A file that only its owner can read.
fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

//! Secure onboarding (S1, TS 33.122 clause 6.1) and its flow (S2, annex B.1).

use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, bail, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use capif_ccf::admin::EnrolmentParts;
use capif_client::{Enrolment, ErrorKind};
use capif_transport::{ClientError, Fingerprint, Peer};
use http::header;
use serde_json::{Value, json};
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem, prelude::X509Certificate};

use super::{
    forgery::{Jwt, RSA_1024},
    stage::{Stage, eventually, missing},
    wire::{Key, ONBOARDING, Said, Wire},
    world::{Bare, FORECAST, WEATHER, World, code_of, live},
};
use crate::{exit::Failure, output};

/// What the invitation for the invoker on the bare wire was like.
type Invitation = Option<EnrolmentParts>;

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("S1, S2: an API invoker is onboarded")?;
    let mut invitation = Invitation::None;
    let it = &mut invitation;
    stage
        .step(
            "set-up",
            "a core function starts with a fresh store",
            "TS 23.222 clause 6.3.3",
            async {
                world.start_ccf().await?;
                Ok(format!(
                    "it serves CAPIF-1 to 5 at {}",
                    world.ccf()?.address()
                ))
            },
        )
        .await?;
    stage
        .step(
            "S1",
            "an invitation holds address, root CA certificate and credential",
            "TS 33.122 clause 6.1 step 1",
            parts(world, it),
        )
        .await?;
    let it = &invitation;
    stage
        .step(
            "S1",
            "a code finds the core function's root by its fingerprint",
            "TS 33.122 clause 6.1 step 3",
            by_fingerprint(world, it),
        )
        .await?;
    stage
        .step(
            "S2",
            "with another fingerprint nothing is sent",
            "TS 33.122 clause B.1",
            wrong_fingerprint(world, it),
        )
        .await?;
    stage
        .step(
            "S2",
            "who trusts another authority gets no session",
            "TS 33.122 clause B.1",
            foreign_authority(world),
        )
        .await?;

    stage
        .step(
            "S1",
            "a forged, unsigned or altered credential is refused",
            "TS 33.122 clause 6.1 step 5",
            forged(world, it),
        )
        .await?;
    stage
        .step(
            "S1",
            "a credential made for something else is refused",
            "RFC 7519 section 4.1.3",
            wrong_audience(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "a credential that has expired is refused",
            "RFC 7519 section 4.1.4",
            expired(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "without a credential nobody is onboarded",
            "TS 29.222 clause 5.5.2.2.2",
            without(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "a weak key, a broken one and a private one are refused",
            "TS 33.310 clause 6.1.1",
            bad_keys(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "none of these refusals left anything behind",
            "TS 33.122 clause 6.1 step 5",
            nothing_stored(world),
        )
        .await?;
    stage
        .step(
            "S2",
            "after a refusal the session is torn down",
            "TS 33.122 clause B.1",
            torn_down_after_bad(world),
        )
        .await?;

    let onboarded = async {
        let bare = onboard(world, it).await?;
        let detail = format!("{}; asked for: OU=CCF, CN=root, CA, TLS server", bare.id);
        world.bare = Some(bare);
        Ok(detail)
    };
    stage
        .step(
            "S1",
            "a greedy certificate request gets the profile of an invoker, no more",
            "TS 33.122 clause 6.1 step 6",
            onboarded,
        )
        .await?;
    stage
        .step(
            "S1",
            "the answer lets the invoker prove itself from now on",
            "TS 33.122 clause 6.1 step 7",
            certificate_works(world),
        )
        .await?;
    stage
        .step(
            "S2",
            "after a success the session is torn down too",
            "TS 33.122 clause B.1",
            torn_down_after_good(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "the credential cannot be used twice",
            "RFC 7519 section 4.1.7",
            replayed(world, it),
        )
        .await?;
    stage
        .step(
            "S1",
            "the Onboard_Secret is strong, and never stored in clear",
            "TS 33.122 clause 6.1 step 6",
            secret_not_stored(world),
        )
        .await?;
    world.used = invitation.map(|parts| parts.credential);

    let enrolled = async {
        let app = world.enrol("app").await?;
        let detail = key_is_kept(&world.invoker_folder("app"), &app)?;
        world.app = Some(app);
        Ok(detail)
    };
    stage
        .step(
            "S1",
            "the library enrols with one code, and keeps the private key",
            "TS 33.122 clause 6.1 step 4",
            enrolled,
        )
        .await
}

async fn parts(world: &World, invitation: &mut Invitation) -> anyhow::Result<String> {
    let parts = world.invite(&[WEATHER, FORECAST], 15).await?;
    ensure!(
        parts.address == world.ccf()?.address(),
        "the address is another one"
    );
    ensure!(
        parts.ca_pem == world.root_pem(),
        "the certificate is not the root's"
    );
    let jwt = Jwt::parse(parts.credential.expose())?;
    let alg = jwt
        .header
        .get("alg")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    ensure!(alg == "ES256", "the credential is signed with {alg}");
    let detail = format!(
        "{}, root CA sha256 {}, a JWT signed with {alg} that ends {}",
        parts.address,
        root(&parts)?,
        output::time(&parts.expires)
    );
    *invitation = Some(parts);
    Ok(detail)
}

async fn by_fingerprint(world: &World, invitation: &Invitation) -> anyhow::Result<String> {
    let parts = given(invitation)?;
    let code = code_of(parts)?;
    let enrolment = Enrolment::from_code(&code, world.clock()).await?;
    ensure!(
        enrolment.anchors_pem == parts.ca_pem,
        "another certificate was found"
    );
    Ok(format!(
        "a code of {} characters stands for all three parts",
        code.to_string().len()
    ))
}

async fn wrong_fingerprint(world: &World, invitation: &Invitation) -> anyhow::Result<String> {
    let mut code = code_of(given(invitation)?)?;
    code.ca_sha256 = [0x5a; 32];
    match Enrolment::from_code(&code, world.clock()).await {
        Ok(_) => bail!("a root certificate of another fingerprint was believed"),
        Err(error) => {
            ensure!(
                error.kind() == ErrorKind::Authentication,
                "it failed otherwise: {error}"
            );
            Ok(error.to_string())
        }
    }
}

async fn foreign_authority(world: &World) -> anyhow::Result<String> {
    let address = world.ccf()?.address();
    let wire = Wire::new(&address, &world.foreign_root_pem()?, None, world.clock())?;
    match wire.get("/.well-known/jwks.json").send().await? {
        Err(ClientError::Tls(reason)) => Ok(format!("no handshake: {reason}")),
        Err(other) => bail!("it failed otherwise: {other}"),
        Ok(said) => bail!("it was answered with {}", said.gist()),
    }
}

async fn forged(world: &World, invitation: &Invitation) -> anyhow::Result<String> {
    let jwt = Jwt::parse(given(invitation)?.credential.expose())?;
    let attempts = [
        ("signed by somebody else", jwt.signed_by_another()?),
        ("alg none", jwt.unsigned()),
        (
            "wider claims under the old signature",
            jwt.with_claim("apis", json!(["everything"])),
        ),
        (
            "an unknown issuer",
            jwt.with_claim("iss", json!("https://evil.example")),
        ),
        ("no JWT at all", "hunter2".to_owned()),
    ];
    let mut answers = Vec::new();
    for (what, credential) in &attempts {
        let said = ask(world, &Key::generate()?.request()?, Some(credential)).await?;
        ensure!(said.status == 401, "{what}: {}", said.gist());
        answers.push(said.gist());
    }
    answers.dedup();
    let [answer] = answers.as_slice() else {
        bail!(
            "the answers differ, so they tell which issuers are known: {}",
            answers.join(" / ")
        );
    };
    Ok(format!(
        "{} attempts, one and the same answer: {answer}",
        attempts.len()
    ))
}

async fn wrong_audience(world: &World) -> anyhow::Result<String> {
    // Well signed by the core function itself, but for the registration of a provider.
    let parts = world.admit("nobody").await?;
    let said = ask(
        world,
        &Key::generate()?.request()?,
        Some(parts.credential.expose()),
    )
    .await?;
    ensure!(said.status == 401, "it was answered with {}", said.gist());
    Ok(format!(
        "a registration credential does not onboard: {}",
        said.gist()
    ))
}

async fn expired(world: &World) -> anyhow::Result<String> {
    let parts = world.invite(&[], 1).await?;
    world.pass(time::Duration::minutes(2));
    let said = ask(
        world,
        &Key::generate()?.request()?,
        Some(parts.credential.expose()),
    )
    .await?;
    ensure!(said.status == 401, "it was answered with {}", said.gist());
    Ok(format!(
        "one minute of life, used after two: {}",
        said.gist()
    ))
}

async fn without(world: &World) -> anyhow::Result<String> {
    let said = ask(world, &Key::generate()?.request()?, None).await?;
    ensure!(said.status == 401, "it was answered with {}", said.gist());
    Ok(said.gist())
}

async fn bad_keys(world: &World) -> anyhow::Result<String> {
    let parts = world.invite(&[], 15).await?;
    let credential = parts.credential.expose();
    let key = Key::generate()?;
    let request = key.request()?;
    // A request whose signature is not by the key in it.
    let other = Key::generate()?.request()?;
    let spliced = request
        .get(..request.len() / 2)
        .zip(other.get(other.len() / 2..));
    let spliced = spliced
        .map(|(head, tail)| format!("{head}{tail}"))
        .unwrap_or_default();
    for (what, key) in [
        ("RSA with 1024 bits", RSA_1024),
        (
            "half a request",
            request.get(..request.len() / 2).unwrap_or_default(),
        ),
        ("two halves of two requests", spliced.as_str()),
        ("a private key", key.private_pem().as_str()),
        ("a word", "key"),
    ] {
        let said = ask(world, key, Some(credential)).await?;
        ensure!(said.status == 400, "{what}: {}", said.gist());
    }
    Ok("400 for RSA with 1024 bits, broken requests and a private key".to_owned())
}

async fn nothing_stored(world: &World) -> anyhow::Result<String> {
    let invokers = world.listed("invokers").await?;
    ensure!(
        invokers.is_empty(),
        "{} invokers are stored",
        invokers.len()
    );
    Ok("no profile, no certificate, no secret".to_owned())
}

async fn torn_down_after_bad(world: &World) -> anyhow::Result<String> {
    // The client would keep the connection: it is the core function that ends it.
    let wire = world.to_ccf(None)?;
    wire.onboarding("key", Some("hunter2")).expect(401).await?;
    no_session(world).await
}

async fn torn_down_after_good(world: &World) -> anyhow::Result<String> {
    let parts = world.invite(&[FORECAST], 15).await?;
    let wire = world.to_ccf(None)?;
    let id = wire
        .onboarding(
            &Key::generate()?.request()?,
            Some(parts.credential.expose()),
        )
        .expect(201)
        .await?
        .text("/apiInvokerId")?;
    let detail = no_session(world).await?;
    // It has played its part.
    world.operator().delete("invokers", &id).await?;
    Ok(detail)
}

async fn no_session(world: &World) -> anyhow::Result<String> {
    let connections = world.ccf()?.connections();
    let anonymous =
        |connection: &capif_transport::Connection| matches!(connection.peer, Peer::Anonymous);
    let after = eventually("the end of the session", async || {
        Ok(live(connections, anonymous) == 0)
    })
    .await?;
    Ok(format!(
        "the core function closed it within {} ms",
        after.as_millis()
    ))
}

/// Onboards with a request that wants too much, and looks at what came of it.
async fn onboard(world: &World, invitation: &Invitation) -> anyhow::Result<Bare> {
    let key = Key::generate()?;
    let credential = given(invitation)?.credential.expose();
    let said = ask(world, &key.greedy_request()?, Some(credential)).await?;
    ensure!(said.status == 201, "it was answered with {}", said.gist());
    let bare = Bare::of(&key, &said)?;
    let location = said.header(header::LOCATION);
    ensure!(
        location.ends_with(&format!("{ONBOARDING}/{}", bare.id)),
        "`Location` is {location:?}"
    );
    let chain = said.text("/onboardingInformation/apiInvokerCertificate")?;
    let (_, block) = parse_x509_pem(chain.as_bytes()).context("the certificate is not PEM")?;
    let leaf = block
        .parse_x509()
        .context("the certificate cannot be read")?;
    check_profile(&leaf, &bare.id)?;
    Ok(bare)
}

/// The profile of an invoker's certificate (TS 33.310 clause 6.1, TS 29.222 table 8.4.4.2.5-1).
fn check_profile(leaf: &X509Certificate<'_>, id: &str) -> anyhow::Result<()> {
    let subject = leaf.subject().to_string();
    ensure!(
        subject == format!("OU=API_INVOKER, CN={id}"),
        "the subject is {subject}"
    );
    ensure!(!leaf.is_ca(), "it is an authority");
    let usage = leaf
        .key_usage()?
        .context("it does not say what its key is for")?;
    ensure!(
        usage.value.digital_signature() && !usage.value.key_cert_sign(),
        "its key is for more than signing handshakes"
    );
    let purpose = leaf
        .extended_key_usage()?
        .context("it does not say what it is for")?;
    ensure!(
        purpose.value.client_auth && !purpose.value.server_auth,
        "it is not for clients alone"
    );
    let names = leaf
        .subject_alternative_name()?
        .context("it has no alternative name")?;
    let expected = format!("urn:capif:{id}");
    ensure!(
        matches!(names.value.general_names.as_slice(), [GeneralName::URI(name)] if *name == expected),
        "its alternative names are {:?}",
        names.value.general_names
    );
    Ok(())
}

async fn certificate_works(world: &World) -> anyhow::Result<String> {
    let bare = world.bare()?;
    let wire = world.to_ccf(Some(&bare.identity))?;
    let path = format!("/service-apis/v1/allServiceAPIs?api-invoker-id={}", bare.id);
    wire.get(&path).expect(200).await?;
    Ok("id, Location, certificate chain, Onboard_Secret; the certificate opens a mutual TLS session".to_owned())
}

async fn replayed(world: &World, invitation: &Invitation) -> anyhow::Result<String> {
    let credential = given(invitation)?.credential.expose();
    let before = world.listed("invokers").await?.len();
    let said = ask(world, &Key::generate()?.request()?, Some(credential)).await?;
    ensure!(said.status == 401, "it was answered with {}", said.gist());
    let after = world.listed("invokers").await?.len();
    ensure!(
        after == before,
        "there are {after} invokers now instead of {before}"
    );
    Ok(said.gist())
}

async fn secret_not_stored(world: &World) -> anyhow::Result<String> {
    let secret = world.bare()?.secret.expose();
    let octets = BASE64_URL_SAFE_NO_PAD
        .decode(secret)
        .context("it is not base64url")?;
    ensure!(octets.len() >= 32, "it has {} octets", octets.len());
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let digest = Fingerprint::of(secret.as_bytes()).to_string();
    let folder = world.ccf_folder();
    let holds = |needle: &[u8]| files_with(&folder, needle);
    for needle in [secret.as_bytes(), &octets, hex.as_bytes()] {
        ensure!(
            holds(needle)? == 0,
            "it stands in a file of the core function"
        );
    }
    // Shows that the search finds what is there.
    ensure!(
        holds(digest.as_bytes())? > 0,
        "its digest is not found either"
    );
    Ok(format!(
        "{} random bits; the store holds its SHA-256 alone",
        octets.len() * 8
    ))
}

/// How many files below a folder hold these octets.
fn files_with(folder: &Path, needle: &[u8]) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            count += files_with(&entry.path(), needle)?;
        } else if kind.is_file() {
            let mut octets = Vec::new();
            fs::File::open(entry.path())?.read_to_end(&mut octets)?;
            count += usize::from(contains(&octets, needle));
        }
    }
    Ok(count)
}

fn contains(octets: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else {
        return true;
    };
    let mut left = octets;
    while let Some(place) = left.iter().position(|octet| octet == first) {
        let Some(after) = left.get(place + 1..) else {
            return false;
        };
        if after.starts_with(rest) {
            return true;
        }
        left = after;
    }
    false
}

fn key_is_kept(folder: &Path, app: &capif_client::Invoker) -> anyhow::Result<String> {
    let mut files = 0;
    let mode = |path: &Path| -> anyhow::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    };
    ensure!(mode(folder)? == 0o700, "others can look into the folder");
    for entry in fs::read_dir(folder)? {
        ensure!(mode(&entry?.path())? == 0o600, "others can read the files");
        files += 1;
    }
    let sent = &app.details().onboarding_information.api_invoker_public_key;
    ensure!(
        sent.contains("CERTIFICATE REQUEST") && !sent.contains("PRIVATE"),
        "something else than a request was sent"
    );
    Ok(format!(
        "{}; a request was sent, {files} files are the owner's alone",
        app.id()
    ))
}

async fn ask(world: &World, key: &str, credential: Option<&str>) -> anyhow::Result<Said> {
    world
        .to_ccf(None)?
        .onboarding(key, credential)
        .answer()
        .await
}

fn given(invitation: &Invitation) -> anyhow::Result<&EnrolmentParts> {
    invitation.as_ref().ok_or_else(|| missing("the invitation"))
}

fn root(parts: &EnrolmentParts) -> anyhow::Result<String> {
    let digits = crate::folder::root_of(&parts.ca_pem)?.to_string();
    Ok(digits.chars().take(16).collect::<String>() + "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_what_is_there() {
        assert!(contains(b"aab", b"ab") && contains(b"ab", b"ab") && contains(b"xaab", b"aab"));
        assert!(!contains(b"aaa", b"ab") && !contains(b"", b"a") && !contains(b"a", b"ab"));
    }
}

//! Method 1: a key that both ends derive and nobody sends (TS 33.122 clauses 6.5.2.1 and A.1).

use anyhow::{Context, bail, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use capif_client::{Invoker, Wish};
use capif_procedures::aefpsk::{self, Facts, Profile};
use capif_spec::{common::ApiInvokerId, publish_service::SecurityMethod};
use capif_transport::{ClientError, Peer, Psk, PskCredential, PskVersion};
use http::{Method, header};
use serde_json::{Value, json};

use super::{
    ALL, TODAY, call,
    calls::{INVOKER, header_of},
    context_of,
    method_change::method_of,
    negotiation::{NOBODY, wanted},
    own_token,
};
use crate::{
    demo::{
        search::{contains, files_with, spellings},
        stage::{Stage, missing},
        wire::Said,
        world::{Bare, Keyed, WEATHER, World, live},
    },
    exit::Failure,
    output,
};

/// A key that an invoker derived, and the answer in which it was told how it is called.
pub(in crate::demo) struct Agreed {
    pub(in crate::demo) key: PskCredential,
    said: Said,
    /// What is said of the key.
    told: Value,
}

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("S3: Method 1, a key that both ends derive")?;
    stage
        .step(
            "S3",
            "the provider adds PSK, and the running gateway takes it",
            "TS 33.122 clause 6.7",
            published(world),
        )
        .await?;
    let mut agreed = None;
    let selected = async {
        let bare = world.enrol_bare(&[WEATHER]).await?;
        let (it, detail) = select(world, &bare).await?;
        agreed = Some((bare, it));
        Ok(detail)
    };
    stage
        .step(
            "S3",
            "the core function selects PSK for who can do nothing else",
            "TS 33.122 clause 6.3",
            selected,
        )
        .await?;
    stage
        .step(
            "S3",
            "the invoker and the core function derive one key from their session",
            "TS 33.122 clause A.1",
            derived(world, agreed.as_ref()),
        )
        .await?;
    stage
        .step(
            "S3",
            "the key stands neither in the answer to the invoker nor in the store",
            "TS 33.122 clause 6.5.2.1",
            never_sent(world, agreed.as_ref()),
        )
        .await?;
    world.keyed = agreed.map(|(bare, agreed)| Keyed {
        bare,
        key: agreed.key,
    });
    stage
        .step(
            "S3",
            "the API is called over a session that the key alone opened",
            "TS 33.122 clause 6.5.2.1",
            call_by_key(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "a wrong key and an unknown identity end in the same alert",
            "TS 33.122 clause 6.5.2.1",
            wrong_keys(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the library does all that by itself",
            "TS 33.122 clause 6.5.2.1",
            by_library(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the AEF gives one answer, whomever it is asked to check",
            "TS 29.222 clause 9.1.2.2",
            check_authentication(world),
        )
        .await
}

/// Negotiates PSK, and derives the key from the session that carried the answer, as an invoker does.
pub(in crate::demo) async fn agree(world: &World, bare: &Bare) -> anyhow::Result<Agreed> {
    let gateway = world.gateway()?;
    let said = world
        .to_negotiate(&bare.identity)?
        .ask(Method::PUT, &context_of(&bare.id))
        .json(&wanted(&[(gateway.aef_id().as_str(), &["PSK"])]))
        .answer()
        .await?;
    ensure!(
        said.status.is_success(),
        "it was answered with {}",
        said.gist()
    );
    let method = said.text("/securityInfo/0/selSecurityMethod")?;
    ensure!(method == "PSK", "{method} was selected");
    let told: Value = serde_json::from_str(&said.text("/securityInfo/0/authenticationInfo")?)?;
    // As discovery shows it.
    let interface = format!("https://{}", gateway.address());
    ensure!(
        member(&told, "interface")? == interface,
        "the key is for another interface"
    );
    let session = said.session.as_ref().context("the session gives no key")?;
    let facts = Facts {
        profile: Profile::A1Exporter,
        key: session.exported_key(),
        session_id: session.exported_id(),
    };
    let key = PskCredential {
        identity: member(&told, "pskId")?.to_owned(),
        key: Psk::new(*aefpsk::derive(&facts, &interface)?),
        version: member(&told, "tls")?.parse()?,
    };
    Ok(Agreed { key, said, told })
}

/// How a handshake with this key ends at the gateway, where it must not succeed.
pub(in crate::demo) async fn alert(world: &World, key: &PskCredential) -> anyhow::Result<String> {
    match world.to_gateway_by_key(key)?.get(TODAY).send().await? {
        Err(ClientError::Tls(reason)) => Ok(reason),
        Err(other) => bail!("it failed otherwise: {other}"),
        Ok(said) => bail!("it was answered with {}", said.gist()),
    }
}

/// The same for an identity that there is not.
pub(in crate::demo) async fn alert_for_nobody(world: &World) -> anyhow::Result<String> {
    let nobody = PskCredential {
        identity: aefpsk::identity(&ApiInvokerId::new(NOBODY), 1),
        key: Psk::new([7; 32]),
        version: PskVersion::Tls13,
    };
    alert(world, &nobody).await
}

async fn published(world: &World) -> anyhow::Result<String> {
    let after = world.publish_methods(&ALL).await?;
    call(world.app()?).await?.with(200)?;
    world
        .to_gateway(None)?
        .get(TODAY)
        .bearer(own_token(world)?)
        .expect(200)
        .await?;
    Ok(format!(
        "PSK, PKI and OAUTH on one port, {} ms after the publication; calls by PKI and OAUTH go on",
        after.as_millis()
    ))
}

async fn select(world: &World, bare: &Bare) -> anyhow::Result<(Agreed, String)> {
    let aef = world.gateway()?.aef_id().as_str();
    let both = world
        .to_ccf(Some(&bare.identity))?
        .ask(Method::PUT, &context_of(&bare.id))
        .json(&wanted(&[(aef, &["PSK", "PKI"])]))
        .expect(201)
        .await?
        .text("/securityInfo/0/selSecurityMethod")?;
    ensure!(both == "PKI", "{both} was selected for who can do PKI too");
    let agreed = agree(world, bare).await?;
    let detail = format!(
        "PSK at {aef} for who can do PSK alone; PKI for who can do both, as the operator prefers it"
    );
    Ok((agreed, detail))
}

async fn derived(world: &World, agreed: Option<&(Bare, Agreed)>) -> anyhow::Result<String> {
    let (bare, agreed) = agreed.ok_or_else(|| missing("the negotiation"))?;
    let provider = world.provider().await?;
    let context = provider
        .security_context(&ApiInvokerId::new(bare.id.as_str()))
        .await?
        .context("the AEF is told of no such invoker")?;
    let told = context
        .security_info
        .first()
        .and_then(|entry| entry.authentication_info.as_deref())
        .context("the AEF is told no key")?;
    let told: Value = serde_json::from_str(told)?;
    let octets = BASE64_URL_SAFE_NO_PAD.decode(member(&told, "psk")?)?;
    let octets: [u8; 32] = octets
        .try_into()
        .map_err(|_| anyhow::anyhow!("the key has not 32 octets"))?;
    ensure!(
        Psk::new(octets) == agreed.key.key,
        "the AEF is told another key than the invoker derived"
    );
    ensure!(
        member(&told, "pskId")? == agreed.key.identity,
        "the AEF is told another identity"
    );
    // Over CAPIF-3 it goes to the AEF that it is for, and to no other one.
    world
        .to_ccf(Some(&world.rival()?.aef))?
        .get(&format!("{}?authenticationInfo=true", context_of(&bare.id)))
        .expect(404)
        .await?;
    Ok(format!(
        "{}: what {} is told, and no other AEF, is what the invoker derived",
        agreed.key.identity,
        provider.aef_id()
    ))
}

async fn never_sent(world: &World, agreed: Option<&(Bare, Agreed)>) -> anyhow::Result<String> {
    let (_, agreed) = agreed.ok_or_else(|| missing("the negotiation"))?;
    let headers = format!("{:?}", agreed.said.headers);
    let folder = world.ccf_folder();
    for needle in &spellings(agreed.key.key.expose()) {
        ensure!(
            !contains(&agreed.said.body, needle) && !contains(headers.as_bytes(), needle),
            "it stands in the answer to the invoker"
        );
        ensure!(
            files_with(&folder, needle)? == 0,
            "it stands in a file of the core function"
        );
    }
    // Shows that the search finds what is there.
    let identity = agreed.key.identity.as_bytes();
    ensure!(
        contains(&agreed.said.body, identity) && files_with(&folder, identity)? > 0,
        "its identity is not found either"
    );
    let text = |name| member(&agreed.told, name);
    let ends = agreed.told.get("exp").and_then(Value::as_i64);
    let ends = time::OffsetDateTime::from_unix_timestamp(ends.context("it has no end")?)?;
    Ok(format!(
        "the invoker is told its identity, its profile {}, TLS {}, {} and its end {}; the store holds it sealed",
        text("profile")?,
        text("tls")?,
        text("interface")?,
        output::time(&capif_spec::common::DateTime(ends))
    ))
}

async fn call_by_key(world: &World) -> anyhow::Result<String> {
    let keyed = world.keyed()?;
    let open = world.to_gateway_by_key(&keyed.key)?;
    open.get(TODAY).expect(200).await?;
    let own = live(world.gateway()?.connections(), |connection| {
        matches!(&connection.peer, Peer::Psk(peer)
            if peer.identity == keyed.key.identity && peer.version == PskVersion::Tls13)
    });
    ensure!(own == 1, "{own} sessions were opened by the key");
    let headers = world.api()?.last()?.headers;
    ensure!(
        header_of(&headers, INVOKER) == keyed.bare.id,
        "the gateway did not say who calls"
    );
    Ok(format!(
        "TLS {} by {}, without a certificate; the API was told that {} calls",
        keyed.key.version, keyed.key.identity, keyed.bare.id
    ))
}

async fn wrong_keys(world: &World) -> anyhow::Result<String> {
    let count = world.api()?.count();
    let own = &world.keyed()?.key;
    let with_identity = |identity: String| PskCredential {
        identity,
        ..own.clone()
    };
    let wrong = PskCredential {
        key: Psk::new([7; 32]),
        ..own.clone()
    };
    let mut alerts = vec![alert_for_nobody(world).await?];
    for key in [
        wrong,
        with_identity(own.identity.to_lowercase()),
        with_identity("Client_identity".to_owned()),
    ] {
        alerts.push(alert(world, &key).await?);
    }
    alerts.dedup();
    let [alert] = alerts.as_slice() else {
        bail!(
            "the alerts tell which identities there are: {}",
            alerts.join(" / ")
        );
    };
    ensure!(
        world.api()?.count() == count,
        "the API was asked all the same"
    );
    Ok(format!(
        "nobody's identity, somebody's with another key, and two that are none: {alert}"
    ))
}

async fn by_library(world: &World) -> anyhow::Result<String> {
    let app = world.app()?;
    let wish = Wish {
        preferred: vec![SecurityMethod::Psk],
        ..Wish::at(world.gateway()?.aef_id().clone())
    };
    app.negotiate(&[wish]).await?;
    ensure!(
        method_of(app) == Some(SecurityMethod::Psk),
        "PSK was not selected"
    );
    call(app).await?.with(200)?;
    let headers = world.api()?.last()?.headers;
    ensure!(
        header_of(&headers, INVOKER) == app.id().as_str(),
        "the gateway did not say who calls"
    );
    let key = key_of(app)?;
    ensure!(
        key.version == Some(PskVersion::Tls13),
        "it is used in another version of TLS"
    );
    Ok(format!(
        "{} by profile {}, for {}: 200 over TLS 1.3",
        key.identity, key.profile, key.interface
    ))
}

fn key_of(app: &Invoker) -> anyhow::Result<capif_client::AgreedKey> {
    let mut agreements = app.agreements().into_iter();
    agreements
        .find_map(|agreement| agreement.psk)
        .context("there is no key")
}

async fn check_authentication(world: &World) -> anyhow::Result<String> {
    let idle = world.enrol_bare(&[WEATHER]).await?;
    let known = [
        world.keyed()?.bare.id.as_str(),
        world.app()?.id().as_str(),
        &idle.id,
    ];
    let mut answers = Vec::new();
    for id in known.into_iter().chain([NOBODY]) {
        let said = world
            .to_gateway(None)?
            .post("/aef-security/v1/check-authentication")
            .json(&json!({ "apiInvokerId": id, "supportedFeatures": "0" }))
            .expect(200)
            .await?;
        let mut headers = said.headers.clone();
        headers.remove(header::DATE);
        answers.push((headers, said.body));
    }
    answers.dedup();
    let [(_, answer)] = answers.as_slice() else {
        bail!("the answers tell whom the AEF knows");
    };
    let detail = format!(
        "by PSK, without a method, and one that there is not: 200 {}",
        String::from_utf8_lossy(answer)
    );
    world.operator().delete("invokers", &idle.id).await?;
    Ok(detail)
}

/// A member of an object that must be a text.
fn member<'a>(object: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    object
        .get(name)
        .and_then(Value::as_str)
        .with_context(|| format!("{name} is missing"))
}

use clap::{CommandFactory, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Command, ErrorKind> {
    Cli::try_parse_from(line.split_whitespace())
        .map(|cli| cli.command)
        .map_err(|error| error.kind())
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_quickstart_is_understood() {
    for line in [
        "capif init",
        "capif serve",
        "capif provider add acme",
        "capif gateway --bundle acme.bundle --api weather --upstream http://127.0.0.1:9000",
        "capif invite --api weather",
        "capif call --code CODE GET /weather/v1/today",
        "capif call GET /weather/v1/today",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn everything_else_that_is_promised_is_understood() {
    for line in [
        "capif init --dir /srv/capif",
        "capif serve --dir /srv/capif",
        "capif config check --dir /srv/capif",
        "capif provider add acme --out /tmp/a.bundle --dir d",
        "capif provider list --output json",
        "capif provider remove DOM1",
        "capif gateway --dir d --api a --upstream http://b --version v2 --methods pki,OAUTH --listen 127.0.0.1:0 \
         --address gw.example:443 --strip",
        "capif gateway --dir d --api a --upstream http://b --methods PSK --psk-tls 1.2 --oauth-mutual-tls \
         --interface CAPIF-2 --join --stale-after 5",
        "capif gateway --dir d --api a --upstream http://b --oauth-mutual-tls=false",
        "capif api methods weather PSK,PKI --dir d",
        "capif api methods weather --dir d --output json",
        "capif invite",
        "capif invite --api a --api b --minutes 5 --output json --out d",
        "capif invite --token-file - --expires-minutes 5",
        "capif invite --token-sha256 0000000000000000000000000000000000000000000000000000000000000000 --expires-minutes 5",
        "capif call --code - --dir d -H a:b --header c:d --data @file POST /weather/v1/x",
        "capif call -d -1 PUT /weather/v1/x",
        "capif invoker onboard --code CODE --api a --information text --output json",
        "capif invoker onboard --address ccf:1 --ca f --credential g",
        "capif invoker discover --api a --output json",
        "capif invoker negotiate --api a --methods OAUTH",
        "capif invoker token --api a --output json",
        "capif invoker offboard --dir d",
        "capif invoker status --output json",
        "capif list invokers",
        "capif list apis --output json",
        "capif list contexts --output table",
        "capif list events",
        "capif list logs --aef AEF1 --after AEF1/1",
        "capif list providers",
        "capif list alarms --output json",
        "capif policy set --api a --total 100 --per-second 5",
        "capif policy set --api-id API1 --invoker INV1 --total 0 --reset --dir d",
        "capif policy set --api a --from 2026-01-31T08:00:00Z --to 2026-01-31T12:00:00Z --from 2026-02-01T08:00:00Z \
         --to 2026-02-01T12:00:00+01:00",
        "capif policy set --api a --invoker INV1 --unlimited",
        "capif policy list",
        "capif policy list --api a --output json",
        "capif policy remove --api a",
        "capif policy remove --api-id API1 --invoker INV1",
        "capif revoke INV1",
        "capif revoke INV1 --api a",
        "capif revoke INV1 --api-id API1 --dir d",
        "capif permit INV1 --api a",
        "capif permit INV1",
        "capif offboard INV1",
        "capif renew INV1 AEF1 DOM1",
        "capif renew --provider acme --within 12h --dir d",
        "capif renew --all --compromise --within 7d",
        "capif list renewals --output json",
        "capif list expiring --within 30d",
        "capif list offboarded",
        "capif policy logs set --api a --hours 24",
        "capif policy logs set --api-id API1 --hours 24 --dir d",
        "capif policy logs list --output json",
        "capif policy logs remove --api a",
        "capif list subscriptions --output json",
        "capif list notifications",
        "capif list logs --api a --invoker INV1 --result 500 --from 2026-01-31T08:00:00Z --to 2026-01-31T12:00:00Z",
        "capif list logs --api-id API1",
        "capif operator add amy",
        "capif operator add amy --read-only --days 7 --dir d",
        "capif operator list --output json",
        "capif operator remove amy --dir d",
        "capif offboard INV1 --operator-url https://ccf:8482 --operator-token-file t --operator-ca root.pem",
        "capif operator list --operator-url https://ccf:8482 --operator-token-file t",
        "capif audit verify",
        "capif audit verify --head 0000000000000000000000000000000000000000000000000000000000000000 --dir d",
        "capif audit verify --file trail.jsonl",
        "capif audit list --since 2026-01-31T08:00:00Z --subject INV1 --output json",
        "capif audit head --dir d",
        "capif demo",
        "capif demo --output ndjson",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn mistakes_are_refused() {
    for line in [
        "capif frobnicate",
        "capif gateway --api a --upstream http://b",
        "capif gateway --bundle f --api a --upstream http://b --methods BASIC",
        "capif gateway --bundle f --api a --upstream http://b --psk-tls 1.1",
        "capif gateway --bundle f --api a --upstream http://b --stale-after 0",
        "capif gateway --bundle f --api a --upstream http://b --interface CAPIF-3",
        "capif api methods weather PSK,BASIC --dir d",
        "capif api methods weather PSK",
        "capif invite --minutes 0",
        "capif invite --token-file f",
        "capif invite --token-sha256 abc --expires-minutes 5",
        "capif invite --token-file f --minutes 5 --expires-minutes 5",
        "capif call GET",
        "capif call GET weather/v1/today",
        "capif call GET https://gw.example/weather/v1/today",
        "capif provider add ../acme",
        "capif invoker onboard",
        "capif invoker onboard --address ccf:1",
        "capif invoker onboard --code c --address ccf:1 --ca f --credential g",
        "capif list everything",
        "capif list policies",
        "capif policy set --total 1",
        "capif policy set --api a",
        "capif policy set --api a --api-id API1 --total 1",
        "capif policy set --api a --reset",
        "capif policy set --api a --total -1",
        "capif policy set --api a --total 1 --unlimited",
        "capif policy set --api a --per-second 0",
        "capif policy set --api a --from tomorrow",
        "capif policy set --api a --invoker a/b --total 1",
        "capif policy remove",
        "capif revoke",
        "capif revoke a/b",
        "capif revoke INV1 --api a --api-id API1",
        "capif permit",
        "capif offboard",
        "capif renew",
        "capif renew --compromise",
        "capif renew a/b",
        "capif renew INV1 --all",
        "capif renew --all --provider acme",
        "capif renew --all --within soon",
        "capif policy logs set --api a",
        "capif policy logs set --api a --hours 0",
        "capif list logs --from noon",
        "capif operator",
        "capif operator add",
        "capif operator add amy --operator-url https://ccf:8482",
        "capif operator remove amy --operator-url https://ccf:8482",
        "capif serve --operator-url https://ccf:8482",
        "capif audit",
        "capif audit verify --head abc",
        "capif audit verify --file f --dir d",
        "capif audit list --since yesterday",
        "capif approve",
        "capif reject",
        "capif hide weather",
        "capif sidecar --listen here",
        "capif account password",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn help_is_no_mistake() {
    for line in ["capif --help", "capif call --help", "capif --version"] {
        let error = Cli::try_parse_from(line.split_whitespace()).unwrap_err();
        assert!(!error.use_stderr(), "{line}");
    }
    let error = Cli::try_parse_from(["capif", "list", "nothing"]).unwrap_err();
    assert!(error.use_stderr());
}

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
        "capif offboard INV1",
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
        "capif gateway --bundle f --api a --upstream http://b --methods PSK",
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
        "capif offboard",
        "capif approve INV1",
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

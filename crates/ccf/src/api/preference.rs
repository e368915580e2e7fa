//! What the sender of an update prefers to be told of it: everything, as always, or nothing (RFC 7240 section 4.2).

use capif_transport::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::no_content;

const PREFER: &str = "prefer";
const APPLIED: &str = "preference-applied";
const MINIMAL: &str = "return=minimal";

/// Marks an answer with something in it that its receiver learns in no other way: it is given whole, whatever was preferred.
#[derive(Clone, Copy, Debug)]
struct Needed;

/// Marks an answer, if it `tells` something that its receiver learns in no other way.
pub(super) fn whole_if(tells: bool, mut response: Response<Body>) -> Response<Body> {
    if tells {
        response.extensions_mut().insert(Needed);
    }
    response
}

/// Whether `return=minimal` is preferred. What stands there twice counts as it stands first (RFC 7240 section 2).
pub(super) fn is_minimal(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut preferences = texts.flat_map(|text| text.split(','));
    let wanted = preferences.find_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=')?;
        let is_return = name.trim().eq_ignore_ascii_case("return");
        is_return.then(|| value.trim().trim_matches('"'))
    });
    wanted == Some("minimal")
}

/// The answer to an update for somebody who prefers not to be told: 204, unless it is more than what was asked for.
pub(super) fn minimal(response: Response<Body>) -> Response<Body> {
    if response.status() != StatusCode::OK || response.extensions().get::<Needed>().is_some() {
        return response;
    }
    let mut response = no_content();
    response
        .headers_mut()
        .insert(APPLIED, HeaderValue::from_static(MINIMAL));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        is_minimal(&headers)
    }

    #[test]
    fn the_first_wish_counts() {
        for values in [
            vec!["return=minimal"],
            vec!["Return = \"minimal\""],
            vec!["respond-async, return=minimal; foo=bar", "wait=10"],
            vec!["wait=10", "return=minimal"],
            vec!["return=minimal, return=representation"],
        ] {
            assert!(wanted(&values), "{values:?}");
        }
        for values in [
            vec![],
            vec!["return=representation"],
            vec!["return"],
            vec!["return=representation", "return=minimal"],
            vec!["minimal"],
            vec!["x; return=minimal"],
            vec!["=,;="],
        ] {
            assert!(!wanted(&values), "{values:?}");
        }
    }

    #[test]
    fn what_is_needed_and_what_waits_is_answered_in_full() {
        let of = |status| {
            let mut response = no_content();
            *response.status_mut() = status;
            response
        };
        let answer = minimal(of(StatusCode::OK));
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()[APPLIED], MINIMAL);
        for response in [of(StatusCode::ACCEPTED), whole_if(true, of(StatusCode::OK))] {
            let status = response.status();
            assert_eq!(minimal(response).status(), status);
        }
        let answer = minimal(whole_if(false, of(StatusCode::OK)));
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
}

//! What schemas ask beyond the type of each member: lists that may not be empty, members that exclude each other, patterns.
//!
//! Parsing does not ask for these, so that an answer of a peer can be read even if it is careless; whoever takes a request
//! calls [`Checked::check`] on it. Rules that need to know more than the document belong to the procedures.

use crate::common::Uri;

/// How long one text of a request may be, in octets.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A type whose schema asks more than types can say.
pub trait Checked {
    /// Checks the rules of the schema.
    ///
    /// # Errors
    /// Names the first member that breaks one.
    fn check(&self) -> Result<(), Violation>;
}

/// A rule of a schema was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {reason}")]
pub struct Violation {
    /// The culprit, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What the schema asks, without any value of the document.
    pub reason: String,
}

impl Violation {
    /// Names a culprit.
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            reason: reason.into(),
        }
    }

    /// The same violation, seen from the object that holds the culprit's object as `member`.
    fn within(self, member: &str) -> Self {
        Self {
            pointer: format!("/{member}{}", self.pointer),
            reason: self.reason,
        }
    }
}

impl<T: Checked> Checked for Option<T> {
    fn check(&self) -> Result<(), Violation> {
        self.as_ref().map_or(Ok(()), Checked::check)
    }
}

/// Checks the value of a member, if there is one.
pub(crate) fn inside<T: Checked>(member: &str, value: &T) -> Result<(), Violation> {
    value.check().map_err(|violation| violation.within(member))
}

/// Checks a list that may be absent but not empty, and each of its items.
pub(crate) fn list<'a, T: Checked + 'a>(
    member: &str,
    items: impl Into<Option<&'a Vec<T>>>,
) -> Result<(), Violation> {
    let items = items.into();
    not_empty(member, items)?;
    for (index, item) in items.into_iter().flatten().enumerate() {
        item.check()
            .map_err(|violation| violation.within(&format!("{member}/{index}")))?;
    }
    Ok(())
}

/// Checks that a list is absent or holds something.
pub(crate) fn not_empty<'a, T: 'a>(
    member: &str,
    items: impl Into<Option<&'a Vec<T>>>,
) -> Result<(), Violation> {
    match items.into() {
        Some(items) if items.is_empty() => Err(Violation::new(
            format!("/{member}"),
            format!("`{member}` holds at least one item, or is left out"),
        )),
        _ => Ok(()),
    }
}

/// Checks that one of some members is there and no other.
pub(crate) fn exactly_one(members: &[(&str, bool)]) -> Result<(), Violation> {
    if members.iter().filter(|(_, there)| *there).count() == 1 {
        return Ok(());
    }
    Err(Violation::new(
        "",
        format!("exactly one of {} is given", names(members)),
    ))
}

/// Checks that at least one of some members is there.
pub(crate) fn at_least_one(members: &[(&str, bool)]) -> Result<(), Violation> {
    if members.iter().any(|(_, there)| *there) {
        return Ok(());
    }
    Err(Violation::new(
        "",
        format!("at least one of {} is given", names(members)),
    ))
}

fn names(members: &[(&str, bool)]) -> String {
    let names: Vec<String> = members
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    names.join(", ")
}

/// Checks that a text is not longer than [`TEXT_BYTES_MAX`].
pub(crate) fn bounded<'a>(
    member: &str,
    text: impl Into<Option<&'a String>>,
) -> Result<(), Violation> {
    match text.into() {
        Some(text) if text.len() > TEXT_BYTES_MAX => Err(Violation::new(
            format!("/{member}"),
            format!("`{member}` holds at most {TEXT_BYTES_MAX} octets"),
        )),
        _ => Ok(()),
    }
}

/// Checks the URI at which a requester wants to be called back: absolute and with an authority, without query, fragment and
/// user information (TS 29.122 clause 5.2.4.3).
pub(crate) fn callback<'a>(member: &str, uri: impl Into<Option<&'a Uri>>) -> Result<(), Violation> {
    let mistake = uri.into().and_then(|uri| callback_mistake(uri.as_str()));
    mistake.map_or(Ok(()), |reason| {
        Err(Violation::new(
            format!("/{member}"),
            format!("`{member}` {reason}"),
        ))
    })
}

fn callback_mistake(uri: &str) -> Option<&'static str> {
    if uri.len() > TEXT_BYTES_MAX {
        return Some("is too long");
    }
    // RFC 3986 section 2 leaves visible ASCII alone; what a parser further on would drop or mend is refused here.
    let strange = |byte: u8| !byte.is_ascii_graphic() || br#""<>\^`{|}"#.contains(&byte);
    if uri.bytes().any(strange) {
        return Some("holds characters that no URI may hold");
    }
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Some("must be an absolute URI with an authority, like https://host/path");
    };
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !named {
        return Some("must begin with a scheme, like https");
    }
    if rest.contains('#') {
        return Some("may not have a fragment");
    }
    if rest.contains('?') {
        return Some("may not have a query");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Some("may not have user information");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    if !is_host(host) {
        return Some("must name a host");
    }
    if !port.is_empty() && (port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Some("must have a port between 0 and 65535");
    }
    None
}

/// Whether a text can stand for a host: an IPv6 address in brackets, or a name or IPv4 address.
fn is_host(text: &str) -> bool {
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
        }
    }
}

#[cfg(test)]
mod tests;

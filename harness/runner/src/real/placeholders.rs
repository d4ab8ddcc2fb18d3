//! The placeholders of a manifest's commands.

use std::net::SocketAddr;
use std::path::Path;

/// Values by placeholder name, without braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placeholders(Vec<(String, String)>);

impl Placeholders {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// These and one more; a later one of the same name wins.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        self
    }

    /// These and a path.
    #[must_use]
    pub fn with_path(self, name: &str, path: &Path) -> Self {
        self.with(name, path.display().to_string())
    }

    /// These and `server.host`, `server.port`, `server.uri`.
    #[must_use]
    pub fn with_server(self, server: SocketAddr) -> Self {
        self.with("server.host", server.ip().to_string())
            .with("server.port", server.port().to_string())
            .with("server.uri", format!("coap://{server}"))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A text with its placeholders filled in. What stands in braces and is no placeholder stays, so that JSON and shell
/// can be written in a manifest; what a value contains is not filled in again.
#[must_use]
pub fn fill(text: &str, values: &Placeholders) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        let inner = &rest[open + 1..];
        match inner
            .find('}')
            .and_then(|close| Some((close, values.get(&inner[..close])?)))
        {
            Some((close, value)) => {
                filled.push_str(value);
                rest = &inner[close + 1..];
            }
            None => {
                filled.push('{');
                rest = inner;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Placeholders {
        Placeholders::new()
            .with("endpoint", "dev-1")
            .with("state", "/tmp/{endpoint}")
            .with_server("127.0.0.1:5683".parse().unwrap())
    }

    #[test]
    fn every_placeholder_is_filled_in_wherever_it_stands() {
        let filled = fill(
            "-e{endpoint} {server.host}:{server.port} {server.uri}/{endpoint}",
            &values(),
        );
        assert_eq!(filled, "-edev-1 127.0.0.1:5683 coap://127.0.0.1:5683/dev-1");
    }

    #[test]
    fn other_braces_stay_and_values_are_taken_as_they_are() {
        assert_eq!(
            fill(r#"{"ep":"{endpoint}"} ${HOME} {"#, &values()),
            r#"{"ep":"dev-1"} ${HOME} {"#
        );
        assert_eq!(fill("{state}", &values()), "/tmp/{endpoint}");
    }

    #[test]
    fn an_ipv6_server_is_bracketed_in_the_uri_alone() {
        let values = Placeholders::new().with_server("[::1]:5683".parse().unwrap());
        assert_eq!(fill("{server.uri} {server.host}", &values), "coap://[::1]:5683 ::1");
    }

    #[test]
    fn a_later_value_wins() {
        assert_eq!(fill("{a}", &Placeholders::new().with("a", "1").with("a", "2")), "2");
    }
}

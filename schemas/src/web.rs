//! Addresses of other people's servers: a URL and a mail host, valid by construction.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const URL_MAX: usize = 512;

/// Why a text is no address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    #[error("url: has to begin with https://, or with http:// for the broker's own host")]
    Scheme,
    #[error("url: at most {URL_MAX} printable ASCII characters, without spaces, quotes, braces and #")]
    Characters,
    #[error("url or host: no host name or address; a user does not belong there")]
    Host,
    #[error("url or host: a port is a number from 1 to 65535")]
    Port,
}

/// `https://host[:port]/path?query`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebUrl {
    pub tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// With the query; `/` at least.
    pub path: String,
}

impl WebUrl {
    /// Scheme, host and, where it is not the scheme's own, the port.
    pub fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// As in a `Host` header.
    pub fn authority(&self) -> String {
        let host = bracketed(&self.host);
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The same server, another path.
    pub fn at(&self, path: String) -> Self {
        Self { path, ..self.clone() }
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

impl From<WebUrl> for String {
    fn from(url: WebUrl) -> Self {
        url.to_string()
    }
}

impl FromStr for WebUrl {
    type Err = WebError;

    fn from_str(text: &str) -> Result<Self, WebError> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(WebError::Scheme),
        };
        let allowed = |b: u8| b.is_ascii_graphic() && !br##""<>\^`{|}#"##.contains(&b);
        if text.len() > URL_MAX || !text.bytes().all(allowed) {
            return Err(WebError::Characters);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, port) = split_port(authority)?;
        Ok(Self { tls, host, port: port.unwrap_or(if tls { 443 } else { 80 }), path })
    }
}

impl TryFrom<String> for WebUrl {
    type Error = WebError;

    fn try_from(text: String) -> Result<Self, WebError> {
        text.parse()
    }
}

/// `host:port` of a mail server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailHost {
    pub host: String,
    pub port: u16,
}

impl MailHost {
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for MailHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(&self.host), self.port)
    }
}

impl From<MailHost> for String {
    fn from(host: MailHost) -> Self {
        host.to_string()
    }
}

impl FromStr for MailHost {
    type Err = WebError;

    fn from_str(text: &str) -> Result<Self, WebError> {
        let (host, port) = split_port(text)?;
        Ok(Self { host, port: port.ok_or(WebError::Port)? })
    }
}

impl TryFrom<String> for MailHost {
    type Error = WebError;

    fn try_from(text: String) -> Result<Self, WebError> {
        text.parse()
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// An address and no name: what a name stands for is somebody else's word.
fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn split_port(authority: &str) -> Result<(String, Option<u16>), WebError> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(WebError::Port)?)),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_six = authority.starts_with('[');
    if !(if is_six { host.parse::<std::net::Ipv6Addr>().is_ok() } else { is_host(host) }) {
        return Err(WebError::Host);
    }
    let number =
        |port: &str| port.parse::<u16>().ok().filter(|number| *number > 0 && port.bytes().all(|b| b.is_ascii_digit()));
    let port = port.map(|port| number(port).ok_or(WebError::Port)).transpose()?;
    Ok((host.to_ascii_lowercase(), port))
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numbers = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    host.len() <= 253 && host.split('.').all(label) && (!numbers || host.parse::<std::net::Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_one_form() {
        for (text, origin, path) in [
            ("https://example.com", "https://example.com", "/"),
            ("https://Example.com:443/a?b=c", "https://example.com", "/a?b=c"),
            ("https://example.com?x", "https://example.com", "/?x"),
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080", "/x"),
            ("https://[::1]:9/", "https://[::1]:9", "/"),
        ] {
            let url: WebUrl = text.parse().unwrap();
            assert_eq!((url.origin().as_str(), url.path.as_str()), (origin, path));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for wrong in [
            "",
            "example.com",
            "HTTPS://example.com",
            "https://",
            "https:///x",
            "https://a b/",
            "https://user@a/",
            "https://a:0/",
            "https://a:65536/",
            "https://a:+1/",
            "https://a/\r\nx",
            "https://a/{to}",
            "https://-a/",
            "https://1.2.3/",
            "https://[::1",
            "https://[::1]x/",
            "https://[1.2.3.4]/",
            "https://a..b/",
            "https://ä.example/",
        ] {
            assert!(wrong.parse::<WebUrl>().is_err(), "{wrong}");
        }
        assert!("mail.example.com".parse::<MailHost>().is_err());
        assert!("http://localhost/".parse::<WebUrl>().is_ok_and(|url| !url.is_loopback()), "a name is somebody's word");
        assert!("http://127.1.2.3/".parse::<WebUrl>().is_ok_and(|url| url.is_loopback()));
    }
}

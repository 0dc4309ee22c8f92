//! `LICENSE@HOST`: which server a client goes to and with which license, and the places where it may be
//! written instead of the command line, which everybody on the machine can read.

use std::fmt;
use std::net::Ipv6Addr;

use crate::license::{License, PREFIX};
use crate::names::{self, Use, bracketed};
use crate::text::{hide_secrets, parse_port, quote};

/// The tunnel port under TLS, where none is named.
pub const TLS_PORT: u16 = 9002;

/// The unencrypted tunnel port, where none is named.
pub const PLAIN_PORT: u16 = 9000;

/// Most hosts of one server.
pub const HOSTS_MAX: usize = 16;

/// A license and the hosts at which its server is reached, to be tried in turn.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerRef {
    /// The license. `Debug` shows its public name alone.
    pub license: License,
    /// Names or addresses (IPv6 without brackets), and the ports that were written behind them.
    pub hosts: Vec<(String, Option<u16>)>,
}

impl ServerRef {
    /// Reads `LICENSE@HOST[:PORT][,HOST2[:PORT]...]`, IPv6 addresses in brackets.
    ///
    /// # Errors
    /// A sentence without anything of the license in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (license, hosts) = match text.split_once('@') {
            Some((license, hosts)) => (license, Some(hosts)),
            None => (text, None),
        };
        if hosts.is_none() && !has_prefix(text) {
            return Err("a server is written LICENSE@HOST, with a license that begins with \
                `nt1`"
                .to_string());
        }
        let license = License::parse(license).map_err(|error| error.to_string())?;
        let Some(hosts) = hosts else {
            return Err("the license is good, but names no server: write LICENSE@HOST".to_string());
        };
        let hosts: Vec<_> = hosts.split(',').map(parse_host).collect::<Result<_, _>>()?;
        if hosts.len() > HOSTS_MAX {
            return Err(format!("a server has at most {HOSTS_MAX} hosts"));
        }
        // Hosts are shown, and told to resolvers.
        if hosts.iter().any(|(host, _)| host.contains(&license.text())) {
            return Err("the license stands behind the `@` as well, where the host should".to_string());
        }
        Ok(Self { license, hosts })
    }

    /// The hosts with their ports, `default` where none was written.
    pub fn addresses(&self, default: u16) -> impl Iterator<Item = (&str, u16)> {
        self.hosts.iter().map(move |(host, port)| (host.as_str(), port.unwrap_or(default)))
    }

    /// The hosts as they are written behind the `@`.
    pub fn hosts_text(&self) -> String {
        let show = |(host, port): &(String, Option<u16>)| {
            let host = bracketed(host);
            port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
        };
        self.hosts.iter().map(show).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Debug for ServerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerRef({}@{})", self.license.id(), self.hosts_text())
    }
}

/// What stands in the place of a server on a command line or in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerWord {
    /// `LICENSE@HOST` itself.
    Here(ServerRef),
    /// `@FILE`: it is in this file.
    File(String),
    /// `@-` or `-`: it comes on standard input.
    Stdin,
}

/// A place that a text is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The file at this path.
    File(&'a str),
    /// Standard input.
    Stdin,
}

impl ServerWord {
    /// Whether `word` was meant as a server: it begins with `nt1` or `@`, or is `-`. (No mapping does or
    /// is: the name `nt1.example.com` is the exception, so a dot behind the prefix tells it apart.)
    pub fn is_meant_by(word: &str) -> bool {
        word == "-" || word.starts_with('@') || (has_prefix(word) && !word[PREFIX.len()..].starts_with('.'))
    }

    /// Reads the word, not what it refers to.
    ///
    /// # Errors
    /// A sentence without anything of the license in it.
    pub fn parse(word: &str) -> Result<Self, String> {
        match (word, word.strip_prefix('@')) {
            ("-", _) | (_, Some("-")) => Ok(Self::Stdin),
            (_, Some("")) => Err("`@` needs a file behind it, or `-` for standard input".to_string()),
            (_, Some(path)) => Ok(Self::File(path.to_string())),
            (text, None) => ServerRef::parse(text).map(Self::Here),
        }
    }

    /// The server that is meant; `read` gives the text of a file or of standard input. In there, lines
    /// that are empty or begin with `#` do not count.
    ///
    /// # Errors
    /// What `read` says, or what is wrong with the text, and where it was.
    pub fn resolve(
        self,
        read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    ) -> Result<ServerRef, String> {
        let (text, place) = match &self {
            Self::Here(server) => return Ok(server.clone()),
            Self::File(path) => (read(Source::File(path))?, quote(path)),
            Self::Stdin => (read(Source::Stdin)?, "standard input".to_string()),
        };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (lines.next(), lines.next()) {
            (Some(line), None) => ServerRef::parse(line).map_err(|what| format!("in {place}: {what}")),
            (None, _) => Err(format!("in {place}: there is no LICENSE@HOST")),
            (Some(_), Some(_)) => Err(format!("in {place}: there is more than one line")),
        }
    }
}

fn has_prefix(text: &str) -> bool {
    text.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

fn parse_host(text: &str) -> Result<(String, Option<u16>), String> {
    let text = text.trim();
    let shown = quote(&hide_secrets(text));
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, port) = match rest.split_once(']') {
            Some((inner, "")) => (inner, None),
            Some((inner, rest)) if rest.starts_with(':') => (inner, Some(parse_port(&rest[1..])?)),
            _ => return Err(format!("{shown} has brackets that are not like [fd00::5]:9002")),
        };
        let address = inner.parse::<Ipv6Addr>().map_err(|_| format!("{shown} is not an IPv6 address"))?;
        return Ok((address.to_canonical().to_string(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            return Err(format!("{shown}: an IPv6 address stands in brackets, as in [fd00::5]:9002"));
        }
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (text, None),
    };
    if host.is_empty() {
        return Err("a host is missing behind the `@`".to_string());
    }
    match host.parse::<std::net::Ipv4Addr>() {
        Ok(address) => Ok((address.to_string(), port)),
        Err(_) => Ok((names::host_name(host, Use::Dial)?, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LICENSE: &str = "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq";

    #[test]
    fn servers_are_read() {
        for (hosts, read, shown) in [
            ("vps", vec![("vps", 9002)], "vps"),
            ("VPS.example.com.:443", vec![("vps.example.com", 443)], "vps.example.com:443"),
            (
                "192.0.2.1,[2001:DB8::1]:1",
                vec![("192.0.2.1", 9002), ("2001:db8::1", 1)],
                "192.0.2.1,[2001:db8::1]:1",
            ),
            ("[::1]", vec![("::1", 9002)], "[::1]"),
            ("a:1, b:2", vec![("a", 1), ("b", 2)], "a:1,b:2"),
        ] {
            let server = ServerRef::parse(&format!("{LICENSE}@{hosts}\n")).expect(hosts);
            assert_eq!(server.license.text(), LICENSE);
            assert_eq!(server.addresses(TLS_PORT).collect::<Vec<_>>(), read);
            assert_eq!(server.hosts_text(), shown);
            assert_eq!(ServerRef::parse(&format!("{LICENSE}@{shown}")), Ok(server.clone()));
            assert_eq!(format!("{server:?}"), format!("ServerRef(0001020304050607@{shown})"));
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_the_license() {
        let many = format!("{LICENSE}@{}", ["a"; 17].join(","));
        for (text, what) in [
            ("", "a server is written LICENSE@HOST, with a license that begins with `nt1`"),
            ("vps", "a server is written LICENSE@HOST, with a license that begins with `nt1`"),
            ("me@vps", "a license begins with `nt1`, this does not"),
            ("@vps", "the license is empty"),
            ("LICENSE", "the license is good, but names no server: write LICENSE@HOST"),
            ("LICENSE@", "a host is missing behind the `@`"),
            ("LICENSE@a,", "a host is missing behind the `@`"),
            ("LICENSE@:9002", "a host is missing behind the `@`"),
            ("LICENSE@a:0", "port `0` is not in 1..65535"),
            ("LICENSE@a_b c", "name `a_b c` contains ' ': a name has letters, digits and hyphens"),
            ("LICENSE@LICENSE x", "name `nt1... x` contains ' ': a name has letters, digits and hyphens"),
            ("LICENSE@LICENSE", "the license stands behind the `@` as well, where the host should"),
            ("LICENSE@fd00::1", "`fd00::1`: an IPv6 address stands in brackets, as in [fd00::5]:9002"),
            ("LICENSE@[fd00::1", "`[fd00::1` has brackets that are not like [fd00::5]:9002"),
            ("LICENSE@[vps]", "`[vps]` is not an IPv6 address"),
            ("LICENSEa@vps", "a license has 55 characters, this has 56: there are too many"),
            (&many, "a server has at most 16 hosts"),
        ] {
            let error = ServerRef::parse(&text.replace("LICENSE", LICENSE)).expect_err(text);
            assert_eq!(error, what);
        }
    }

    #[test]
    fn words_refer_to_places() {
        for (word, meant) in [
            ("-", true),
            ("@x", true),
            ("nt1", true),
            ("NT1a@b", true),
            ("nt1.example.com:80", false),
            ("8080", false),
            ("", false),
            ("é", false),
        ] {
            assert_eq!(ServerWord::is_meant_by(word), meant, "{word}");
        }
        let good = format!("# nas\n\n {LICENSE}@vps \r\n");
        let mut asked = Vec::new();
        let mut read = |source: Source<'_>| {
            asked.push(format!("{source:?}"));
            Ok(good.clone())
        };
        for word in ["@/x", "@-", "-"] {
            let server = ServerWord::parse(word).expect(word).resolve(&mut read).expect(word);
            assert_eq!(server.hosts_text(), "vps");
        }
        assert_eq!(asked, ["File(\"/x\")", "Stdin", "Stdin"]);
        for (text, error) in [
            ("", "in `x`: there is no LICENSE@HOST".to_string()),
            ("a\nb", "in `x`: there is more than one line".to_string()),
            (LICENSE, "in `x`: the license is good, but names no server: write LICENSE@HOST".to_string()),
        ] {
            let word = ServerWord::parse("@x").expect("a word");
            assert_eq!(word.resolve(&mut |_| Ok(text.to_string())), Err(error));
        }
        let word = ServerWord::parse("@x").expect("a word");
        assert_eq!(word.resolve(&mut |_| Err("no such file".to_string())), Err("no such file".to_string()));
        assert!(ServerWord::parse("@").is_err());
    }
}

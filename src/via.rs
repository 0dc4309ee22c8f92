//! A proxy that a client dials out through: HTTP CONNECT (RFC 9110 section 9.3.6, with Basic of RFC 7617) or SOCKS5
//! (RFC 1928, with user and password of RFC 1929). The proxy looks the server's name up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::names::{self, Use, bracketed};
use crate::reason::Reason;
use crate::text::{base64, parse_port};

/// A proxy. `Debug` and `Display` leave its password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Via {
    scheme: Scheme,
    /// A name or an address, IPv6 without brackets, and a port.
    place: (String, u16),
    /// User and password.
    login: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Socks5,
}

impl Scheme {
    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5 => "socks5",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.word(), authority(&self.place.0, self.place.1))
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Via({self})")
    }
}

/// Most bytes of a user's name, and of a password (RFC 1929 section 2).
const LOGIN_BYTES_MAX: usize = 255;
/// Most bytes of an answer of HTTP, up to its body.
const ANSWER_BYTES_MAX: usize = 8192;

impl Via {
    /// Reads `http://[USER:PASSWORD@]HOST:PORT` or `socks5://...`, IPv6 addresses in brackets.
    ///
    /// # Errors
    /// A sentence that repeats nothing of user or password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = "a proxy is written http://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ before HOST \
                    where it asks for them";
        let scheme = [Scheme::Http, Scheme::Socks5];
        let split = |scheme: &Scheme| Some((*scheme, text.strip_prefix(scheme.word())?.strip_prefix("://")?));
        let (scheme, rest) = scheme.iter().find_map(split).ok_or(form)?;
        let (login, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, place)) => {
                let (user, password) = login.split_once(':').ok_or(form)?;
                let fits = |word: &str| (1..=LOGIN_BYTES_MAX).contains(&word.len());
                let clean = |word: &str| fits(word) && !word.chars().any(char::is_control);
                if !clean(user) || !clean(password) {
                    return Err(format!(
                        "a proxy's user and password have 1 to {LOGIN_BYTES_MAX} bytes each, no control characters"
                    ));
                }
                (Some((user.to_owned(), password.to_owned())), place)
            }
        };
        let (host, port) = place.trim_end_matches('/').rsplit_once(':').ok_or(form)?;
        // Where the host was forgotten, this is the password.
        let port = parse_port(port).map_err(|_| form)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => inner.to_owned(),
            Some(_) => return Err(form.to_owned()),
            None if host.parse::<Ipv4Addr>().is_ok() => host.to_owned(),
            None => names::host_name(host, Use::Dial).map_err(|_| form)?,
        };
        Ok(Self { scheme, place: (host, port), login })
    }

    /// Where the proxy is: a name or an address, and a port.
    pub fn place(&self) -> &(String, u16) {
        &self.place
    }

    /// What is to be said to the proxy to be connected to a server: a name, or an address without brackets.
    pub fn begin(&self, host: &str, port: u16) -> Handshake {
        let state = match self.scheme {
            Scheme::Http => State::Answer,
            Scheme::Socks5 => State::Method,
        };
        Handshake { state, login: self.login.clone(), host: host.to_owned(), port }
    }
}

fn authority(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

/// A conversation with a proxy, one for each connection.
///
/// ```text
///   http:    Answer ──────────────────────────────► done
///   socks5:  Method ──► Login, if asked for ──► Reply ──► done
/// ```
pub struct Handshake {
    state: State,
    login: Option<(String, String)>,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Answer,
    Method,
    Login,
    Reply,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handshake({:?}, {})", self.state, authority(&self.host, self.port))
    }
}

/// What follows from what the proxy said.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More must come.
    Wait,
    /// So many bytes were an answer; this is to be said to it.
    Say(usize, Vec<u8>),
    /// So many bytes were the last answer: what follows is the server's.
    Done(usize),
}

impl Handshake {
    /// What is said first.
    pub fn greeting(&self) -> Vec<u8> {
        match (self.state, &self.login) {
            (State::Answer, login) => {
                let to = authority(&self.host, self.port);
                let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
                if let Some((user, password)) = login {
                    let word = base64(format!("{user}:{password}").as_bytes());
                    head.push_str(&format!("Proxy-Authorization: Basic {word}\r\n"));
                }
                head.push_str("\r\n");
                head.into_bytes()
            }
            // No login, or user and password as well.
            (_, None) => vec![5, 1, 0],
            (_, Some(_)) => vec![5, 2, 0, 2],
        }
    }

    /// Takes all that the proxy has said since the last answer.
    ///
    /// # Errors
    /// [`Reason::ProxyLogin`], [`Reason::ProxyRefused`] or [`Reason::NoProxy`].
    pub fn hear(&mut self, heard: &[u8]) -> Result<Step, Reason> {
        match self.state {
            State::Answer => answer(heard),
            State::Method => match *heard {
                [] | [5] => Ok(Step::Wait),
                [5, 0, ..] => Ok(self.ask(2)),
                [5, 2, ..] => self.log_in(),
                [5, 0xFF, ..] => Err(Reason::ProxyLogin),
                _ => Err(Reason::NoProxy),
            },
            State::Login => match *heard {
                [] | [1] => Ok(Step::Wait),
                [1, 0, ..] => Ok(self.ask(2)),
                [1, ..] => Err(Reason::ProxyLogin),
                _ => Err(Reason::NoProxy),
            },
            State::Reply => reply(heard),
        }
    }

    fn log_in(&mut self) -> Result<Step, Reason> {
        let (user, password) = self.login.as_ref().ok_or(Reason::NoProxy)?;
        self.state = State::Login;
        let mut said = vec![1];
        for word in [user, password] {
            said.push(word.len() as u8);
            said.extend(word.as_bytes());
        }
        Ok(Step::Say(2, said))
    }

    /// The request to connect, said to an answer of so many bytes.
    fn ask(&mut self, heard: usize) -> Step {
        self.state = State::Reply;
        let mut said = vec![5, 1, 0];
        match self.host.parse() {
            Ok(IpAddr::V4(ip)) => said.extend([&[1], &ip.octets()[..]].concat()),
            Ok(IpAddr::V6(ip)) => said.extend([&[4], &ip.octets()[..]].concat()),
            Err(_) => said.extend([&[3, self.host.len() as u8], self.host.as_bytes()].concat()),
        }
        said.extend(self.port.to_be_bytes());
        Step::Say(heard, said)
    }
}

fn answer(heard: &[u8]) -> Result<Step, Reason> {
    const BEGIN: &[u8] = b"HTTP/1.";
    let begun = heard.len().min(BEGIN.len());
    if heard[..begun] != BEGIN[..begun] {
        return Err(Reason::NoProxy);
    }
    let Some(end) = heard.windows(4).position(|end| end == b"\r\n\r\n") else {
        return if heard.len() < ANSWER_BYTES_MAX { Ok(Step::Wait) } else { Err(Reason::NoProxy) };
    };
    match heard[BEGIN.len()..] {
        [b'0' | b'1', b' ', b'2', b'0'..=b'9', b'0'..=b'9', b' ' | b'\r', ..] => Ok(Step::Done(end + 4)),
        // tinyproxy says 401 where the password is wrong.
        [_, b' ', b'4', b'0', b'1' | b'7', ..] => Err(Reason::ProxyLogin),
        [_, b' ', b'3'..=b'5', b'0'..=b'9', b'0'..=b'9', ..] => Err(Reason::ProxyRefused),
        _ => Err(Reason::NoProxy),
    }
}

fn reply(heard: &[u8]) -> Result<Step, Reason> {
    if heard.first().is_some_and(|&version| version != 5) {
        return Err(Reason::NoProxy);
    }
    if heard.get(1).is_some_and(|&refused| refused != 0) {
        return Err(Reason::ProxyRefused);
    }
    let length = match (heard.get(3), heard.get(4)) {
        (None, _) | (Some(3), None) => return Ok(Step::Wait),
        (Some(1), _) => 4 + 4 + 2,
        (Some(4), _) => 4 + 16 + 2,
        (Some(3), Some(&name)) => 5 + usize::from(name) + 2,
        _ => return Err(Reason::NoProxy),
    };
    Ok(if heard.len() < length { Step::Wait } else { Step::Done(length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> Via {
        Via::parse(text).unwrap_or_else(|what| panic!("{text}: {what}"))
    }

    #[test]
    fn proxies_are_read_and_shown_without_their_password() {
        let proxy = via("socks5://me:hunter:2@[2001:db8::1]:1080");
        assert_eq!(proxy.place(), &("2001:db8::1".into(), 1080));
        assert_eq!(proxy.login, Some(("me".into(), "hunter:2".into())));
        assert_eq!(proxy.to_string(), "socks5://[2001:db8::1]:1080");
        assert!(!format!("{proxy:?}{:?}", proxy.begin("a", 1)).contains("hunter"));
        assert_eq!(via("http://Proxy.example:3128/").place(), &("proxy.example".into(), 3128));
        assert_eq!(via("socks5://10.0.0.7:9").place(), &("10.0.0.7".into(), 9));
        for bad in [
            "proxy:3128",
            "ftp://a:1",
            "http://a",
            "http://a:0",
            "http://hunter2@a:1",
            "socks5://:x@a:1",
            "http://[a]:1",
            "http://me:hunter2",
            "http://me:hunter2:a:1",
        ] {
            let what = Via::parse(bad).expect_err(bad);
            assert!(!what.contains("hunter2"), "{what}");
        }
    }

    #[test]
    fn http_is_asked_to_connect() {
        let said = |text: &str, host: &str| {
            String::from_utf8(via(text).begin(host, 9002).greeting()).unwrap_or_default()
        };
        assert_eq!(
            said("http://p:1", "vps.example"),
            "CONNECT vps.example:9002 HTTP/1.1\r\nHost: vps.example:9002\r\n\r\n"
        );
        // The example of RFC 7617 section 2.
        assert!(
            said("http://Aladdin:open sesame@p:1", "::1")
                .ends_with("[::1]:9002\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n")
        );
        let hear = |heard: &[u8]| via("http://p:1").begin("a", 1).hear(heard);
        let good = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        for cut in 0..good.len() {
            assert_eq!(hear(&good[..cut]), Ok(Step::Wait), "cut at {cut}");
        }
        assert_eq!(hear(&[&good[..], b"frames"].concat()), Ok(Step::Done(good.len())));
        assert_eq!(hear(b"HTTP/1.0 204\r\n\r\n"), Ok(Step::Done(16)));
        assert_eq!(hear(b"HTTP/1.1 407 Who are you\r\n\r\n"), Err(Reason::ProxyLogin));
        assert_eq!(hear(b"HTTP/1.1 403 No\r\n\r\n"), Err(Reason::ProxyRefused));
        for bad in [&b"SSH-2.0"[..], b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2000\r\n\r\n", b"HTTP/1.1\r\n\r\n"] {
            assert_eq!(hear(bad), Err(Reason::NoProxy), "{}", bad.escape_ascii());
        }
        assert_eq!(hear(&[b"HTTP/1.1 200 ", &[b'x'; ANSWER_BYTES_MAX][..]].concat()), Err(Reason::NoProxy));
    }

    #[test]
    fn socks_is_asked_to_connect() {
        let mut plain = via("socks5://p:1").begin("vps.example", 9002);
        assert_eq!(plain.greeting(), [5, 1, 0]);
        assert_eq!(plain.hear(&[5]), Ok(Step::Wait));
        let asked = [&[5, 1, 0, 3, 11][..], b"vps.example", &[0x23, 0x2A]].concat();
        assert_eq!(plain.hear(&[5, 0]), Ok(Step::Say(2, asked)));
        let reply = [5, 0, 0, 1, 10, 0, 0, 1, 0x12, 0x34];
        for cut in 0..reply.len() {
            assert_eq!(plain.hear(&reply[..cut]), Ok(Step::Wait), "cut at {cut}");
        }
        assert_eq!(plain.hear(&[&reply[..], b"frames"].concat()), Ok(Step::Done(10)));
        assert_eq!(plain.hear(&[&[5, 0, 0, 3, 2][..], b"ab", &[0, 1]].concat()), Ok(Step::Done(9)));
        assert_eq!(plain.hear(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]), Err(Reason::ProxyRefused));

        let mut known = via("socks5://me:secret@p:1").begin("10.0.0.7", 80);
        assert_eq!(known.greeting(), [5, 2, 0, 2]);
        assert_eq!(known.hear(&[5, 2]), Ok(Step::Say(2, [&[1, 2][..], b"me", &[6], b"secret"].concat())));
        assert_eq!(known.hear(&[1, 0]), Ok(Step::Say(2, vec![5, 1, 0, 1, 10, 0, 0, 7, 0, 80])));
        let mut wrong = via("socks5://me:secret@p:1").begin("::1", 80);
        assert!(wrong.hear(&[5, 2]).is_ok());
        assert_eq!(wrong.hear(&[1, 1]), Err(Reason::ProxyLogin));
        for (heard, why) in
            [(&[5, 0xFF][..], Reason::ProxyLogin), (&[5, 2], Reason::NoProxy), (b"HT", Reason::NoProxy)]
        {
            assert_eq!(via("socks5://p:1").begin("a", 1).hear(heard), Err(why), "{heard:?}");
        }
    }
}

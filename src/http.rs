//! HTTP/1.1 (RFC 9110, RFC 9112) as far as a tunnel must understand it: whom each request is for, and where each
//! message ends. Heads are parsed by `httparse`; what makes a message dangerous to pass on is refused here.

#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod body;
#[cfg(feature = "http")]
mod exchange;
#[cfg(not(feature = "http"))]
#[path = "left_out/http.rs"]
mod left_out;
#[cfg(feature = "http")]
mod proxied;
#[cfg(feature = "http")]
mod request;

#[cfg(feature = "http")]
pub use answer::{Answer, AnswerKind, BadAnswer};
#[cfg(feature = "http")]
pub use body::{Body, Chunk, Field, Line};
#[cfg(feature = "http")]
pub use exchange::{Answers, Asks, Ending, Exchange};
#[cfg(not(feature = "http"))]
pub use left_out::{Body, Ending, Exchange, Request};
#[cfg(feature = "http")]
pub use proxied::Proxied;
#[cfg(feature = "http")]
pub use request::{HeaderSpace, Request, header_space};

/// Two programs could read a body differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// How a visitor came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Plainly.
    Http,
    /// Over TLS, which ended here.
    Https,
}

impl Scheme {
    /// As it stands in a URI.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that goes without saying.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What nt itself answers (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The request cannot be read, or in two ways.
    BadRequest,
    /// The mapping has `auth=`, and the visitor did not say it.
    Unauthorized,
    /// The same is served over TLS alone.
    Moved,
    /// A folder was asked for without the slash at its end.
    MovedToFolder,
    /// It is there and may not be read; or a proxy does not lead there.
    Forbidden,
    /// Nobody serves this name, or this path of it.
    NotFound,
    /// Only GET and HEAD are served here.
    MethodNotAllowed,
    /// The proxy has `auth=`, and the visitor did not say it.
    ProxyLogin,
    /// What the visitor expected of it is not so (RFC 9110 section 13.1).
    PreconditionFailed,
    /// No byte of the range that was asked for is there.
    RangeNotSatisfiable,
    /// The head did not come in time.
    TimedOut,
    /// The visitor asks too often (RFC 6585 section 4).
    TooMany,
    /// The head is too long.
    HeadTooLarge,
    /// A transfer coding that nobody here knows.
    NotImplemented,
    /// The real server cannot be reached, or answered nothing that could be passed on.
    BadGateway,
    /// The client is away, or there are too many visitors.
    Unavailable,
    /// The real server did not answer in time.
    GatewayTimedOut,
    /// Not HTTP/1.
    NotThisVersion,
}

impl Status {
    /// The status line's code and phrase, and a sentence for who reads the page.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("400 Bad Request", "The request could not be understood."),
            Self::Unauthorized => ("401 Unauthorized", "A user name and password are needed here."),
            Self::Moved => ("308 Permanent Redirect", "This is served over TLS."),
            Self::MovedToFolder => ("301 Moved Permanently", "The address of a folder ends with a slash."),
            Self::Forbidden => ("403 Forbidden", "This is not for you to see."),
            Self::NotFound => ("404 Not Found", "Nothing is served under this address."),
            Self::MethodNotAllowed => ("405 Method Not Allowed", "This can be read, and nothing else."),
            Self::ProxyLogin => {
                ("407 Proxy Authentication Required", "A user name and password are needed for this proxy.")
            }
            Self::TimedOut => ("408 Request Timeout", "The request did not come in time."),
            Self::PreconditionFailed => ("412 Precondition Failed", "This is not as it was expected to be."),
            Self::RangeNotSatisfiable => ("416 Range Not Satisfiable", "There is nothing in this range."),
            Self::TooMany => ("429 Too Many Requests", "You come too often. Try again later."),
            Self::HeadTooLarge => {
                ("431 Request Header Fields Too Large", "The head of the request is too long.")
            }
            Self::NotImplemented => ("501 Not Implemented", "This transfer coding is not known here."),
            Self::BadGateway => ("502 Bad Gateway", "The service behind this address cannot be reached."),
            Self::Unavailable => ("503 Service Unavailable", "The service is not connected at the moment."),
            Self::GatewayTimedOut => ("504 Gateway Timeout", "The service did not answer in time."),
            Self::NotThisVersion => ("505 HTTP Version Not Supported", "HTTP/1.1 is spoken here."),
        }
    }

    /// Writes a whole answer with a plain page; without its body where it answers HEAD, and with the word that the
    /// connection ends where it is the `last`. `detail` is
    /// the realm for who must log in, where to for what has moved, and what there is instead of a range.
    pub fn write(self, to_head: bool, last: bool, detail: &str, out: &mut Vec<u8>) {
        let (line, sentence) = self.words();
        let page = format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>{line}</title>\
             <style>body{{font:1.1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:12vh auto;padding:0 1rem;\
             color-scheme:light dark}}</style><h1>{line}</h1><p>{sentence}</p></html>\n"
        );
        let mut head = format!(
            "HTTP/1.1 {line}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\n",
            page.len()
        );
        match self {
            Self::Unauthorized | Self::ProxyLogin => {
                let who = if self == Self::Unauthorized { "WWW" } else { "Proxy" };
                head.push_str(&format!(
                    "{who}-Authenticate: Basic realm=\"{detail}\", charset=\"UTF-8\"\r\n"
                ));
            }
            Self::Moved | Self::MovedToFolder => head.push_str(&format!("Location: {detail}\r\n")),
            Self::MethodNotAllowed => head.push_str("Allow: GET, HEAD\r\n"),
            Self::RangeNotSatisfiable => head.push_str(&format!("Content-Range: {detail}\r\n")),
            Self::Unavailable => head.push_str("Retry-After: 5\r\n"),
            _ => {}
        }
        head.push_str(if last { "Connection: close\r\n\r\n" } else { "\r\n" });
        out.extend_from_slice(head.as_bytes());
        if !to_head {
            out.extend_from_slice(page.as_bytes());
        }
    }
}

/// A Content-Length: digits alone (RFC 9110 section 8.6), and no more than can be counted.
#[cfg(feature = "http")]
fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok())?
}

//! The operator's door: HTTP on a Unix socket, and on a port of loopback for who knows the token.
//!
//! ```text
//!              a whole request                  meters read, files changed         all of it has left
//!   Listening ─────────────────► Asked ───────────────────────────► Answering ─────────────────────► Listening
//! ```
//!
//! What is asked is the [`api`](crate::api)'s, what is seen [`super::report`]'s. Before anything is shown, the meters
//! are read, so that it is true.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Channel, Server};
use crate::api::{self, Call, Refusal, View};
use crate::dashboard::{self, Part};
use crate::door::Token;
use crate::edit::{Edited, NotEdited};
use crate::http::{Body, Request, header_space};
use crate::limits::{ADMIN_BODY_BYTES_MAX, ADMIN_MAX, ADMIN_PIECE_BYTES, ADMIN_TIMEOUT, HTTP_HEAD_BYTES_MAX};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Verb};
use crate::slots::Key;
use crate::text::alike;
use crate::time::{Span, Time};

/// A connection of the operator's.
#[derive(Debug)]
pub(super) struct Admin {
    /// What it has to say first, if anything.
    token: Option<Token>,
    peer: SocketAddr,
    heard: Vec<u8>,
    /// What is still to be said.
    left: Vec<u8>,
    stage: Stage,
    pub(super) deadline: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Listening,
    Asked(Asked),
    /// It is the last answer, perhaps.
    Answering(bool),
}

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Waits {
    /// The meters are read, for what it wants to see.
    Meters(View),
    /// The files are looked at; what holds then is kept, or tried out for so long.
    Files(Option<Span>),
    /// Whatever it asked for is done.
    Work,
}

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    waits: Waits,
    to_head: bool,
    last: bool,
}

/// An answer.
pub(super) struct Answer {
    status: u16,
    kind: &'static str,
    /// Those that not every answer has.
    headers: &'static str,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, kind, headers: dashboard::NOTHING, body: body.into() }
    }

    pub(super) fn page(part: Part) -> Self {
        Self { headers: dashboard::HEADERS, ..Self::new(200, part.kind(), part.packed()) }
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", format!("{value}\n"))
    }

    pub(super) fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    fn write(&self, to_head: bool, last: bool) -> Vec<u8> {
        let phrase = match self.status {
            200 => "OK",
            201 => "Created",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            409 => "Conflict",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            504 => "Gateway Timeout",
            _ => "Service Unavailable",
        };
        let more = match (self.status, last) {
            (401, _) => "WWW-Authenticate: Bearer realm=\"nt\"\r\nConnection: close\r\n",
            (_, true) => "Connection: close\r\n",
            (_, false) => "",
        };
        let head = format!(
            "HTTP/1.1 {} {phrase}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n{}{more}\r\n",
            self.status,
            self.kind,
            self.body.len(),
            self.headers
        );
        let body = if to_head { &[][..] } else { &self.body };
        [head.as_bytes(), body].concat()
    }
}

impl From<Refusal> for Answer {
    fn from(Refusal { status, what }: Refusal) -> Self {
        Self::json(status, &json!({ "error": what }))
    }
}

impl Server {
    /// Somebody comes to the operator's door.
    pub(super) fn admin_came(
        &mut self,
        now: Time,
        key: Key,
        peer: SocketAddr,
        token: Option<Token>,
        out: &mut Outbox<'_>,
    ) {
        if token.is_some() {
            self.make_room_at_port(out);
        }
        let deadline = now + ADMIN_TIMEOUT;
        let (heard, left) = (Vec::new(), Vec::new());
        let admin = Admin { token, peer, heard, left, stage: Stage::Listening, deadline };
        self.channels.insert(key, Channel::Admin(admin));
        self.watch(deadline);
    }

    /// Everybody on this machine can come to a port: they are not to keep the operator from the socket. Where many are
    /// there, the one that has said nothing for longest goes.
    fn make_room_at_port(&mut self, out: &mut Outbox<'_>) {
        let at_port = |channel: &Channel| match channel {
            Channel::Admin(admin) if admin.token.is_some() => Some(admin.deadline),
            _ => None,
        };
        let there = self.channels.iter().filter_map(|(key, channel)| Some((at_port(channel)?, key)));
        let there: Vec<(Time, Key)> = there.collect();
        if there.len() >= ADMIN_MAX / 2
            && let Some((_, longest)) = there.into_iter().min()
        {
            self.channels.remove(longest);
            out.close(longest, Manner::Cut);
        }
    }

    fn admin(&mut self, key: Key) -> Option<&mut Admin> {
        match self.channels.get_mut(key) {
            Some(Channel::Admin(admin)) => Some(admin),
            _ => None,
        }
    }

    pub(super) fn admin_said(&mut self, now: Time, key: Key, bytes: &[u8], out: &mut Outbox<'_>) {
        let Some(admin) = self.admin(key) else { return };
        admin.heard.extend_from_slice(bytes);
        admin.deadline = now + ADMIN_TIMEOUT;
        if admin.heard.len() > HTTP_HEAD_BYTES_MAX + ADMIN_BODY_BYTES_MAX {
            let what = format!("a body has at most {ADMIN_BODY_BYTES_MAX} bytes");
            return self.answer_last(key, Refusal::new(413, what), out);
        }
        self.hear_admin(now, key, out);
    }

    /// Nothing more will be asked: what was is still answered.
    pub(super) fn admin_ended(&mut self, key: Key, out: &mut Outbox<'_>) {
        let Some(admin) = self.admin(key) else { return };
        match &mut admin.stage {
            Stage::Asked(Asked { last, .. }) | Stage::Answering(last) => *last = true,
            Stage::Listening => {
                self.channels.remove(key);
                out.close(key, Manner::End);
            }
        }
    }

    /// Does what the next request asks for, if it is there as a whole.
    fn hear_admin(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(admin) = self.admin(key).filter(|admin| admin.stage == Stage::Listening) else { return };
        let heard = std::mem::take(&mut admin.heard);
        let mut space = header_space();
        let (request, head) = match Request::parse(&heard, &mut space) {
            Ok(None) if heard.len() > HTTP_HEAD_BYTES_MAX => {
                return self.answer_last(key, Refusal::new(431, "the head of the request is too long"), out);
            }
            Ok(None) => return admin.heard = heard,
            Err(_) => return self.answer_last(key, Refusal::new(400, "this is no request of HTTP/1.1"), out),
            Ok(Some((_, head))) if head > HTTP_HEAD_BYTES_MAX => {
                return self.answer_last(key, Refusal::new(431, "the head of the request is too long"), out);
            }
            Ok(Some(request)) => request,
        };
        let length = match request.body {
            Body::Length(length) if length <= ADMIN_BODY_BYTES_MAX as u64 => length as usize,
            Body::Length(_) => {
                let what = format!("a body has at most {ADMIN_BODY_BYTES_MAX} bytes");
                return self.answer_last(key, Refusal::new(413, what), out);
            }
            Body::Chunked(_) | Body::UntilEnd => {
                return self.answer_last(
                    key,
                    Refusal::new(501, "say how long the body is, by Content-Length"),
                    out,
                );
            }
        };
        let Some(body) = heard.get(head..head + length) else { return admin.heard = heard };
        let knows = admin.token.as_ref().is_none_or(|token| bears(&request, token));
        let call = api::call(request.method(), request.target(), body);
        let asked = Asked { waits: Waits::Work, to_head: request.is_head(), last: request.last };
        admin.heard = heard[head + length..].to_vec();
        admin.stage = Stage::Asked(asked.clone());
        match call {
            Ok(Call::View(view)) if view.is_open() || (knows && !is_foreign(&request)) => {
                admin.stage = Stage::Asked(Asked { waits: Waits::Meters(view), ..asked });
                out.push(Verb::ReadMeters);
            }
            _ if is_foreign(&request) => {
                self.answer_last(key, Refusal::new(403, "a page of another site may not ask this"), out);
            }
            _ if !knows => {
                out.note(Note::AdminRefused { peer: admin.peer });
                let what = "say who you are: Authorization: Bearer TOKEN, which stands in admin.token of the state \
                            directory";
                self.answer_last(key, Refusal::new(401, what), out);
            }
            Ok(Call::Bind(wish)) => self.bind_on_demand(now, key, &wish, out),
            Ok(Call::Edit(edit)) => match self.trial.refusal() {
                Some(refusal) => self.answer_admin(now, key, refusal.into(), out),
                None => self.edit(now, key, edit, out),
            },
            Ok(Call::Reload { confirm }) => {
                admin.stage = Stage::Asked(Asked { waits: Waits::Files(confirm), ..asked });
                out.push(Verb::ReadSettings);
            }
            Ok(Call::Cut(id)) => {
                let answer = self.cut_by_id(now, id, out);
                self.answer_admin(now, key, answer, out);
            }
            Ok(Call::View(_)) => {}
            Err(refusal) => self.answer_admin(now, key, refusal.into(), out),
        }
    }

    /// The meters have been read: whoever waits for that is shown what there is.
    pub(super) fn show_all(&mut self, now: Time, out: &mut Outbox<'_>) {
        let waits = |channel: &Channel| match channel {
            Channel::Admin(Admin {
                stage: Stage::Asked(Asked { waits: Waits::Meters(view), .. }), ..
            }) => Some(view.clone()),
            _ => None,
        };
        let waiting = self.channels.iter().filter_map(|(key, channel)| Some((key, waits(channel)?)));
        for (key, view) in waiting.collect::<Vec<_>>() {
            let answer = self.report(now, &view);
            self.answer_admin(now, key, answer, out);
        }
    }

    /// The files were looked at: whoever asked for that hears what came of it.
    pub(super) fn reloaded(&mut self, now: Time, changed: bool, out: &mut Outbox<'_>) {
        let waits = |channel: &Channel| match channel {
            Channel::Admin(Admin {
                stage: Stage::Asked(Asked { waits: Waits::Files(confirm), .. }), ..
            }) => Some(*confirm),
            _ => None,
        };
        let waiting = self.channels.iter().filter_map(|(key, channel)| Some((key, waits(channel)?)));
        for (key, confirm) in waiting.collect::<Vec<_>>() {
            let answer = self.looked_at(now, changed, confirm, out).unwrap_or_else(Answer::from);
            self.answer_admin(now, key, answer, out);
        }
    }

    fn looked_at(
        &mut self,
        now: Time,
        changed: bool,
        confirm: Option<Span>,
        out: &mut Outbox<'_>,
    ) -> Result<Answer, Refusal> {
        if let Err(why) = &self.settings_read {
            return Err(Refusal::new(409, format!("{why}; the settings of before still hold")));
        }
        if let Some(why) = self.licenses.trouble() {
            return Err(Refusal::new(409, format!("{why}; the licenses of before still hold")));
        }
        let trial = self.keep_or_try(now, confirm, out)?;
        let read = changed.then(|| format!("licenses.toml read: {} licenses", self.config.directory.len()));
        let settings = self.settings_read.clone().unwrap_or_default();
        let said: Vec<String> = settings.into_iter().chain(read).chain(trial).collect();
        let said = if said.is_empty() { "nothing has changed".to_owned() } else { said.join("; ") };
        Ok(Answer::json(200, &json!({ "message": said })))
    }

    /// The licenses were changed, or not.
    pub(super) fn edited(
        &mut self,
        now: Time,
        key: Key,
        result: Result<Box<Edited>, NotEdited>,
        out: &mut Outbox<'_>,
    ) {
        let answer = match result {
            Ok(edited) => {
                let Edited { entry, license, what } = *edited;
                // What is in the file now holds before anybody asks for it.
                out.push(Verb::LookAround);
                let mut value = json!({ "message": what });
                if let Some(entry) = entry {
                    value["license"] = self.license_report(&entry);
                }
                let made = license.is_some();
                if let Some(license) = license {
                    value["text"] = Value::String(license.text());
                }
                Answer::json(if made { 201 } else { 200 }, &value)
            }
            Err(NotEdited { setting, what }) => {
                let what = setting.map_or_else(|| what.clone(), |setting| format!("`{setting}`: {what}"));
                Refusal::new(if what.starts_with("there is no license") { 404 } else { 409 }, what).into()
            }
        };
        self.answer_admin(now, key, answer, out);
    }

    fn cut_by_id(&mut self, now: Time, id: u64, out: &mut Outbox<'_>) -> Answer {
        let is_it =
            |key: Key, channel: &Channel| key.token() as u64 == id && matches!(channel, Channel::Visitor(_));
        let found = self.channels.iter().find(|(key, channel)| is_it(*key, channel)).map(|(key, _)| key);
        match found {
            Some(visitor) => {
                self.end_visit(now, visitor, Reason::CutByOperator, out);
                Answer::json(200, &json!({ "message": "The visitor is cut." }))
            }
            None => Refusal::new(404, "there is no such visitor any more").into(),
        }
    }

    pub(super) fn answer_admin(&mut self, now: Time, key: Key, answer: Answer, out: &mut Outbox<'_>) {
        let Some(admin) = self.admin(key) else { return };
        let Stage::Asked(Asked { to_head, last, .. }) = admin.stage else { return };
        admin.left = answer.write(to_head, last);
        (admin.stage, admin.deadline) = (Stage::Answering(last), now + ADMIN_TIMEOUT);
        self.go_on_saying(now, key, out);
    }

    /// An answer, and the end: nobody knows what would follow.
    fn answer_last(&mut self, key: Key, refusal: Refusal, out: &mut Outbox<'_>) {
        out.send_bytes(key, &Answer::from(refusal).write(false, true));
        out.close(key, Manner::End);
        self.channels.remove(key);
    }

    /// Says as much as surely fits; when that has left, what follows.
    pub(super) fn go_on_saying(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(admin) = self.admin(key) else { return };
        let Stage::Answering(last) = admin.stage else { return };
        if !admin.left.is_empty() {
            let rest = admin.left.split_off(admin.left.len().min(ADMIN_PIECE_BYTES));
            let piece = std::mem::replace(&mut admin.left, rest);
            admin.deadline = now + ADMIN_TIMEOUT;
            out.send_bytes(key, &piece);
            out.push(Verb::TellDrained(key));
        } else if last {
            self.channels.remove(key);
            out.close(key, Manner::End);
        } else {
            admin.stage = Stage::Listening;
            self.hear_admin(now, key, out);
        }
    }
}

/// Whether a browser asks for a page that did not come from here (RFC 6454 section 7, and Fetch Metadata). Whoever has
/// the socket forwarded to a desk wants to ask itself, and not have asked whatever else it looks at.
fn is_foreign(request: &Request<'_>) -> bool {
    let host = request.values("host").next().unwrap_or_default();
    request.values("origin").any(|origin| origin.strip_prefix(b"http://") != Some(host))
        || request.values("sec-fetch-site").any(|site| site == b"cross-site")
}

/// Whether a request brings the token (RFC 6750 section 2.1). Compared in constant time.
fn bears(request: &Request<'_>, token: &Token) -> bool {
    request.values("authorization").any(|value| {
        let brought = value.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
        brought.is_some_and(|(_, brought)| alike(brought.trim_ascii(), token.0.as_bytes()))
    })
}

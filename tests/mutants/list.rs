//! Mistakes that others have made, or that would be easily made here, each as a change of the source: the simulator must
//! find every one of them. They stand here and not in the source, behind a condition: what an auditor reads should hold
//! no mistake, not even one that is switched off.

pub struct Mutant {
    /// What is wrong then.
    pub name: &'static str,
    pub edits: &'static [Edit],
}

/// In a file of `src`, what occurs there once, and what takes its place.
pub struct Edit(pub &'static str, pub &'static str, pub &'static str);

const fn mutant(name: &'static str, edits: &'static [Edit]) -> Mutant {
    Mutant { name, edits }
}

/// In the order of the list in which the like of them were first put together, then others.
pub const MUTANTS: &[Mutant] = &[
    mutant(
        "a takeover waits for the old session",
        &[Edit("server/session.rs", "self.end_session(old, Reason::Replaced, out);", "return None;")],
    ),
    mutant(
        "the end of an old CmdChannel ends the session that came after it",
        &[
            Edit("server/session.rs", ".filter(|session| session.cmd == Some(cmd))", ""),
            Edit(
                "server/session.rs",
                "self.channels.remove(ghost);\n            out.close(ghost, Manner::Cut);",
                "_ = ghost;",
            ),
        ],
    ),
    mutant(
        "the end of one direction ends both",
        &[Edit(
            "client/visits.rs",
            "self.proxy_event(now, key, Event::LocalEnd, out);",
            "self.proxy_event(now, key, Event::LocalCut(Reason::Ended), out);",
        )],
    ),
    mutant(
        "a stream that was cut ends with FIN",
        &[Edit(
            "client/visits.rs",
            "(Local::Cut(_), Some(raw)) => {\n                self.channels.remove(raw);\n                out.close(raw, Manner::Cut);",
            "(Local::Cut(_), Some(raw)) => {\n                self.channels.remove(raw);\n                out.close(raw, Manner::End);",
        )],
    ),
    mutant(
        "who cannot write does not read",
        &[Edit(
            "driver.rs",
            "                self.read_frames(key);\n",
            "                if self.link(key).is_some_and(|link| link.is_flushed()) {\n                    self.read_frames(key);\n                }\n",
        )],
    ),
    mutant(
        "nobody looks for a heartbeat after the first",
        &[Edit(
            "server/session.rs",
            "            (Some(_) | None, false) => {}\n        }\n        self.watch_pulse(key);",
            "            (Some(_) | None, false) => {}\n        }",
        )],
    ),
    mutant(
        "an accept that fails ends the listener",
        &[Edit("driver/coming.rs", "self.resting.1.push(key);", "")],
    ),
    mutant(
        "the answer to a look-up goes to the next visit",
        &[Edit(
            "client/visits.rs",
            "Some(Channel::Proxy(proxy)) if proxy.awaits(visit) =>",
            "Some(Channel::Proxy(proxy)) =>",
        )],
    ),
    mutant(
        "a connection that fails keeps its buffers",
        &[Edit(
            "driver/going.rs",
            "link.clear(&mut self.net, &mut self.arena);\n        self.arena.release(link.rights());",
            "self.arena.release(link.rights());",
        )],
    ),
    mutant(
        "a short read hides the end behind it",
        &[Edit(
            "relay.rs",
            "raw.readable = n == room || !copied || raw.ending;",
            "raw.readable = n == room || !copied;",
        )],
    ),
    mutant(
        "the key of a connection that has gone opens the next one in its place",
        &[
            Edit(
                "slots.rs",
                "if entry.generation == key.generation { entry.value.as_mut() } else { None }",
                "entry.value.as_mut()",
            ),
            Edit("slots.rs", "if entry.generation != key.generation {", "if entry.value.is_none() {"),
        ],
    ),
    mutant(
        "a ProxyChannel whose visit was cut is lost to the pool",
        &[Edit(
            "channel/proxy.rs",
            "(Self::Idle, Effect { free: true, ..nothing })",
            "(Self::Idle, nothing)",
        )],
    ),
    mutant(
        "who waits is forgotten when the client leaves",
        &[Edit(
            "server/session.rs",
            "        for visitor in waiting {\n            self.cut_visitor(visitor, Reason::ClientAway, out);\n        }\n",
            "        drop(waiting);\n",
        )],
    ),
    mutant(
        "a license that was refused twice is not tried again for hours",
        &[Edit(
            "client/login.rs",
            "                if proved {\n                    self.refused_pause = pause.doubled(REFUSED_BACKOFF_MAX);",
            "                if proved {\n                    self.refused_pause = Span::from_secs(36_000);",
        )],
    ),
    mutant(
        "a port that could not be had is not tried again",
        &[Edit(
            "server/places.rs",
            "session.next_round = session.next_round.min(now + BIND_RETRY_EVERY);",
            "_ = BIND_RETRY_EVERY;",
        )],
    ),
    mutant(
        "what a license permits is asked at the login alone",
        &[Edit("server/session.rs", "() if entry.revoked => Some(Reason::Revoked),", "")],
    ),
    mutant(
        "a visit that may have arrived is taken again",
        &[Edit(
            "client/visits.rs",
            "if self.lost.contains(&connect.visit) || self.taken.insert(connect.visit, ()).is_some() {",
            "if self.taken.insert(connect.visit, ()).is_some() {",
        )],
    ),
    mutant(
        "strangers may stay",
        &[Edit("server/entrance.rs", "let deadline = now + LOGIN_TIMEOUT;", "let deadline = Time::NEVER;")],
    ),
    mutant(
        "whoever found the budget used up is never asked again",
        &[Edit(
            "driver/going.rs",
            "        for door in std::mem::take(&mut self.starved) {\n            self.enqueue(door);\n        }\n",
            "        self.starved.clear();\n",
        )],
    ),
    mutant(
        "what a visitor said first is not said again",
        &[Edit(
            "relay.rs",
            "transfer(proxy, &Buf::bytes(buf)[..usize::from(*len)], arena, scratch)\n",
            "Ok(_ = (buf, len))\n",
        )],
    ),
    mutant(
        "a full buffer of first words is taken for the end",
        &[Edit(
            "link.rs",
            "self.held.len() < PAYLOAD_BYTES_MAX && ",
            "self.held.len() <= PAYLOAD_BYTES_MAX && ",
        )],
    ),
    mutant(
        "the rest of a large datagram follows on another channel",
        &[Edit("flow.rs", "            going.gone = 0;\n", "            _ = going;\n")],
    ),
    mutant(
        "nobody looks whether the client lets go of an ended flow",
        &[Edit("server/ends.rs", "        self.watch(now + DRAIN_TIMEOUT);\n    }\n", "    }\n")],
    ),
    mutant(
        "each of many visitors has an order of its own",
        &[Edit("server/visits.rs", "if session.opening != Opening::Left {", "if false {")],
    ),
    mutant(
        "who has used up its turn is not asked again",
        &[Edit("driver.rs", "Ok(Stop::Budget) => self.postpone(raw),", "Ok(Stop::Budget) => {}")],
    ),
    mutant(
        "what was spliced is counted twice",
        &[Edit(
            "relay.rs",
            "        proxy.transfer_left -= n as u32;\n        return Some(n);",
            "        return Some(n);",
        )],
    ),
    mutant(
        "the CmdChannel is not looked at again when its deadline has moved",
        &[Edit(
            "client/mod.rs",
            "        if self.cmd.deadline() <= now {\n            self.cmd_timeout(now, out);\n        }\n",
            "        if self.cmd.deadline() > now {\n            return;\n        }\n        self.cmd_timeout(now, out);\n",
        )],
    ),
    mutant(
        "a client takes any resumed session for the one it remembers",
        &[Edit(
            "client/login.rs",
            "let resumed = welcome.resumed && known;",
            "let resumed = welcome.resumed || known;",
        )],
    ),
    mutant(
        "who may have reached the real server is handed to another process",
        &[Edit(
            "server/visits.rs",
            "Some(spec) if visitor.state.is_untried() => taken",
            "Some(spec) => taken",
        )],
    ),
    mutant(
        "what follows a request's body goes to the same real server",
        &[Edit(
            "gateway.rs",
            "let n = body.pass(bytes).map_err(|_| Fault::Raw(Reason::Protocol))?;",
            "let n = body.pass(bytes).map_err(|_| Fault::Raw(Reason::Protocol))?.max(bytes.len());",
        )],
    ),
    mutant(
        "an answer is over before its last bytes have left",
        &[Edit("http/exchange.rs", "if !body.is_over() || self.cleared > 0 {", "if !body.is_over() {")],
    ),
    mutant(
        "a request is made again though its answer had begun",
        &[Edit(
            "server/callers.rs",
            "                    caller.stage = Stage::Answering { to_head };\n",
            "                    _ = to_head;\n",
        )],
    ),
    mutant(
        "what may not be repeated is made again",
        &[Edit("server/callers.rs", "let again = request.may_be_repeated();", "let again = true;")],
    ),
    mutant(
        "an answer that was cut ends like one that is whole",
        &[Edit(
            "server/callers.rs",
            "Stage::Answering { .. } => self.close_caller(key, Ok(Manner::Cut), out),",
            "Stage::Answering { .. } => self.close_caller(key, Ok(Manner::End), out),",
        )],
    ),
    mutant(
        "a caller stays in its visit whatever it asks for next",
        &[Edit(
            "server/callers.rs",
            "let stays = visit == Some(to) && ",
            "let stays = visit.is_some_and(|(owner, _)| owner == to.0) && ",
        )],
    ),
    mutant(
        "an exit takes its visitors wherever they like",
        &[Edit(
            "client/visits.rs",
            "proxy.mapping & SERVER_MAPPING_BIT != 0 || proxy.talk.is_some()",
            "proxy.mapping & SERVER_MAPPING_BIT != 0",
        )],
    ),
    mutant(
        "what a visitor says behind its request to an exit is lost",
        &[Edit("exit.rs", "Spoken::Socks(_) => self.heard.clone(),", "Spoken::Socks(_) => Vec::new(),")],
    ),
    mutant(
        "an exit that gives up on a connect leaves it under way",
        &[Edit(
            "client/exits.rs",
            "if let Some(raw) = raw.filter(|raw| self.channels.remove(*raw).is_some()) {",
            "if let Some(raw) = raw.filter(|_| false) {",
        )],
    ),
    mutant(
        "a client visits whom its license does not permit",
        &[Edit(
            "server/private.rs",
            "is_good(entry, license) && entry.visits.contains(name)",
            "is_good(entry, license)",
        )],
    ),
    mutant(
        "a private visit that is cut ends like one that is whole",
        &[Edit(
            "server/private.rs",
            "end.map_or_else(Event::LocalCut, |()| Event::LocalEnd)",
            "end.map_or_else(|_| Event::LocalEnd, |()| Event::LocalEnd)",
        )],
    ),
    mutant(
        "the visits of a client go on when its session is over",
        &[Edit(
            "server/private.rs",
            "(fellow.over, ended) = (Some(reason), true);",
            "_ = (&mut ended, reason);",
        )],
    ),
    mutant(
        "all ports of a range lead to the first one's real server",
        &[Edit(
            "client/visits.rs",
            "(mapping.target.part(offset, 1), mapping",
            "(mapping.target.part(offset.min(0), 1), mapping",
        )],
    ),
    mutant(
        "the ports of a range behind the first few are forgotten",
        &[Edit(
            "server/places.rs",
            "let again = if left == 0 { soon } else",
            "let again = if soon == now { soon } else",
        )],
    ),
];

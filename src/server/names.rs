//! Public names: which mapping serves a host and path.

use super::groups::Member;
use crate::http::Request;
use crate::limits::NAMES_REMEMBERED;
use crate::names;
use crate::slots::Key;
use crate::sorted::Sorted;

/// The names of one kind of door.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Names as they are …
    exact: Sorted<String, Vec<Route>>,
    /// … and those that stand for all below them, without their `*.`.
    below: Sorted<String, Vec<Route>>,
    /// What each mapping serves, as it was added.
    places: Sorted<Member, String>,
    /// Names of clients that have gone, and may come back.
    away: Sorted<String, ()>,
}

/// Where a name leads, for one of its paths.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: Option<String>,
    /// Nobody looks into what is said to it.
    pub(super) whole: bool,
    /// The license has this very name, and not only one that stands for it.
    pub(super) named: bool,
    pub(super) license: String,
    /// Which of its clients serve it.
    pub(super) members: Vec<Member>,
}

impl Route {
    /// Whether both can be served under one name. Whoever serves a part of a name is trusted with all that visitors say
    /// to it: two licenses share one only where each was given it by name.
    fn goes_with(&self, other: &Self) -> bool {
        let together = self.license == other.license || (self.named && other.named);
        together && !self.whole && !other.whole && self.path != other.path
    }

    /// Whether both are the same, served by different clients of one license.
    fn is_shared_with(&self, other: &Self) -> bool {
        let same = (self.whole, &self.license, &self.path) == (other.whole, &other.license, &other.path);
        let apart = self.members.iter().all(|(key, _)| other.members.iter().all(|(other, _)| other != key));
        same && apart
    }
}

/// Who serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served<'a> {
    /// These clients.
    By(&'a [Member]),
    /// Nobody.
    Not,
    /// Its name is divided by path, and its path could be read as another one.
    Unclear,
}

impl Names {
    /// Has a mapping serve `name`. `false` where others do with whom it cannot be shared.
    #[must_use]
    pub(super) fn add(&mut self, name: &str, route: Route) -> bool {
        let (members, whole_name) = (route.members.clone(), name.to_owned());
        let (names, name) = self.side_of(name);
        let routes = names.get_or_default(name.to_owned());
        if let Some(same) = routes.iter_mut().find(|other| route.is_shared_with(other)) {
            same.members.extend(route.members);
        } else if routes.iter().all(|other| route.goes_with(other)) {
            routes.push(route);
            // The longest path first: the first that fits is the most particular.
            routes.sort_by_key(|route| std::cmp::Reverse(route.path.as_ref().map_or(0, String::len)));
        } else {
            return false;
        }
        self.away.remove(&whole_name);
        self.places.extend(members.into_iter().map(|member| (member, whole_name.clone())));
        true
    }

    /// Where a name stands, and as what.
    fn side_of<'a>(&mut self, name: &'a str) -> (&mut Sorted<String, Vec<Route>>, &'a str) {
        match name.strip_prefix("*.") {
            Some(name) => (&mut self.below, name),
            None => (&mut self.exact, name),
        }
    }

    /// A mapping serves its name no longer.
    pub(super) fn remove(&mut self, session: Key, mapping: u16) {
        let Some(place) = self.places.remove(&(session, mapping)) else { return };
        let (names, name) = self.side_of(&place);
        if let Some(routes) = names.get_mut(name) {
            routes.iter_mut().for_each(|route| route.members.retain(|member| *member != (session, mapping)));
            routes.retain(|route| !route.members.is_empty());
            if routes.is_empty() {
                names.remove(name);
            }
        }
    }

    /// The same, because its client has gone: its visitors may be told so, for as long as there is room to remember it.
    pub(super) fn leave(&mut self, session: Key, mapping: u16) {
        if let Some(name) = self.places.get(&(session, mapping)).cloned() {
            self.remove(session, mapping);
            if self.places.values().all(|other| *other != name) && self.away.len() < NAMES_REMEMBERED {
                self.away.insert(name, ());
            }
        }
    }

    /// Whether a client that served this name has gone.
    pub(super) fn is_away(&self, name: &str) -> bool {
        self.away.keys().any(|away| names::covers(away, name))
    }

    /// The mapping that serves a request: the name itself before one that stands for all below it, and of these the
    /// longest; of one name the longest path.
    pub(super) fn find(&self, request: &Request<'_>) -> Served<'_> {
        for routes in self.of(&request.host) {
            let divided = routes.iter().any(|route| route.path.is_some());
            if divided && request.may_mean_another_path() {
                return Served::Unclear;
            }
            let fits = |route: &&Route| {
                !route.whole && route.path.as_deref().is_none_or(|path| request.is_below(path))
            };
            if let Some(route) = routes.iter().find(fits) {
                return Served::By(&route.members);
            }
        }
        Served::Not
    }

    /// Who serves this name, whatever its path.
    pub(super) fn serving(&self, name: &str) -> Option<&[Member]> {
        let route = self.of(name).find_map(|routes| routes.first());
        route.map(|route| &route.members[..])
    }

    /// What there is for a name, the most particular first.
    fn of(&self, name: &str) -> impl Iterator<Item = &Vec<Route>> {
        let above = name.match_indices('.').map(|(at, _)| self.below.get(&name[at + 1..]));
        std::iter::once(self.exact.get(name)).chain(above).flatten()
    }

    /// Every mapping that serves a name; for tests, which ask whether both sides agree.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u16)> {
        let routes = self.exact.values().chain(self.below.values()).flatten();
        assert_eq!(
            routes.map(|route| route.members.len()).sum::<usize>(),
            self.places.len(),
            "a name without a place, or a place without a name"
        );
        self.places.keys().copied()
    }
}

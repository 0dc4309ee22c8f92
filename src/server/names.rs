//! Public names: which mapping serves a host and path.

use std::collections::{BTreeMap, BTreeSet};

use crate::http::Request;
use crate::limits::NAMES_REMEMBERED;
use crate::names;
use crate::slots::Key;

/// The names of one kind of door.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Names as they are …
    exact: BTreeMap<String, Vec<Route>>,
    /// … and those that stand for all below them, without their `*.`.
    below: BTreeMap<String, Vec<Route>>,
    /// What each mapping serves, as it was added.
    places: BTreeMap<(Key, u16), String>,
    /// Names of clients that have gone, and may come back.
    away: BTreeSet<String>,
}

/// Where a name leads, for one of its paths.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: Option<String>,
    /// Nobody looks into what is said to it.
    pub(super) whole: bool,
    /// The license has this very name, and not only one that stands for it.
    pub(super) named: bool,
    pub(super) session: Key,
    pub(super) mapping: u16,
}

impl Route {
    /// Whether both can be served under one name. Whoever serves a part of a name is trusted with all that visitors say
    /// to it: two licenses share one only where each was given it by name.
    fn goes_with(&self, other: &Self) -> bool {
        let together = self.session == other.session || (self.named && other.named);
        together && !self.whole && !other.whole && self.path != other.path
    }
}

/// Who serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// This mapping of this session.
    By(Key, u16),
    /// Nobody.
    Not,
    /// Its name is divided by path, and its path could be read as another one.
    Unclear,
}

impl Names {
    /// Has a mapping serve `name`. `false` where others do with whom it cannot be shared.
    #[must_use]
    pub(super) fn add(&mut self, name: &str, route: Route) -> bool {
        let place = ((route.session, route.mapping), name.to_owned());
        let (names, name) = self.side_of(name);
        let routes = names.entry(name.to_owned()).or_default();
        if !routes.iter().all(|other| route.goes_with(other)) {
            return false;
        }
        routes.push(route);
        // The longest path first: the first that fits is the most particular.
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.as_ref().map_or(0, String::len)));
        self.away.remove(&place.1);
        self.places.insert(place.0, place.1);
        true
    }

    /// Where a name stands, and as what.
    fn side_of<'a>(&mut self, name: &'a str) -> (&mut BTreeMap<String, Vec<Route>>, &'a str) {
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
            routes.retain(|route| (route.session, route.mapping) != (session, mapping));
            if routes.is_empty() {
                names.remove(name);
            }
        }
    }

    /// The same, because its client has gone: its visitors may be told so, for as long as there is room to remember it.
    pub(super) fn leave(&mut self, session: Key, mapping: u16) {
        if let Some(name) = self.places.get(&(session, mapping)).cloned() {
            self.remove(session, mapping);
            if self.away.len() < NAMES_REMEMBERED {
                self.away.insert(name);
            }
        }
    }

    /// Whether a client that served this name has gone.
    pub(super) fn is_away(&self, name: &str) -> bool {
        self.away.iter().any(|away| names::covers(away, name))
    }

    /// The mapping that serves a request: the name itself before one that stands for all below it, and of these the
    /// longest; of one name the longest path.
    pub(super) fn find(&self, request: &Request<'_>) -> Served {
        for routes in self.of(&request.host) {
            let divided = routes.iter().any(|route| route.path.is_some());
            if divided && request.may_mean_another_path() {
                return Served::Unclear;
            }
            let fits = |route: &&Route| {
                !route.whole && route.path.as_deref().is_none_or(|path| request.is_below(path))
            };
            if let Some(route) = routes.iter().find(fits) {
                return Served::By(route.session, route.mapping);
            }
        }
        Served::Not
    }

    /// A mapping that serves this name, whatever its path.
    pub(super) fn serving(&self, name: &str) -> Option<(Key, u16)> {
        let route = self.of(name).find_map(|routes| routes.first());
        route.map(|route| (route.session, route.mapping))
    }

    /// What there is for a name, the most particular first.
    fn of(&self, name: &str) -> impl Iterator<Item = &Vec<Route>> {
        let above = name.match_indices('.').map(|(at, _)| self.below.get(&name[at + 1..]));
        std::iter::once(self.exact.get(name)).chain(above).flatten()
    }

    /// Every mapping that serves a name; for tests, which ask whether both sides agree.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u16)> {
        let routes = self.exact.values().chain(self.below.values()).map(Vec::len).sum::<usize>();
        assert_eq!(routes, self.places.len(), "a name without a place, or a place without a name");
        self.places.keys().copied()
    }
}

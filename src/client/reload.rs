//! Other settings while the client runs.
//!
//! What is the same keeps its index, so that the server goes on with it as it is; what is new gets one that nobody had.
//! Then the client logs in again, as the same process: that declares all mappings anew, and its visits go on meanwhile.

use super::tunnel::{Known, OWN};
use super::{Client, Stop};
use crate::channel::cmd::Cmd;
use crate::mapping::Mapping;
use crate::note::Note;
use crate::role::{ClientSettings, Manner, Outbox, Settings};
use crate::time::Time;

impl Client {
    pub(super) fn reload(
        &mut self,
        now: Time,
        settings: Option<Result<Settings, String>>,
        out: &mut Outbox<'_>,
    ) {
        let ClientSettings { mappings, allow } = match settings {
            Some(Ok(Settings::Client(settings))) => settings,
            Some(Err(why)) => return out.note(Note::SettingsKept(why)),
            Some(Ok(Settings::Server(_))) | None => return,
        };
        let same_allow = std::mem::replace(&mut self.config.allow, allow) == self.config.allow;
        let (added, removed) = self.take_mappings(mappings);
        out.note(Note::SettingsRead { added, removed });
        if added + removed == 0 && same_allow {
            return;
        }
        if let Cmd::Ready { key, .. } = self.cmd
            && self.stop == Stop::No
        {
            out.close(key, Manner::Cut);
            self.attempt(now, out);
        }
    }

    /// Has these mappings for its own; how many of them are new, and how many have gone.
    fn take_mappings(&mut self, mappings: Vec<Mapping>) -> (usize, usize) {
        let indexes: Vec<u16> = self.mappings.range(OWN).map(|(&index, _)| index).collect();
        let mut old: Vec<(u16, Known)> =
            indexes.iter().filter_map(|index| self.mappings.remove_entry(index)).collect();
        let (before, wanted) = (old.len(), mappings.len());
        let mut keep = |mappings: Vec<Mapping>, same: fn(&Mapping, &Mapping) -> bool| {
            let mut new = Vec::new();
            for mapping in mappings {
                match old.iter().position(|(_, known)| same(&known.mapping, &mapping)) {
                    Some(at) => {
                        let (index, known) = old.swap_remove(at);
                        self.mappings.insert(index, Known { mapping, ..known });
                    }
                    None => new.push(mapping),
                }
            }
            new
        };
        let new = keep(mappings, |one, other| one == other);
        let added = new.len();
        let removed = before - (wanted - added);
        // Where visitors come to the same place, the server serves on.
        let new = keep(new, |one, other| one.public == other.public && one.kind == other.kind);
        let gone = old.iter().map(|(index, known)| index + known.mapping.count()).max().unwrap_or(OWN.start);
        for mapping in new {
            self.insert(gone, mapping);
        }
        (added, removed)
    }

    /// Puts a new mapping behind all others, and behind those that went, as long as there is room: a visit may still
    /// name one. When tens of thousands of indexes have been used up, all are counted anew.
    fn insert(&mut self, gone: u16, mapping: Mapping) {
        let last = self.mappings.range(OWN).next_back();
        let next = last.map_or(gone, |(index, known)| gone.max(index + known.mapping.count()));
        if next.checked_add(mapping.count()).is_some_and(|end| end <= OWN.end) {
            self.mappings.insert(next, Known::new(mapping, 0));
            return;
        }
        let indexes: Vec<u16> = self.mappings.range(OWN).map(|(&index, _)| index).collect();
        let all: Vec<Known> = indexes.iter().filter_map(|index| self.mappings.remove(index)).collect();
        let mut index = OWN.start;
        for known in all.into_iter().chain([Known::new(mapping, 0)]) {
            let count = known.mapping.count();
            self.mappings.insert(index, known);
            index += count;
        }
    }
}

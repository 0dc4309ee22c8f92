//! In the place of what needs the disk: nothing does.

use super::poll::Bell;
use crate::directory::Directory;
use crate::edit::{Edit, Edited, NotEdited};
use crate::slots::Key;

/// Where things are kept: nowhere.
pub trait Files: Send {}

/// What came of it: nothing does.
#[expect(dead_code, reason = "it cannot be")]
pub(super) enum Done {
    NotKept(String),
    Edited(usize, Key, Result<Box<Edited>, NotEdited>),
    PutBack(usize, Result<(), String>),
}

#[derive(Default)]
pub(super) struct Clerk;

impl Clerk {
    pub(super) fn new(_: Box<dyn Files>) -> Self {
        Self
    }

    pub(super) fn keep(&mut self, _: String, _: &Bell) {}

    pub(super) fn edit(&mut self, _role: usize, _: Key, _: Edit, _: &Bell) {}

    pub(super) fn put_back(&mut self, _role: usize, _: Directory, _: &Bell) {}

    pub(super) fn done(&mut self) -> Option<Done> {
        None
    }
}

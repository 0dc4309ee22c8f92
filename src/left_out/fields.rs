//! In the place of what reads TOML: there is nothing to be found in any file.

use std::convert::Infallible;
use std::marker::PhantomData;

use super::{FileError, Found};

/// A text that was read: there is none.
pub struct Document<'t>(Infallible, PhantomData<&'t ()>);

/// The fields of one table: there is none.
pub struct Fields<'d>(Infallible, PhantomData<&'d ()>);

/// What comes of asking for a field.
type Asked<T> = Result<T, FileError>;

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `table/fields.rs`")]
impl Document<'_> {
    pub fn parse(_: &str) -> Asked<Self> {
        let what = "this nt reads no files of settings: it was built without the feature `config`";
        Err(FileError { line: 1, what: what.to_owned() })
    }

    pub fn fields(&self, _: &[&str]) -> Asked<Fields<'_>> {
        match self.0 {}
    }

    pub fn has(&self, _: &str) -> bool {
        match self.0 {}
    }

    pub fn line_of(&self, _: &str) -> Option<usize> {
        match self.0 {}
    }
}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `table/fields.rs`")]
impl<'d> Fields<'d> {
    pub fn has(&self, _: &str) -> bool {
        match self.0 {}
    }

    pub fn line(&self) -> usize {
        match self.0 {}
    }

    pub fn string(&self, _: &str) -> Asked<Option<Found<&'d str>>> {
        match self.0 {}
    }

    pub fn need(&self, _: &str) -> Asked<Found<&'d str>> {
        match self.0 {}
    }

    pub fn bool(&self, _: &str) -> Asked<Option<bool>> {
        match self.0 {}
    }

    pub fn number(&self, _: &str) -> Asked<Option<u32>> {
        match self.0 {}
    }

    pub fn count(&self, _: &str) -> Asked<Option<u64>> {
        match self.0 {}
    }

    pub fn strings(&self, _: &str) -> Asked<Vec<Found<&'d str>>> {
        match self.0 {}
    }

    pub fn table(&self, _: &str, _: &[&str]) -> Asked<Option<Self>> {
        match self.0 {}
    }

    pub fn tables(&self, _: &str, _: &[&str]) -> Asked<Vec<Self>> {
        match self.0 {}
    }
}

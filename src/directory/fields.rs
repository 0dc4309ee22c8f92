//! Fields of a license that are more than one value.

use super::OLD_FIELDS;
use crate::license::{LicenseId, Verifier};
use crate::policy::Quota;
use crate::table::{Fields, FileError};
use crate::text::{parse_bytes, parse_hex, quote};

/// A set that stands in the file as a list: one item at a time for the line of what is wrong, all together for the set.
pub(super) fn read_set<'a, T>(
    fields: &'a Fields<'_>,
    key: &str,
    of: impl Fn(Vec<&'a str>) -> Result<T, String>,
) -> Result<T, FileError> {
    let mut texts = Vec::new();
    for item in fields.strings(key)? {
        texts.push(item.value);
        item.read(|text| of(vec![text]))?;
    }
    of(texts).map_err(|what| FileError { line: fields.line(), what })
}

pub(super) fn read_key<const N: usize>(fields: &Fields<'_>, key: &str) -> Result<[u8; N], FileError> {
    let fault =
        || format!("`{key}` is not {} hexadecimal digits: restore the file, or rotate this license", 2 * N);
    fields.need(key)?.read(|text| parse_hex(text).ok_or_else(fault))
}

/// What a license was before it was rotated, while that is good.
pub(super) fn read_old(fields: &Fields<'_>) -> Result<Option<(LicenseId, Verifier)>, FileError> {
    if !OLD_FIELDS.iter().any(|key| fields.has(key)) {
        return Ok(None);
    }
    let [id, public, mac] = OLD_FIELDS;
    let verifier = Verifier { public: read_key(fields, public)?, mac: read_key(fields, mac)? };
    Ok(Some((LicenseId(read_key(fields, id)?), verifier)))
}

pub(super) fn read_quota(fields: &Fields<'_>) -> Result<Option<Quota>, FileError> {
    let Some(bytes) = fields.string("quota")? else {
        let stray = ["quota_day", "over_quota"].into_iter().find(|key| fields.has(key));
        let what = |key| format!("`{key}` says nothing without `quota`");
        return stray.map_or(Ok(None), |key| Err(FileError { line: fields.line(), what: what(key) }));
    };
    let bytes =
        bytes.read(|text| parse_bytes(text).map_err(|what| format!("`quota`: {} {what}", quote(text))))?;
    let day = fields.number("quota_day")?.unwrap_or(1);
    let day = Quota::check_day(day)
        .map_err(|what| FileError { line: fields.line(), what: format!("`quota_day`: {what}") })?;
    let beyond = match fields.string("over_quota")? {
        Some(beyond) => beyond.read(Quota::parse_beyond)?,
        None => None,
    };
    Ok(Some(Quota { bytes, day, beyond }))
}

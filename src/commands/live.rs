//! `nt plan` and `nt reload`: other licenses, shown first, and taken or refused as a whole.

use std::path::Path;

use serde_json::{Value, json};

use super::licenses::open;
use super::{Output, dry};
use crate::api::UNCONFIRMED;
use crate::cli::{PlanArgs, ReloadArgs};
use crate::control;
use crate::dry::Found;
use crate::edit;
use crate::limits::TRIAL_SECS;
use crate::plan::{Change, Picture};
use crate::state::{StateDir, read_licenses_at};
use crate::text::quote;

const STATUS: &str = "/api/v1/status";
const RELOAD: &str = "/api/v1/reload";

/// Other licenses, read and looked through.
struct Plan {
    text: String,
    changes: Vec<Change>,
    found: Found,
}

impl Plan {
    /// What `path` would change of what is there `before`.
    fn of(state: &StateDir, path: &Path, before: &Picture) -> Result<Self, String> {
        let (text, after) = read_licenses_at(path)?;
        for entry in after.iter() {
            edit::check(entry).map_err(|what| format!("{}: {what}", path.display()))?;
        }
        let changes = before.changes(&Picture::of(&after));
        let found = dry::try_places(state, before, &after);
        Ok(Self { text, changes, found })
    }

    fn lines(&self) -> String {
        if self.changes.is_empty() {
            return "nothing would change\n".to_owned();
        }
        self.changes.iter().map(|change| format!("{change}\n")).collect()
    }

    fn to_json(&self) -> Value {
        json!({
            "changes": self.changes.iter().map(Change::to_json).collect::<Vec<_>>(),
            "faults": self.found.faults,
            "warnings": self.found.warnings,
        })
    }
}

/// What a file would change: of what stands in licenses.toml or, where that is wrong, of what a running server holds.
fn before(state: &StateDir) -> Result<Picture, String> {
    match state.load_licenses() {
        Ok(directory) => Ok(Picture::of(&directory)),
        Err(wrong) => held(state).map_err(|_| wrong),
    }
}

/// What a running server holds.
fn held(state: &StateDir) -> Result<Picture, String> {
    control::get(state, "/api/v1/licenses").map(|answer| Picture::seen(&answer))
}

/// Shows what `nt plan` asks for; and its exit code.
///
/// # Errors
/// What is wrong with the file, or there is nothing to compare with.
pub fn plan(args: &PlanArgs) -> Result<(Output, i32), String> {
    let state = open(args.state.as_ref())?;
    let plan = match &args.file {
        Some(file) => Plan::of(&state, Path::new(file), &before(&state)?)?,
        None => {
            let held = held(&state).map_err(|why| format!("there is nothing to compare with: {why}"))?;
            Plan::of(&state, &state.licenses(), &held)?
        }
    };
    let stdout = if args.json { format!("{:#}\n", plan.to_json()) } else { plan.lines() };
    let output = Output { stdout, stderr: warned(&plan.found) + &faults(&plan.found) };
    Ok((output, i32::from(!plan.found.faults.is_empty())))
}

fn warned(found: &Found) -> String {
    found.warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect()
}

fn faults(found: &Found) -> String {
    found.faults.iter().map(|fault| format!("nt: {fault}\n")).collect()
}

/// Does what `nt reload` asks for.
///
/// # Errors
/// No server runs, or what is wrong with its files, or with the one that should take their place.
pub fn reload(args: &ReloadArgs) -> Result<Output, String> {
    let state = open(args.state.as_ref())?;
    let confirm = args.confirm.as_deref().map(seconds).transpose()?;
    match (&args.file, confirm) {
        (Some(file), confirm) => take(&state, Path::new(file), confirm),
        (None, Some(_)) => {
            Err("--confirm needs a FILE to try out: what is edited in place counts within two \
                                seconds by itself"
                .to_owned())
        }
        (None, None) => {
            let said = ask(&state, None)?;
            state.forget_before();
            Ok(Output { stdout: String::new(), stderr: format!("{said}\n") })
        }
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let (least, most) = (TRIAL_SECS.start(), TRIAL_SECS.end());
    let seconds = text.parse().ok().filter(|seconds| TRIAL_SECS.contains(seconds));
    seconds.ok_or_else(|| {
        format!("--confirm: {} is not a number of seconds from {least} to {most}", quote(text))
    })
}

/// Has the server look at its files; what it says.
fn ask(state: &StateDir, confirm: Option<u64>) -> Result<String, String> {
    let body = confirm.map_or_else(String::new, |seconds| json!({ "confirm": seconds }).to_string());
    let answer = control::ask(state, "POST", RELOAD, &body)?;
    Ok(answer["message"].as_str().unwrap_or_default().to_owned())
}

/// Puts a file in the place of licenses.toml, as a whole or not at all.
fn take(state: &StateDir, file: &Path, confirm: Option<u64>) -> Result<Output, String> {
    free(state)?;
    let plan = Plan::of(state, file, &before(state)?)?;
    refuse(&plan.found)?;
    // The server has to know what held before, before it sees the file, which it does by itself; and for how long.
    let mut begun = false;
    let begin = || {
        free(state)?;
        begun = true;
        confirm.map_or(Ok(()), |seconds| ask(state, Some(seconds)).map(drop))
    };
    let taken = state.swap_licenses(&plan.text, begin, || ask(state, confirm).map(drop));
    if let Err(why) = taken {
        if begun {
            // The old file is back: nothing is left to be confirmed, or to be found later.
            let _ = ask(state, None);
        }
        return Err(why);
    }
    if confirm.is_none() {
        state.forget_before();
    }
    let left = confirm.map_or_else(String::new, |seconds| {
        format!("; unless `nt reload` confirms it within {seconds} s, the licenses of before hold again")
    });
    let stderr = format!("{}{} is licenses.toml now{left}\n", warned(&plan.found), file.display());
    Ok(Output { stdout: plan.lines().replace("nothing would change", "nothing has changed"), stderr })
}

/// Whether nothing waits to be confirmed.
fn free(state: &StateDir) -> Result<(), String> {
    let unconfirmed = &control::get(state, STATUS)?["unconfirmed"];
    if unconfirmed.is_null() { Ok(()) } else { Err(UNCONFIRMED.to_owned()) }
}

fn refuse(found: &Found) -> Result<(), String> {
    if found.faults.is_empty() { Ok(()) } else { Err(found.faults.join("\nnt: ")) }
}

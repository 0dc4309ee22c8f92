//! `nt status`: what a running server answers, as a table for people.

use std::fmt::Write as _;

use serde_json::Value;

/// What is shown.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As `/api/v1/status` has it.
    pub status: Value,
    /// As `/api/v1/licenses`.
    pub licenses: Value,
    /// As `/api/v1/sessions`.
    pub sessions: Value,
    /// As `/api/v1/mappings`.
    pub mappings: Value,
}

impl Seen {
    /// The same as one value, for programs.
    pub fn to_json(&self) -> Value {
        let mut all = self.status.clone();
        for (name, value) in
            [("licenses", &self.licenses), ("sessions", &self.sessions), ("mappings", &self.mappings)]
        {
            all[name] = value[name].clone();
        }
        all
    }

    /// Lines for a person.
    pub fn to_text(&self) -> String {
        let number = |key: &str| self.status[key].as_u64().unwrap_or(0);
        // Writing to a string cannot fail.
        let mut text = String::new();
        let _ = writeln!(
            text,
            "nt {}, up {}{}{}: {} of {} clients, {} visitors (room for {}), {} visits so far\n",
            word(&self.status["version"]),
            span(number("uptime")),
            if self.status["stopping"] == true { ", stopping" } else { "" },
            match self.status["unconfirmed"].as_u64() {
                Some(left) =>
                    format!(", licenses tried out for {left} s more unless `nt reload` confirms them"),
                None => String::new(),
            },
            number("sessions"),
            number("licenses"),
            number("visitors"),
            number("visitors_max"),
            number("visits"),
        );
        if let Some(why) = self.status["licenses_trouble"].as_str() {
            let _ = writeln!(text, "licenses.toml, as it is now, does not count: {why}\n");
        }
        text.push_str(&table(&self.clients()));
        let mut rows = vec![["LICENSE", "MAPPING", "PUBLIC", "STATE", "DOWN", "UP"].map(str::to_owned)];
        for mapping in items(&self.mappings["mappings"]) {
            rows.push([
                word(&mapping["license"]),
                word(&mapping["mapping"]),
                word(&mapping["public"]),
                standing(mapping),
                bytes(mapping["down"].as_u64().unwrap_or(0)),
                bytes(mapping["up"].as_u64().unwrap_or(0)),
            ]);
        }
        if rows.len() > 1 {
            text.push('\n');
            text.push_str(&table(&rows));
        }
        text
    }

    /// A row for each client, and for each license without one. What has passed is the license's.
    fn clients(&self) -> Vec<[String; 7]> {
        let none = || "-".to_owned();
        let mut rows =
            vec![["LICENSE", "CLIENT", "ADDRESS", "SINCE", "VISITORS", "DOWN", "UP"].map(str::to_owned)];
        for license in items(&self.licenses["licenses"]) {
            let passed = |way: &str| bytes(license[way].as_u64().unwrap_or(0));
            let first = rows.len();
            for session in items(&self.sessions["sessions"]).filter(|one| one["license"] == license["name"]) {
                let [down, up] =
                    ["down", "up"].map(|way| if rows.len() == first { passed(way) } else { String::new() });
                rows.push([
                    word(&license["name"]),
                    word(&session["state"]),
                    word(&session["address"]),
                    span(session["age"].as_u64().unwrap_or(0)),
                    session["visitors"].to_string(),
                    down,
                    up,
                ]);
            }
            if rows.len() == first {
                let state = if license["good"] == false { "refused".to_owned() } else { none() };
                rows.push([
                    word(&license["name"]),
                    state,
                    none(),
                    none(),
                    none(),
                    passed("down"),
                    passed("up"),
                ]);
            }
        }
        rows
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Lines about a client, for a person.
pub fn client_text(client: &Value) -> String {
    let age = client["age"].as_u64().map_or_else(String::new, |age| format!(" for {}", span(age)));
    let mut text = format!(
        "nt {}, client {} of {}: {}{age}, {} visits\n\n",
        word(&client["version"]),
        word(&client["license"]),
        word(&client["server"]),
        word(&client["state"]),
        client["visits"],
    );
    let mut rows = vec![["MAPPING", "PUBLIC", "TARGET", "STATE", "VISITS"].map(str::to_owned)];
    for mapping in items(&client["mappings"]) {
        let public = mapping["public"].as_str().unwrap_or("-").to_owned();
        let (name, target) = (word(&mapping["mapping"]), word(&mapping["target"]));
        rows.push([name, public, target, standing(mapping), mapping["visits"].to_string()]);
    }
    text.push_str(&table(&rows));
    // It is another user's word, at root's terminal.
    text.retain(|letter| letter == '\n' || !letter.is_control());
    text
}

/// How a mapping stands, and why.
fn standing(mapping: &Value) -> String {
    let state = mapping["state"].as_str().unwrap_or_default();
    mapping["reason"].as_str().map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}"))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Rows with their columns below each other.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A number of bytes in three digits.
fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            let digits = if value < 9.95 && unit != "B" { 1 } else { 0 };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1_000.0;
    }
    format!("{value:.0} PB")
}

/// A time in its two largest units.
fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let at = units.iter().position(|(_, length)| seconds >= *length).unwrap_or(units.len() - 1);
    let (unit, length) = units[at];
    let first = format!("{} {unit}", seconds / length);
    match units.get(at + 1) {
        Some((unit, below)) if seconds % length / below > 0 => {
            format!("{first} {} {unit}", seconds % length / below)
        }
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_client_cannot_write_to_the_terminal_of_who_asks() {
        let said = "\u{1b}[2J\u{9b}1mx\r\u{7}";
        let mapping = json!({"mapping": said, "public": said, "target": said, "state": said, "reason": said});
        let client =
            json!({"version": said, "license": said, "server": said, "state": said, "mappings": [mapping]});
        let text = client_text(&client);
        assert_eq!(text.matches("[2J1mx").count(), 9, "{text}");
        assert!(!text.contains(|letter: char| letter != '\n' && letter.is_control()), "{text:?}");
    }

    #[test]
    fn numbers_are_short() {
        for (count, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_960, "10 kB"),
            (123_456, "123 kB"),
            (999_600, "1.0 MB"),
            (1_234_567_890, "1.2 GB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_725, "1 h 2 min"),
            (90_061, "1 d 1 h"),
            (86_460, "1 d"),
        ] {
            assert_eq!(span(seconds), shown);
        }
    }

    #[test]
    fn each_license_and_mapping_has_a_line() {
        let seen = Seen {
            status: json!({ "version": "1.0", "uptime": 61, "sessions": 1, "licenses": 2, "visitors": 3,
                "visitors_max": 100, "visits": 7, "stopping": false }),
            licenses: json!({ "licenses": [
                { "name": "nas", "good": true, "down": 1, "up": 2_000 },
                { "name": "old", "good": false, "down": 0, "up": 0 },
            ] }),
            sessions: json!({ "sessions": [
                { "license": "nas", "state": "online", "address": "192.0.2.1:5", "age": 5, "visitors": 3 },
            ] }),
            mappings: json!({ "mappings": [
                { "license": "nas", "mapping": "2222:22", "public": "[::]:2222", "state": "down", "reason": "taken",
                  "down": 0, "up": 0 },
            ] }),
        };
        assert_eq!(
            seen.to_text(),
            "nt 1.0, up 1 min 1 s: 1 of 2 clients, 3 visitors (room for 100), 7 visits so far\n\n\
             LICENSE  CLIENT   ADDRESS      SINCE  VISITORS  DOWN  UP\n\
             nas      online   192.0.2.1:5  5 s    3         1 B   2.0 kB\n\
             old      refused  -            -      -         0 B   0 B\n\n\
             LICENSE  MAPPING  PUBLIC     STATE        DOWN  UP\n\
             nas      2222:22  [::]:2222  down: taken  0 B   0 B\n"
        );
        assert_eq!(seen.to_json()["sessions"][0]["license"], "nas");
    }
}

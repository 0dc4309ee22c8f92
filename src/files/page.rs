//! The list of a folder.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use super::date;
use super::path::{Path, encode, is_hidden, is_plain};
use crate::limits::FILES_LISTED_MAX;

/// One line of the list: folders before files, and by name among themselves.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Folder(Vec<u8>),
    /// Its name, its size in bytes, and when it was changed in seconds since 1970.
    File(Vec<u8>, u64, u64),
}

/// The page that lists a folder, which a visitor knows by `path`. At most [`FILES_LISTED_MAX`] of its names are
/// looked at.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn list(folder: &OwnedFd, path: &Path) -> Result<String, Errno> {
    let mut entries = Vec::new();
    let mut names = Dir::read_from(folder)?;
    for name in names.by_ref().take(FILES_LISTED_MAX) {
        entries.extend(entry(folder, name?.file_name().to_bytes()));
    }
    entries.sort_unstable();
    Ok(write(&entries, names.next().is_some(), path))
}

/// What is listed of a name: nothing where it could not be asked for, or has gone.
fn entry(folder: &OwnedFd, name: &[u8]) -> Option<Entry> {
    if is_hidden(name) || !name.iter().copied().all(is_plain) {
        return None;
    }
    let seen = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    match FileType::from_raw_mode(seen.st_mode) {
        FileType::Directory => Some(Entry::Folder(name.to_vec())),
        FileType::RegularFile => Some(Entry::File(name.to_vec(), count(seen.st_size), count(seen.st_mtime))),
        _ => None,
    }
}

fn write(entries: &[Entry], is_cut: bool, path: &Path) -> String {
    let mut title = String::new();
    escape(path.bytes(), &mut title);
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title>\
         <style>body{{font:1.1rem/1.6 system-ui,sans-serif;max-width:48rem;margin:6vh auto;padding:0 1rem;\
         color-scheme:light dark}}h1,a{{overflow-wrap:anywhere}}table{{width:100%;border-spacing:0}}\
         th{{text-align:left}}td+td,th+th{{text-align:right;white-space:nowrap;padding-left:1rem}}</style>\
         <h1>{title}</h1>\n"
    );
    if path.bytes() != b"/" {
        page.push_str("<p><a href=\"../\">Up</a></p>\n");
    }
    if entries.is_empty() {
        page.push_str("<p>Nothing is here.</p>\n");
    } else {
        page.push_str(
            "<table><thead><tr><th scope=col>Name<th scope=col>Size<th scope=col>Changed (UTC)<tbody>\n",
        );
        entries.iter().for_each(|entry| write_entry(entry, &mut page));
        page.push_str("</table>\n");
    }
    if is_cut {
        page.push_str("<p>There is more here than is shown.</p>\n");
    }
    page.push_str("</html>\n");
    page
}

fn write_entry(entry: &Entry, page: &mut String) {
    let (name, slash) = match entry {
        Entry::Folder(name) => (name, "/"),
        Entry::File(name, ..) => (name, ""),
    };
    page.push_str("<tr><td><a href=\"");
    encode(name, page);
    page.push_str(slash);
    page.push_str("\">");
    escape(name, page);
    page.push_str(slash);
    page.push_str("</a>");
    match entry {
        Entry::Folder(_) => page.push_str("<td><td>\n"),
        Entry::File(_, size, modified) => {
            page.push_str(&format!("<td>{}<td>{}\n", show_size(*size), show_time(*modified)));
        }
    }
}

/// Writes text so that HTML takes it for text; what is not UTF-8 shows as such.
fn escape(text: &[u8], out: &mut String) {
    for letter in String::from_utf8_lossy(text).chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
}

/// A number of bytes as people read it; units are decimal.
fn show_size(bytes: u64) -> String {
    let Some((unit, letter)) =
        [(1_000_000_000_000, 'T'), (1_000_000_000, 'G'), (1_000_000, 'M'), (1_000, 'k')]
            .into_iter()
            .find(|(unit, _)| bytes >= *unit)
    else {
        return format!("{bytes} B");
    };
    format!("{}.{} {letter}B", bytes / unit, bytes % unit / (unit / 10))
}

/// Day and minute, out of how HTTP writes a time: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn show_time(secs: u64) -> String {
    date(secs).get(5..22).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_for_people() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_999, "1.9 kB"),
            (999_999, "999.9 kB"),
            (1_500_000, "1.5 MB"),
            (2_000_000_000, "2.0 GB"),
            (u64::MAX, "18446744.0 TB"),
        ] {
            assert_eq!(show_size(bytes), shown);
        }
        assert_eq!(show_time(784_111_777), "06 Nov 1994 08:49");
        assert_eq!(show_time(u64::MAX), "31 Dec 9999 23:59");
    }

    #[test]
    fn folders_come_first_and_names_are_text() {
        let file = |name: &str| Entry::File(name.into(), 1, 0);
        let mut entries = [file("b"), file("a<i>'\"&"), Entry::Folder("z".into()), file("javascript:x")];
        entries.sort_unstable();
        let page = write(&entries, false, &Path::read("/%3Cb%3E/").expect("a path"));
        let links: Vec<&str> =
            page.split("href=").skip(1).filter_map(|rest| rest.split("</a>").next()).collect();
        assert_eq!(
            links,
            [
                "\"../\">Up",
                "\"z/\">z/",
                "\"a%3Ci%3E%27%22%26\">a&lt;i&gt;&#39;&quot;&amp;",
                "\"b\">b",
                "\"javascript%3Ax\">javascript:x",
            ]
        );
        assert!(page.contains("<h1>/&lt;b&gt;/</h1>") && !page.contains("more here"), "{page}");
        assert!(write(&[], true, &Path::read("/").expect("a path")).contains("more here"));
    }
}

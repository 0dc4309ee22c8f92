//! The operator's page: three files that stand in the binary, and what a browser may do with them.
//!
//! They have no data in them: the page asks the [`api`](crate::api) for that, with the token that the operator gives.

/// A file of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What stands where.
    Page,
    /// How it looks.
    Style,
    /// What it does.
    Script,
}

impl Part {
    /// Its type.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
        }
    }

    /// What stands in it, packed as `Content-Encoding: deflate` (RFC 9110 section 8.4.1.2) by `packaging/build.rs`: a
    /// third of the bytes, in the binary and on the way.
    pub const fn packed(self) -> &'static [u8] {
        match self {
            Self::Page => include_bytes!(concat!(env!("OUT_DIR"), "/page.html")),
            Self::Style => include_bytes!(concat!(env!("OUT_DIR"), "/page.css")),
            Self::Script => include_bytes!(concat!(env!("OUT_DIR"), "/page.js")),
        }
    }
}

/// Headers of each part: how it is packed, and what a browser may do with it, which is to run the page's own files and
/// ask the server that it came from. The image is the icon, which stands in the page.
pub const HEADERS: &str = "Content-Encoding: deflate\r\n\
    Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    Referrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\nCross-Origin-Opener-Policy: same-origin\r\n";

/// Headers of any other answer: a browser may do nothing with it.
pub const NOTHING: &str = "Content-Security-Policy: default-src 'none'\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::SETTINGS;
    use crate::limits::DASHBOARD_BYTES_MAX;

    const PARTS: [Part; 3] = [Part::Page, Part::Style, Part::Script];

    impl Part {
        /// What was packed.
        const fn text(self) -> &'static str {
            match self {
                Self::Page => include_str!("dashboard/page.html"),
                Self::Style => include_str!("dashboard/page.css"),
                Self::Script => include_str!("dashboard/page.js"),
            }
        }
    }

    #[test]
    fn what_is_packed_is_the_page() {
        for part in PARTS {
            let bytes = miniz_oxide::inflate::decompress_to_vec_zlib(part.packed()).expect("it is packed");
            assert!(bytes == part.text().as_bytes(), "{part:?}");
        }
    }

    #[test]
    fn the_page_is_small_and_knows_nobody_else() {
        let bytes: usize = PARTS.iter().map(|part| part.text().len()).sum();
        assert!(bytes <= DASHBOARD_BYTES_MAX, "{bytes} bytes");
        for part in PARTS {
            // The name of a language, which nobody fetches.
            let text = part.text().replace("http://www.w3.org/2000/svg", "");
            for address in ["http:", "https:", "//www", "ws:", "wss:", "@import", "url("] {
                assert!(!text.contains(address), "{part:?} names {address}");
            }
        }
    }

    #[test]
    fn nothing_of_the_page_becomes_code_or_markup_at_run_time() {
        let page = Part::Page.text();
        for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
            assert!(!page.contains(inline), "the page has {inline}");
        }
        assert_eq!(page.matches("<script").count(), page.matches("<script src=\"/page.js\" defer>").count());
        let code = Part::Script.text();
        for call in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", ".style"]
        {
            assert!(!code.contains(call), "the script has {call}");
        }
    }

    #[test]
    fn every_setting_of_a_license_has_a_field() {
        let code = Part::Script.text();
        let (_, fields) = code.split_once("const SETTINGS = [").expect("the page has settings");
        let (fields, _) = fields.split_once("\n];").expect("they end");
        assert_eq!(fields.matches("[\"").count(), SETTINGS.len());
        for setting in SETTINGS {
            assert!(fields.contains(&format!("[\"{setting}\", ")), "{setting}");
        }
    }

    #[test]
    fn a_browser_may_do_with_the_page_what_it_needs_and_with_an_answer_nothing() {
        assert!(
            HEADERS.contains("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        );
        assert!(HEADERS.contains("base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
        assert!(!HEADERS.contains("unsafe") && HEADERS.lines().count() == 5, "{HEADERS}");
        assert_eq!(NOTHING, "Content-Security-Policy: default-src 'none'\r\n");
    }
}

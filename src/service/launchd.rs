//! A property list of launchd.

use super::{MARK, OPEN_FILES, STOP_SECS, Service, System, log_file};

pub(super) fn plist(service: &Service) -> String {
    let line = std::iter::once(service.program.clone()).chain(service.words.iter().map(|word| word.text()));
    let line: String = line.map(|word| format!("        <string>{}</string>\n", escaped(&word))).collect();
    let state = service.state(System::Launchd).map_or_else(String::new, |state| {
        format!(
            "    <key>EnvironmentVariables</key>\n    <dict>\n        <key>STATE_DIRECTORY</key>\n        \
             <string>{}</string>\n    </dict>\n",
            escaped(&state)
        )
    });
    let (name, log) = (&service.name, log_file(&service.name));
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- {MARK} -->
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
    <key>Label</key>
    <string>{name}</string>
    <key>ProgramArguments</key>
    <array>
{line}    </array>
{state}    <key>RunAtLoad</key>
    <true/>
    <key>KeepAlive</key>
    <dict>
        <key>SuccessfulExit</key>
        <false/>
    </dict>
    <key>ExitTimeOut</key>
    <integer>{STOP_SECS}</integer>
    <key>SoftResourceLimits</key>
    <dict>
        <key>NumberOfFiles</key>
        <integer>{OPEN_FILES}</integer>
    </dict>
    <key>StandardErrorPath</key>
    <string>{log}</string>
</dict>
</plist>
"#
    )
}

/// Text of an element. Control characters, which XML cannot say, come in no word of a service.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

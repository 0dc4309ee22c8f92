//! Scripts of /etc/init.d: of OpenRC, and of procd.

use super::{MARK, OPEN_FILES, STOP_SECS, Service, System, log_file};

pub(super) fn openrc(service: &Service) -> String {
    let Service { name, words, .. } = service;
    let mut named = String::new();
    let mut args = Vec::new();
    for (n, word) in words.iter().enumerate() {
        named.push_str(&format!("word{n}={}\n", quoted(&word.text())));
        args.push(format!("\"$word{n}\""));
    }
    let state = service
        .state(System::OpenRc)
        .map_or_else(String::new, |state| format!("export STATE_DIRECTORY={}\n", quoted(&state)));
    format!(
        "#!/sbin/openrc-run\n\
         # {MARK}\n\
         description={title}\n\
         supervisor=supervise-daemon\n\
         # What supervise-daemon is started with is split and evaluated: it has the names of words, not the words.\n\
         program={program}\n\
         {named}\
         command='\"$program\"'\n\
         command_args={args}\n\
         {state}\
         error_log={log}\n\
         respawn_delay=5\n\
         respawn_max=0\n\
         rc_ulimit='-n {OPEN_FILES}'\n\
         # Visits that are on may end.\n\
         retry=TERM/{STOP_SECS}/KILL/5\n\
         \n\
         extra_started_commands=reload\n\
         reload() {{\n    ebegin \"Reloading $RC_SVCNAME\"\n    \
             supervise-daemon \"$RC_SVCNAME\" --signal HUP\n    eend $?\n}}\n\
         \n\
         # Not `need`: not every system has a service of that name, and nt tries until there is a network.\n\
         depend() {{\n    want net\n    use dns logger\n    after firewall\n}}\n",
        title = quoted(service.title()),
        program = quoted(&service.program),
        args = quoted(&args.join(" ")),
        log = quoted(&log_file(name)),
    )
}

pub(super) fn procd(service: &Service) -> String {
    let words: Vec<String> = service.words.iter().map(|word| quoted(&word.text())).collect();
    let state = service.state(System::Procd).map_or_else(String::new, |state| {
        format!("    procd_set_param env {}\n", quoted(&format!("STATE_DIRECTORY={state}")))
    });
    format!(
        "#!/bin/sh /etc/rc.common\n\
         # {MARK}\n\
         START=95\n\
         STOP=05\n\
         USE_PROCD=1\n\
         \n\
         start_service() {{\n    \
             procd_open_instance\n    \
             procd_set_param command {command} {words}\n\
         {state}    \
             procd_set_param respawn 3600 5 0\n    \
             procd_set_param limits nofile='{OPEN_FILES} {OPEN_FILES}'\n    \
             procd_set_param term_timeout {STOP_SECS}\n    \
             procd_set_param stderr 1\n    \
             procd_close_instance\n}}\n",
        command = quoted(&service.program),
        words = words.join(" "),
    )
}

/// A word for a shell: within single quotes nothing but they themselves means anything.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

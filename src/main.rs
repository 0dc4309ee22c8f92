//! The program: its command line, what it starts, and its exit code.

use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;

use nt::cli::{self, Command, Exit};
use nt::commands::{self, Output, read_source};
use nt::{os, run};

fn main() {
    os::no_core_dumps();
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let code = match cli::parse(&args, std::env::var("NT_LICENSE").ok()) {
        Ok(command) => {
            hide_license(&args);
            execute(command).unwrap_or_else(|why| {
                say(&mut std::io::stderr(), &format!("nt: {why}\n"));
                1
            })
        }
        Err(Exit { text, code: 0 }) => {
            say(&mut std::io::stdout(), &text);
            0
        }
        Err(Exit { text, code }) => {
            say(&mut std::io::stderr(), &text);
            code
        }
    };
    std::process::exit(code);
}

fn execute(command: Command) -> Result<i32, String> {
    let output = match command {
        Command::Serve(args) => return run::serve(&args.settle(&mut read_source)?),
        Command::Client(args) => return run::connect(args.settle(&mut read_source)?),
        Command::Demo(args) => return run::demo(args.once),
        Command::License(args) => commands::license(&args, std::io::stdout().is_terminal())?,
        Command::Check(args) => commands::check(&args)?,
        Command::Version => Output { stdout: commands::version(), stderr: String::new() },
    };
    say(&mut std::io::stderr(), &output.stderr);
    say(&mut std::io::stdout(), &output.stdout);
    Ok(0)
}

/// Whoever reads may have gone; that is no reason to panic.
fn say(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// Everybody on a machine can read a command line; the environment only its owner. So a license on the command line
/// moves there: nt starts itself anew in the same process.
fn hide_license(args: &[String]) {
    let (word, rest) = match args {
        [flag, word, rest @ ..] if matches!(flag.as_str(), "-c" | "--client") => (word.as_str(), rest),
        [flag, rest @ ..] => match flag.strip_prefix("--client=") {
            Some(word) => (word, rest),
            None => return,
        },
        [] => return,
    };
    if !word.starts_with("nt1") {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Where that fails, nt goes on as it is: the license works all the same.
        let _ = std::process::Command::new(program).arg("-c").args(rest).env("NT_LICENSE", word).exec();
    }
}

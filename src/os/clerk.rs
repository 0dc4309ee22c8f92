//! Does what needs the disk, on a thread of its own and in order: a slow disk holds up nobody.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::poll::Bell;
use crate::directory::Directory;
use crate::edit::{Edit, Edited, NotEdited};
use crate::slots::Key;

/// Where things are kept.
pub trait Files: Send {
    /// Keeps what was counted.
    ///
    /// # Errors
    /// A sentence.
    fn keep_counters(&mut self, text: &str) -> Result<(), String>;

    /// Changes the licenses.
    ///
    /// # Errors
    /// Why not.
    fn edit(&mut self, edit: &Edit) -> Result<Box<Edited>, NotEdited>;

    /// Puts these licenses in the place of those that are kept.
    ///
    /// # Errors
    /// A sentence.
    fn put_back(&mut self, directory: &Directory) -> Result<(), String>;
}

/// What is to be done.
enum Job {
    Keep(String),
    Edit(usize, Key, Edit),
    PutBack(usize, Directory),
}

/// What came of it.
pub(super) enum Done {
    NotKept(String),
    Edited(usize, Key, Result<Box<Edited>, NotEdited>),
    PutBack(usize, Result<(), String>),
}

/// How long it is waited for what is still to be written when the program ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Stack of the thread.
const STACK_BYTES: usize = 512 * 1024;

#[derive(Default)]
pub(super) struct Clerk {
    files: Option<Box<dyn Files>>,
    running: Option<Sender<Job>>,
    done: Option<Receiver<Done>>,
}

impl Clerk {
    pub(super) fn new(files: Box<dyn Files>) -> Self {
        Self { files: Some(files), running: None, done: None }
    }

    /// Has a text kept, soon.
    pub(super) fn keep(&mut self, text: String, bell: &Bell) {
        self.give(Job::Keep(text), bell);
    }

    /// Has the licenses changed; a role hears what came of it for one of its connections.
    pub(super) fn edit(&mut self, role: usize, key: Key, edit: Edit, bell: &Bell) {
        self.give(Job::Edit(role, key, edit), bell);
    }

    /// Has other licenses kept; a role hears what came of it.
    pub(super) fn put_back(&mut self, role: usize, directory: Directory, bell: &Bell) {
        self.give(Job::PutBack(role, directory), bell);
    }

    /// The thread begins with its first job.
    fn give(&mut self, job: Job, bell: &Bell) {
        if let Some(files) = self.files.take() {
            let (give, jobs) = channel();
            let (tell, done) = channel();
            let ring = bell.clone();
            let work = move || work(files, &jobs, &tell, &ring);
            let thread = thread::Builder::new().name("clerk".into()).stack_size(STACK_BYTES).spawn(work);
            self.running = thread.ok().map(|_| give);
            self.done = Some(done);
        }
        if let Some(jobs) = &self.running {
            // It fails only when the program is ending.
            let _ = jobs.send(job);
        }
    }

    pub(super) fn done(&mut self) -> Option<Done> {
        self.done.as_ref()?.try_recv().ok()
    }
}

fn work(mut files: Box<dyn Files>, jobs: &Receiver<Job>, tell: &Sender<Done>, bell: &Bell) {
    while let Ok(job) = jobs.recv() {
        let done = match job {
            Job::Keep(text) => files.keep_counters(&text).err().map(Done::NotKept),
            Job::PutBack(role, directory) => Some(Done::PutBack(role, files.put_back(&directory))),
            Job::Edit(role, key, edit) => Some(Done::Edited(role, key, files.edit(&edit))),
        };
        if let Some(done) = done {
            let _ = tell.send(done);
            bell.ring();
        }
    }
}

impl Drop for Clerk {
    /// What was to be done is, before the program ends; unless the disk hangs.
    fn drop(&mut self) {
        drop(self.running.take());
        while let Some(Ok(_)) = self.done.as_ref().map(|done| done.recv_timeout(LAST_WORDS)) {}
    }
}

//! Keeps what was counted, on a thread of its own: a slow disk holds up nobody.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::poll::Bell;

/// Writes a text where it is kept; a sentence where it cannot.
pub type Keep = Box<dyn FnMut(&str) -> Result<(), String> + Send>;

/// Stack of the thread.
const STACK_BYTES: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Keeper {
    keep: Option<Keep>,
    running: Option<(Sender<String>, JoinHandle<()>)>,
    troubles: Option<Receiver<String>>,
}

impl Keeper {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep: Some(keep), running: None, troubles: None }
    }

    /// Has a text kept, soon. What waits is not written where something newer is there already.
    pub(super) fn keep(&mut self, text: String, bell: Bell) {
        if let Some(mut keep) = self.keep.take() {
            let (texts, asked) = channel::<String>();
            let (trouble, troubles) = channel();
            let work = move || {
                while let Ok(mut text) = asked.recv() {
                    while let Ok(newer) = asked.try_recv() {
                        text = newer;
                    }
                    if let Err(why) = keep(&text) {
                        // It fails only when the program is ending.
                        let _ = trouble.send(why);
                        bell.ring();
                    }
                }
            };
            let thread = thread::Builder::new().name("keeper".into()).stack_size(STACK_BYTES).spawn(work);
            self.running = thread.ok().map(|thread| (texts, thread));
            self.troubles = Some(troubles);
        }
        if let Some((texts, _)) = &self.running {
            let _ = texts.send(text);
        }
    }

    /// Why something could not be kept, once each time.
    pub(super) fn trouble(&mut self) -> Option<String> {
        self.troubles.as_ref()?.try_recv().ok()
    }
}

impl Drop for Keeper {
    /// What was to be kept is, before the program ends.
    fn drop(&mut self) {
        if let Some((texts, thread)) = self.running.take() {
            drop(texts);
            let _ = thread.join();
        }
    }
}

//! Pipes through which payload is spliced, on Linux; elsewhere there are none, and payload is copied.

use crate::limits::{PIPE_MEMORY_SHARE, PIPES_MAX, SPLICE_BYTES_MAX};

/// Pipes that are kept for the next payload: an empty one holds no pages.
pub(super) struct Pipes {
    free: Vec<Pipe>,
    /// All there are, lent ones included.
    count: usize,
    most: usize,
}

impl Pipes {
    /// None yet, and never more than a small share of this memory can fill.
    pub(super) fn new(memory_bytes: usize) -> Self {
        let most = (memory_bytes / PIPE_MEMORY_SHARE / SPLICE_BYTES_MAX).min(PIPES_MAX);
        Self { free: Vec::new(), count: 0, most }
    }

    pub(super) fn lend(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.free.pop() {
            return Some(pipe);
        }
        let pipe = (self.count < self.most).then(here::make)??;
        self.count += 1;
        Some(pipe)
    }

    /// Takes one back; what it still holds goes with it.
    pub(super) fn take(&mut self, pipe: Pipe, empty: bool) {
        if empty {
            self.free.push(pipe);
        } else {
            self.count -= 1;
        }
    }
}

pub(super) use here::Pipe;
pub(super) use here::{splice_in, splice_out};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod here {
    use std::io;

    use rustix::fd::OwnedFd;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

    use crate::limits::SPLICE_BYTES_MAX;
    use crate::os::stream::Stream;

    /// A pipe: where it is read, and where it is written.
    pub struct Pipe(OwnedFd, OwnedFd);

    pub(super) fn make() -> Option<Pipe> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
        // A smaller one works as well: /proc/sys/fs/pipe-user-pages-soft bounds what a user may have.
        let _ = fcntl_setpipe_size(&write, SPLICE_BYTES_MAX);
        Some(Pipe(read, write))
    }

    const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

    pub(in crate::os) fn splice_in(stream: &Stream, pipe: &Pipe, most: usize) -> io::Result<usize> {
        Ok(splice(stream.socket(), None, &pipe.1, None, most, FLAGS)?)
    }

    pub(in crate::os) fn splice_out(pipe: &Pipe, stream: &Stream, most: usize) -> io::Result<usize> {
        Ok(splice(&pipe.0, None, stream.socket(), None, most, FLAGS)?)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod here {
    use std::io;

    use crate::os::stream::Stream;

    /// A pipe: there is none.
    pub enum Pipe {}

    pub(super) fn make() -> Option<Pipe> {
        None
    }

    pub(in crate::os) fn splice_in(_: &Stream, pipe: &Pipe, _: usize) -> io::Result<usize> {
        match *pipe {}
    }

    pub(in crate::os) fn splice_out(pipe: &Pipe, _: &Stream, _: usize) -> io::Result<usize> {
        match *pipe {}
    }
}

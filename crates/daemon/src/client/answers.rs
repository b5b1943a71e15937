//! A child that answers what workers ask about the server.
//!
//! The scoreboard is memory of the server's own processes. A worker that may know of it sends an end
//! of a channel to its supervisor, which passes that on to the children, over the channel on which
//! they ask for connections, the other way; whichever child is first answers. So nothing is copied
//! until somebody asks, and there is always somebody as long as there is a child. The supervisor
//! sees neither question nor answer, and a worker learns nothing but the bytes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use super::Handles;
use crate::control::Question;
use crate::sys::{receive, send, spawn, write_blob};

impl Handles {
    /// Answers from now on, in a thread of its own, with what `scoreboard` makes. A signal to this
    /// process is none of that thread's business.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn answer(&self, scoreboard: fn() -> Option<Vec<u8>>) -> io::Result<()> {
        let channel = self.channel;
        spawn("wsgi-answers", move || while answer_one(channel, scoreboard) {})
    }
}

/// Between two answers.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits for a question; `false` if there will be no more.
fn answer_one(channel: BorrowedFd<'_>, scoreboard: fn() -> Option<Vec<u8>>) -> bool {
    let mut buffer = [0; 64];
    let Ok(received) = receive(channel, &mut buffer, true) else { return false };
    if received.length == 0 {
        return false;
    }
    let question = buffer.get(..received.length).map(Question::decode);
    if let (Some(Ok(Question::Scoreboard)), [to]) = (question, &received.fds[..])
        && let Some(bytes) = scoreboard()
        && let Ok(blob) = write_blob(c"wsgi-scoreboard", &bytes)
    {
        // Who has not waited for it misses it; what is no socket cannot be sent to.
        let _ = send(to.as_fd(), &[1], &[blob.as_fd()], false);
    }
    drop(received);
    // Nobody who asks without end gets more of this process than a part.
    thread::sleep(PAUSE);
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::{pair, read_blob};

    fn board() -> Option<Vec<u8>> {
        Some(vec![7; 100_000])
    }

    #[test]
    fn a_question_is_answered_once_and_nonsense_is_not() {
        let (near, far) = pair().unwrap();
        let (ours, theirs) = pair().unwrap();
        send(far.as_fd(), b"nonsense", &[theirs.as_fd()], false).unwrap();
        send(far.as_fd(), &Question::Scoreboard.encode(), &[], false).unwrap();
        send(far.as_fd(), &Question::Scoreboard.encode(), &[theirs.as_fd()], false).unwrap();
        drop(theirs);
        for _ in 0..3 {
            assert!(answer_one(near.as_fd(), board));
        }
        let answer = receive(ours.as_fd(), &mut [0; 8], false).unwrap();
        assert_eq!(read_blob(answer.fds[0].as_fd(), 100_000).unwrap(), vec![7; 100_000]);
        assert_eq!(receive(ours.as_fd(), &mut [0; 8], false).unwrap().length, 0, "that was all");
        // Nothing to tell, and somebody who has not waited.
        for scoreboard in [|| None, board] {
            let (ours, theirs) = pair().unwrap();
            send(far.as_fd(), &Question::Scoreboard.encode(), &[theirs.as_fd()], false).unwrap();
            drop(ours);
            assert!(answer_one(near.as_fd(), scoreboard));
        }
        drop(far);
        assert!(!answer_one(near.as_fd(), board));
    }
}

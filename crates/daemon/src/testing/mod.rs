//! Workers and children in one process, with a thread that plays the supervisor's part: what can be
//! tested of the loop and the exchange without starting processes.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/app/mod.rs"]
mod app;
#[path = "../../tests/app/ask.rs"]
mod ask;
mod exchange;
mod serving;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::board::{Board, Capacity, Directory, Entry, Slot, State, Status};
use crate::client::{Child, Event, Group, Handles};
use crate::control::{Connect, Purpose, QuitReason, Start, ToWorker};
use crate::sys::{pair, receive, send, shared, shared_read_only, write_blob};
use crate::worker::{Runner, Stopped, Worker, status_length};
use app::App;
use ask::{Ask, Response};
use scenario::patience::{Deadline, finally, until};

/// A group of workers in threads, and what children need to reach it.
struct Stage {
    board: Board,
    entry: Entry,
    child: Child,
    controls: Vec<Option<OwnedFd>>,
    workers: Vec<Option<JoinHandle<Stopped>>>,
    apps: Vec<Arc<App>>,
    forward: OwnedFd,
}

const CAPACITY: Capacity = Capacity { groups: 4, slots: 32, children: 8 };

/// Descriptors that live as long as the test process.
fn leak(fd: OwnedFd) -> BorrowedFd<'static> {
    let fd: &'static OwnedFd = Box::leak(Box::new(fd));
    fd.as_fd()
}

impl Stage {
    /// One worker for each application, all of the same shape.
    fn new(apps: Vec<Arc<App>>, shape: Start) -> Stage {
        let capacity = CAPACITY;
        let memory = shared(c"board", capacity.board()).unwrap();
        let board = Board::map(memory.as_fd(), capacity, true).unwrap();
        let mut directory = Directory::read(memory.as_fd(), capacity).unwrap();
        directory.enter(memory.as_fd(), b"other", 4).unwrap();
        let entry = directory.enter(memory.as_fd(), b"group", apps.len() as u32).unwrap();
        let (near, far) = pair().unwrap();
        let handles = Handles {
            board: leak(shared_read_only(memory.as_fd()).unwrap()),
            cells: leak(shared(c"cells", capacity.cells()).unwrap()),
            channel: leak(near),
            capacity,
            config: 1,
        };
        let child = Child::join(&handles).unwrap();
        let mut stage = Stage {
            board,
            entry,
            child,
            controls: Vec::new(),
            workers: Vec::new(),
            apps: Vec::new(),
            forward: far,
        };
        for app in apps {
            stage.add(app, &shape);
        }
        stage.board.set_status(entry.group, Status::Serving);
        stage.board.announce(entry.group);
        stage
    }

    /// Starts a worker in the next slot.
    fn add(&mut self, app: Arc<App>, shape: &Start) -> u32 {
        let slot = self.entry.first + self.workers.len() as u32;
        let (near, far) = pair().unwrap();
        let start = Start {
            group: self.entry.group,
            slot,
            epoch: 5,
            generation: 1,
            domains: app.locks.len() as u16,
            connections: 500,
            idle: Duration::from_secs(10),
            ..shape.clone()
        };
        let status = shared(c"status", status_length(start.all_threads())).unwrap();
        let worker = Worker::new(start, far, Some(status.as_fd())).unwrap();
        *app.handle.lock().unwrap() = Some(worker.handle());
        let runner: Arc<dyn Runner> = app.clone();
        let run = thread::spawn(move || worker.serve(&runner).unwrap());
        let state = State::Routed;
        let pid = 1000 + slot as i32;
        let at = Slot { state, epoch: 5, generation: 1, pid, config: 1 };
        self.board.set_slot(slot, &at);
        self.controls.push(Some(near));
        self.workers.push(Some(run));
        self.apps.push(app);
        slot
    }

    /// Runs a test while connections are being passed on.
    fn run<R>(mut self, test: impl FnOnce(&Stage) -> R) -> R {
        let _deadline = Deadline::start();
        let forward = &self.forward;
        let result = thread::scope(|scope| {
            let this = &self;
            scope.spawn(move || {
                let mut buffer = [0; 64];
                while let Ok(received) = receive(forward.as_fd(), &mut buffer, true) {
                    if received.length == 0 || received.length == 1 {
                        break;
                    }
                    let connect = Connect::decode(&buffer[..received.length]).unwrap();
                    let index = (connect.slot - this.entry.first) as usize;
                    assert_eq!((connect.group, connect.epoch), (this.entry.group, 5));
                    if let Some(control) = &this.controls[index] {
                        let message = match connect.purpose {
                            Purpose::Requests { domain } => ToWorker::Connection { domain },
                            Purpose::Inquiry => ToWorker::Inquiry,
                        };
                        let message = message.encode();
                        let _ = send(control.as_fd(), &message, &[received.fds[0].as_fd()], true);
                    }
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(this)));
            send(this.child.channel_for_tests(), b"x", &[], true).unwrap();
            result
        });
        for index in 0..self.workers.len() {
            self.quit(index);
        }
        for worker in &mut self.workers {
            if let Some(worker) = worker.take() {
                let stopped = worker.join().unwrap();
                assert_eq!(stopped.stuck, 0);
            }
        }
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn quit(&self, index: usize) {
        if let Some(control) = &self.controls[index] {
            let message = ToWorker::Quit { reason: QuitReason::Stop, limit_ms: 20_000 };
            let _ = send(control.as_fd(), &message.encode(), &[], true);
        }
    }

    fn group(&self) -> &Arc<Group> {
        self.child.group(b"group").unwrap()
    }

    /// Asks for a path and takes the whole response.
    fn get(&self, path: &str) -> Response {
        self.ask(path, &Ask::default())
    }

    fn ask(&self, path: &str, ask: &Ask<'_>) -> Response {
        ask.send(&self.child, self.group(), path)
    }
}

/// One worker with so many threads.
fn one(threads: u32) -> (Arc<App>, Stage) {
    let app = app::shared("one", 1);
    let shape = Start { threads, ..Start::default() };
    (app.clone(), Stage::new(vec![app], shape))
}

/// Keeps a blob alive for tests of the start message.
#[test]
fn a_start_message_travels_as_a_blob() {
    let start = Start { name: b"group".to_vec(), threads: 3, ..Start::default() };
    let blob = write_blob(c"start", &start.encode()).unwrap();
    let bytes = crate::sys::read_blob(blob.as_fd(), Start::MAX).unwrap();
    assert_eq!(Start::decode(&bytes).unwrap(), start);
}

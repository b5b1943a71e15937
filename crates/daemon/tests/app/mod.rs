//! An application for tests, behind a lock like an interpreter's. What it does is the request's
//! `PATH`.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::sleep;
use std::time::Duration;

use daemon::wire::{Head, Record};
use daemon::worker::{Handle, Inquiry, Request, Runner, Send, Stream};

/// When an application with this name answers inquiries.
pub const LATE: Duration = Duration::from_secs(8);

/// A lock that one thread has at a time, without fairness.
#[derive(Debug, Default)]
pub struct Lock {
    taken: Mutex<bool>,
    free: Condvar,
}

impl Lock {
    pub fn acquire(&self) {
        let mut taken = self.taken.lock().unwrap();
        while *taken {
            taken = self.free.wait(taken).unwrap();
        }
        *taken = true;
    }

    pub fn release(&self) {
        *self.taken.lock().unwrap() = false;
        self.free.notify_one();
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct App {
    pub locks: Vec<Lock>,
    /// Whether there is a lock at all.
    pub unlocked: bool,
    /// What is said in answers, to tell workers apart.
    pub name: String,
    pub handle: Mutex<Option<Handle>>,
    /// How often the lock was taken to serve.
    pub batches: AtomicU64,
    pub requests: AtomicU64,
    /// Requests that are inside now, and the most there were.
    pub inside: AtomicUsize,
    pub most: AtomicUsize,
    pub signals: Mutex<Vec<i32>>,
    /// What takes long ends.
    pub give_up: AtomicBool,
}

impl App {
    pub fn new(name: &str, domains: usize) -> App {
        let locks = (0..domains).map(|_| Lock::default()).collect();
        App { locks, name: name.to_owned(), ..App::default() }
    }

    /// Until it is told to give up, or nobody will any more.
    fn stay(&self) {
        let told = (0..30_000).any(|_| {
            sleep(Duration::from_millis(1));
            self.give_up.load(SeqCst)
        });
        assert!(told, "nobody said so");
    }

    /// Does something that waits, without the lock.
    fn detached<R>(&self, domain: u16, f: impl FnOnce() -> R) -> R {
        if self.unlocked {
            return f();
        }
        self.locks[usize::from(domain)].release();
        let result = f();
        self.locks[usize::from(domain)].acquire();
        result
    }
}

impl Runner for App {
    fn attached(&self, domain: u16, serve: &mut dyn FnMut()) {
        self.batches.fetch_add(1, SeqCst);
        if self.name == "cannot attach" {
            return;
        }
        if self.unlocked {
            return serve();
        }
        struct Release<'l>(&'l Lock);
        impl Drop for Release<'_> {
            fn drop(&mut self) {
                self.0.release();
            }
        }
        let lock = &self.locks[usize::from(domain)];
        lock.acquire();
        let _release = Release(lock);
        serve();
    }

    fn batches(&self, _domain: u16) -> bool {
        !self.unlocked
    }

    fn run(&self, request: &Request<'_>, stream: &mut Stream<'_>) {
        self.requests.fetch_add(1, SeqCst);
        let now = self.inside.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        self.answer(request, stream);
        self.inside.fetch_sub(1, SeqCst);
    }

    fn inquire(&self, inquiry: Inquiry) -> Result<(), Inquiry> {
        match self.name.as_str() {
            "silent" => return Err(inquiry),
            "late" => {
                std::thread::spawn(move || {
                    sleep(LATE);
                    inquiry.answer(vec![b"late".to_vec(); 2]);
                });
            }
            name => {
                let text = name.as_bytes()[..name.len().min(inquiry.room())].to_vec();
                let places = inquiry.inside().iter().map(|_| text.clone()).collect();
                inquiry.answer(places);
            }
        }
        Ok(())
    }

    fn signal(&self, signal: i32) {
        self.signals.lock().unwrap().push(signal);
    }
}

fn variable<'r>(request: &Request<'r>, name: &str) -> &'r str {
    let found = request.environ().find(|(key, _)| *key == name.as_bytes());
    std::str::from_utf8(found.map(|(_, value)| value).unwrap_or_default()).unwrap()
}

impl App {
    fn answer(&self, request: &Request<'_>, stream: &mut Stream<'_>) {
        let path = variable(request, "PATH");
        let domain: u16 = variable(request, "DOMAIN").parse().unwrap_or(0);
        let (what, argument) = path.split_once('/').unwrap_or((path, ""));
        let number: u64 = argument.parse().unwrap_or(0);
        let respond = |stream: &mut Stream<'_>, head: Option<&Head<'_>>, body: &[u8], how: Send| {
            let chunks = [body];
            let tried = stream.try_respond(head, &chunks, how);
            tried.unwrap_or_else(|| self.detached(domain, || stream.respond(head, &chunks, how)))
        };
        let read = |stream: &mut Stream<'_>, buffer: &mut [u8]| {
            let tried = stream.try_read(buffer);
            tried.unwrap_or_else(|| self.detached(domain, || stream.read(buffer)))
        };
        let headers: [(&[u8], &[u8]); 1] = [(b"X-Name", self.name.as_bytes())];
        let head = Head { status: 200, reason: Some(b"OK"), content_length: -1, headers: &headers };
        let result = match what {
            "hello" => respond(stream, Some(&head), b"Hello", Send::END),
            "pid" => {
                let pid = std::process::id().to_string();
                respond(stream, Some(&head), pid.as_bytes(), Send::END)
            }
            "sleep" => {
                self.detached(domain, || sleep(Duration::from_millis(number)));
                respond(stream, Some(&head), b"slept", Send::END)
            }
            // Keeps the lock.
            "spin" => {
                sleep(Duration::from_millis(number));
                respond(stream, Some(&head), b"spun", Send::END)
            }
            // The same two until they are told to give up, which needs no clock.
            "stay" => {
                self.detached(domain, || self.stay());
                respond(stream, Some(&head), b"stayed until told", Send::END)
            }
            "hold" => {
                self.stay();
                respond(stream, Some(&head), b"held until told", Send::END)
            }
            // Many short waits: what a batch that never ends would slow down.
            "waits" => {
                for _ in 0..number {
                    self.detached(domain, || sleep(Duration::from_micros(200)));
                }
                respond(stream, Some(&head), b"waited", Send::END)
            }
            // Reads everything, says how much it was and what the bytes add up to.
            "upload" => {
                let mut buffer = vec![0; if number > 0 { number as usize } else { 65_536 }];
                let (mut length, mut sum) = (0u64, 0u64);
                let body = loop {
                    match read(stream, &mut buffer) {
                        Ok(0) => break format!("{length} {sum}"),
                        Ok(count) => {
                            length += count as u64;
                            sum += buffer[..count].iter().map(|byte| u64::from(*byte)).sum::<u64>();
                        }
                        Err(error) => break format!("{length} {:?} {error}", error.kind),
                    }
                };
                respond(stream, Some(&head), body.as_bytes(), Send::END)
            }
            // Responds at length before, between and after reading.
            "both" => {
                let block = vec![b'x'; 300_000];
                let mut buffer = vec![0; 10_000];
                let mut done = respond(stream, Some(&head), &block, Send::NONE);
                while done.is_ok() {
                    match read(stream, &mut buffer) {
                        Ok(0) => break,
                        Ok(_) => done = respond(stream, None, &block[..20_000], Send::NONE),
                        Err(error) => done = Err(error),
                    }
                }
                done.and_then(|()| respond(stream, None, b"", Send::END))
            }
            // Does not read its body, or only the first bytes of it.
            "ignore" => {
                if number > 0 {
                    let _ = read(stream, &mut vec![0; number as usize]);
                }
                respond(stream, Some(&head), b"ignored", Send::END)
            }
            "large" => respond(stream, Some(&head), &vec![b'x'; number as usize], Send::END),
            "stream" => {
                let mut done = respond(stream, Some(&head), b"", Send::FLUSH);
                for _ in 0..number {
                    done = done.and_then(|()| respond(stream, None, &[b'x'; 1000], Send::FLUSH));
                }
                done.and_then(|()| respond(stream, None, b"", Send::END))
            }
            "slow" => {
                let mut done = respond(stream, Some(&head), b"", Send::FLUSH);
                for _ in 0..number {
                    self.detached(domain, || sleep(Duration::from_millis(20)));
                    done = done.and_then(|()| respond(stream, None, b"x", Send::FLUSH));
                }
                done.and_then(|()| respond(stream, None, b"", Send::END))
            }
            "file" => {
                let file = tempfile(argument.len());
                rustix::io::pwrite(&file, argument.as_bytes(), 0).unwrap();
                let length = variable(request, "LENGTH").parse().unwrap();
                use std::os::fd::AsFd;
                self.detached(domain, || {
                    stream.send_file(Some(&head), file.as_fd(), 1, length, Send::END)
                })
                .map(|_| ())
            }
            "truncate" => respond(stream, Some(&head), b"half of", Send::TRUNCATED),
            "vanish" => respond(stream, Some(&head), b"half of", Send::NONE),
            "nothing" => Ok(()),
            // Logs all the time.
            "chatter" => {
                for _ in 0..number {
                    if self.give_up.load(SeqCst) || stream.client_gone() {
                        break;
                    }
                    stream.log(&[Record::new(6, 0, b"chatter")]);
                    self.detached(domain, || sleep(Duration::from_millis(1)));
                }
                Ok(())
            }
            // Reads a little of its body at a time.
            "dawdle" => {
                let mut buffer = vec![0; 100];
                for _ in 0..number {
                    if self.give_up.load(SeqCst) || read(stream, &mut buffer).is_err() {
                        break;
                    }
                    self.detached(domain, || sleep(Duration::from_millis(1)));
                }
                Ok(())
            }
            "render" => stream.render(503, b"no, thank you"),
            "panic" => panic!("this is what the test is about"),
            "later" if !request.facts().stay => stream.later(),
            "later" => respond(stream, Some(&head), b"stayed", Send::END),
            "header" => {
                let value = vec![b'x'; number as usize];
                let headers: [(&[u8], &[u8]); 1] = [(b"X-Long", &value)];
                let long = Head { headers: &headers, ..head };
                match respond(stream, Some(&long), b"", Send::END) {
                    Err(error) => {
                        respond(stream, Some(&head), format!("{error}").as_bytes(), Send::END)
                    }
                    done => done,
                }
            }
            "log" => {
                let records = [Record::new(3, 7, b"first"), Record::new(6, 0, b"second")];
                let taken = stream.log(&records);
                respond(stream, Some(&head), taken.to_string().as_bytes(), Send::END)
            }
            "gone" => {
                let mut gone = stream.client_gone();
                for _ in 0..2000 {
                    if gone {
                        break;
                    }
                    self.detached(domain, || sleep(Duration::from_millis(10)));
                    gone = stream.client_gone();
                }
                self.signals.lock().unwrap().push(if gone { -1 } else { -2 });
                respond(stream, Some(&head), b"", Send::END)
            }
            "retire" => {
                let handle = self.handle.lock().unwrap().clone().unwrap();
                handle.retire(daemon::control::Retire::MaximumRequests);
                respond(stream, Some(&head), b"retiring", Send::END)
            }
            _ => self.misbehave(what, number, &head, request, stream),
        };
        drop(result);
    }

    /// What only makes sense in a process of its own.
    fn misbehave(
        &self,
        what: &str,
        number: u64,
        head: &Head<'_>,
        request: &Request<'_>,
        stream: &mut Stream<'_>,
    ) -> Result<(), daemon::worker::Error> {
        match what {
            "exit" => {
                // SAFETY: ends the worker's process, which is what the test wants.
                unsafe { libc::_exit(number as i32) }
            }
            "die" => {
                stream.respond(Some(head), &[b"some"], Send::FLUSH)?;
                // SAFETY: ends the worker's process, which is what the test wants.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
                Ok(())
            }
            // Says in its output that it runs, and does so for long.
            "announce" => {
                println!("running {}", variable(request, "TEXT"));
                let domain: u16 = variable(request, "DOMAIN").parse().unwrap_or(0);
                self.detached(domain, || sleep(Duration::from_millis(number)));
                stream.respond(Some(head), &[b"announced"], Send::END)
            }
            "signal" => {
                // Twice, for the first time some handlers of the library only go away.
                for _ in 0..2 {
                    // SAFETY: a signal to this thread.
                    unsafe { libc::raise(number as i32) };
                }
                stream.respond(Some(head), &[b"survived"], Send::END)
            }
            // Something for the log that belongs to no request.
            "handle" => {
                let handle = self.handle.lock().unwrap().clone().unwrap();
                handle.log(&[Record::new(4, 77, variable(request, "TEXT").as_bytes())]);
                stream.respond(Some(head), &[b"logged"], Send::END)
            }
            // Leaves a forked child behind that keeps everything open: made with a system call, it
            // does not run at-fork handlers.
            "fork" => {
                // SAFETY: the child only sleeps and ends.
                unsafe {
                    if libc::syscall(libc::SYS_fork) == 0 {
                        libc::sleep(number as u32);
                        libc::_exit(0);
                    }
                }
                stream.respond(Some(head), &[b"forked"], Send::END)
            }
            // A forked child that comes back into the worker's code.
            "forkreturn" => {
                // SAFETY: the child goes on with what is async-signal-safe: it ends at once.
                let pid = unsafe { libc::fork() };
                if pid == 0 {
                    return Ok(());
                }
                let mut status = 0;
                // SAFETY: our child; status is writable.
                unsafe { libc::waitpid(pid, &mut status, 0) };
                let text = format!("{status}");
                stream.respond(Some(head), &[text.as_bytes()], Send::END)
            }
            "print" => {
                println!("{}", variable(request, "TEXT"));
                stream.respond(Some(head), &[b"printed"], Send::END)
            }
            // One line of /proc/self/status, or whatever else a process can see of itself.
            // Takes memory, and keeps it.
            "allocate" => {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                for _ in 0..number {
                    kept.push(vec![1; 1 << 20]);
                }
                let text = format!("{} MiB", kept.iter().map(|one| one.len() >> 20).sum::<usize>());
                stream.respond(Some(head), &[text.as_bytes()], Send::END)
            }
            // Computes without end.
            "burn" => loop {
                std::hint::spin_loop();
            },
            "status" => {
                let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
                stream.respond(Some(head), &[text.as_bytes()], Send::END)
            }
            "env" => {
                let mut text = String::new();
                for (name, value) in std::env::vars() {
                    text += &format!("{name}={value}\n");
                }
                let cwd = std::env::current_dir()
                    .map_or_else(|e| e.to_string(), |d| d.display().to_string());
                text += &format!("CWD={cwd}\nARGS={:?}\n", std::env::args().collect::<Vec<_>>());
                stream.respond(Some(head), &[text.as_bytes()], Send::END)
            }
            "fds" => {
                let mut text = String::new();
                for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
                    let target = std::fs::read_link(entry.path()).unwrap_or_default();
                    text += &format!("{} {}\n", entry.file_name().display(), target.display());
                }
                stream.respond(Some(head), &[text.as_bytes()], Send::END)
            }
            _ => stream.render(404, b""),
        }
    }
}

fn tempfile(_length: usize) -> std::os::fd::OwnedFd {
    rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap()
}

/// Shared by all tests of one process.
pub fn shared(name: &str, domains: usize) -> Arc<App> {
    Arc::new(App::new(name, domains))
}

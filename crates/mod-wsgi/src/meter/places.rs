//! Where the requests that run are in their applications: asked when somebody looks at the page, and
//! at no other time.
//!
//! Of daemon mode the workers are asked, over the supervisor; of embedded mode the children, each of
//! which has a thread that waits for the question if it has a Python. Both look as
//! `engine_api::Engine::places` says, and say within a moment that they could not. All are asked
//! at once, and the page waits for them together, no longer than [`WAIT`]. Requests do nothing for it.

use std::thread;
use std::time::{Duration, Instant};

use daemon::client::Address;
use engine_api::{Engine, PATIENCE};
use status::memory::{Key, ROOM};
use status::{Frame, Memory, Place};

use super::METER;
use crate::{daemon as workers, log};

/// How a request is asked for.
#[derive(Clone, Copy)]
pub(super) enum Whereabouts {
    /// It runs in a child, which has this record of it.
    Child(Key),
    /// A worker has it, which knows it by when the server has read it.
    Worker(Address, i64),
    /// It is with no application.
    Nowhere,
}

/// How long the page waits: for those who wait for Python's lock, and for them to be heard.
const WAIT: Duration = Duration::from_millis(PATIENCE.as_millis() as u64 + 150);

/// As many workers are asked, those with the oldest requests.
const MOST_ASKED: usize = 128;

/// Answers whoever asks where the requests of this child are, from now on.
pub(crate) fn answer(engine: Engine) {
    let Some((child, embedded)) =
        METER.get().and_then(|meter| meter.child.as_ref().zip(meter.embedded))
    else {
        return;
    };
    let mut last = child.memory().questions();
    let run = move || {
        loop {
            let question = child.next_question(last);
            if question == last {
                continue;
            }
            last = question;
            let records = child.records(embedded);
            let threads: Vec<_> = records.iter().map(|record| record.thread).collect();
            let mut texts = vec![Vec::new(); threads.len()];
            if !threads.is_empty() {
                engine.places(&threads, ROOM, &mut |index, text| {
                    if let Some(to) = texts.get_mut(index as usize) {
                        *to = text.to_vec();
                    }
                });
            }
            let keys = records.iter().map(|record| record.key);
            child.answer(question, keys.zip(texts.iter().map(Vec::as_slice)));
        }
    };
    if let Err(error) = daemon::spawn("wsgi-places", run) {
        log::process_text(&format!("wsgi-status cannot tell where requests are: {error}"));
    }
}

/// Finds out where requests are, the oldest of which is first.
pub(super) fn find(memory: &Memory, requests: &[Whereabouts]) -> Vec<Option<Place>> {
    let until = Instant::now() + WAIT;
    let keys = || requests.iter().filter_map(Whereabouts::key);
    let question = keys().next().map(|_| memory.ask());
    let mut asked: Vec<Address> = Vec::new();
    for request in requests {
        if let Whereabouts::Worker(address, _) = request
            && asked.len() < MOST_ASKED
            && !asked.contains(address)
        {
            asked.push(*address);
        }
    }
    let answers = workers::inquire(&asked, WAIT);
    if let Some(question) = question {
        while keys().any(|key| !memory.has_answered(key, question)) && Instant::now() < until {
            thread::sleep(LOOK);
        }
    }
    let place = |request: &Whereabouts| match request {
        Whereabouts::Nowhere => None,
        Whereabouts::Child(key) => {
            let question = question?;
            match memory.told(*key, question) {
                Some(text) => decode(&text),
                None if memory.has_answered(*key, question) => None,
                None => Some(Place::NoAnswer),
            }
        }
        Whereabouts::Worker(address, started) => {
            let index = asked.iter().position(|other| other == address)?;
            let Some(Some(places)) = answers.get(index) else { return Some(Place::NoAnswer) };
            let mut same = places.iter().filter(|(other, _)| other == started);
            // Of two that came in one microsecond nobody knows which is which.
            same.next().filter(|_| same.next().is_none()).and_then(|(_, text)| decode(text))
        }
    };
    requests.iter().map(place).collect()
}

/// Between two looks for an answer of another child.
const LOOK: Duration = Duration::from_millis(2);

impl Whereabouts {
    fn key(&self) -> Option<Key> {
        match self {
            Whereabouts::Child(key) => Some(*key),
            _ => None,
        }
    }
}

/// What an engine has said. Nonsense is nothing.
fn decode(text: &[u8]) -> Option<Place> {
    Some(match engine_api::Place::decode(text)? {
        engine_api::Place::Elsewhere => Place::Elsewhere,
        engine_api::Place::Held => Place::Held(PATIENCE.as_millis() as u64),
        engine_api::Place::Untold => Place::Untold,
        engine_api::Place::Frames(frames) => {
            let frames = frames.into_iter().map(|frame| {
                let engine_api::Frame { file, line, function } = frame;
                Frame { file, line, function }
            });
            Place::Frames(frames.collect())
        }
    })
}

//! What the supervisor hears, and what it tells its workers and the log relay: whatever is understood
//! is written as it was read, and nothing does harm.

#![no_main]

use daemon::ABI;
use daemon::control::{
    Connect, FromParent, FromWorker, Kept, MAX_MESSAGE, Question, Start, ToWorker, decode_places,
    encode_places,
};
use daemon::log::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (which, bytes) = input;
    // The fingerprint of the build, which nobody could guess.
    let with_abi = [&ABI.to_le_bytes(), bytes].concat();
    match which % 10 {
        0 => {
            if let Ok(message) = FromWorker::decode(bytes) {
                let again = message.encode();
                assert!(again.len() <= MAX_MESSAGE);
                assert_eq!(FromWorker::decode(&again), Ok(message));
            }
        }
        1 => {
            if let Ok(message) = ToWorker::decode(bytes) {
                assert_eq!(ToWorker::decode(&message.encode()), Ok(message));
            }
        }
        2 => {
            let start = [&[1], &with_abi[..]].concat();
            if let Ok(message) = ToWorker::decode(&start) {
                assert_eq!(message, ToWorker::Start);
                assert!(bytes.is_empty());
            }
        }
        8 => {
            if let Ok(message) = Question::decode(&with_abi) {
                assert_eq!(message.encode(), with_abi);
            }
        }
        9 => {
            if let Ok(places) = decode_places(bytes) {
                let again = encode_places(&places);
                assert!(again == bytes || again.len() < bytes.len());
            }
        }
        3 => {
            if let Ok(message) = Connect::decode(&with_abi) {
                assert_eq!(message.encode(), with_abi);
            }
        }
        4 => {
            if let Ok(message) = Kept::decode(&with_abi) {
                assert_eq!(message.encode(), with_abi);
            }
        }
        5 => {
            if let Ok(message) = FromParent::decode(&with_abi) {
                assert_eq!(message.encode(), with_abi);
            }
        }
        6 => {
            if let Ok(entry) = Entry::decode(&with_abi) {
                let again = entry.encode();
                assert!(again.len() <= daemon::log::MAX);
                assert_eq!(Entry::decode(&again), Ok(entry));
            }
        }
        _ => {
            if let Ok(start) = Start::decode(bytes) {
                assert_eq!(Start::decode(&start.encode()), Ok(start));
            }
        }
    }
});

//! Codes of mod_wsgi that nothing here logs, each with the reason.
//!
//! They stay in the table: a number keeps its meaning, and who searches a log for one of these
//! learns why it is not there.

/// Codes that are not logged for one reason.
#[derive(Debug)]
pub struct Unused {
    /// Why, as a sentence.
    pub reason: &'static str,
    /// The numbers, in order.
    pub numbers: &'static [u16],
    /// Whether they may be logged one day, when more of the module exists.
    pub awaited: bool,
}

/// What is not logged, and why.
pub const UNUSED: &[Unused] = &[
    Unused {
        reason: "mod_wsgi 6.1.1 has the text and does not log it either.",
        numbers: &[24, 47, 53, 74, 85, 88, 97, 98, 130, 131, 140, 142, 181, 182],
        awaited: false,
    },
    Unused {
        reason: "Two notices say it: `Compiled for Python/...` and `Runtime using Python/...`.",
        numbers: &[99],
        awaited: false,
    },
    Unused {
        reason: "There is no socket in the file system: connections are passed to workers.",
        numbers: &[12, 13, 14, 15, 18, 33, 34, 64, 65, 72, 73],
        awaited: false,
    },
    Unused {
        reason: "There is no lock for accepting connections.",
        numbers: &[17, 19, 26, 30, 31, 32],
        awaited: false,
    },
    Unused {
        reason: "Threads of workers wait in the kernel, not for condition variables.",
        numbers: &[16, 20, 21],
        awaited: false,
    },
    Unused {
        reason: "What is wrong with Python's home is the reason in `WSGI0036`.",
        numbers: &[100, 101, 102],
        awaited: false,
    },
    Unused {
        reason: "No interpreter is ended in a running process.",
        numbers: &[111, 192],
        awaited: false,
    },
    Unused {
        reason: "The module of an interpreter is at hand and need not be imported.",
        numbers: &[113],
        awaited: false,
    },
    Unused {
        reason: "Closing a file that was only read cannot fail.",
        numbers: &[195, 196],
        awaited: false,
    },
    Unused {
        reason: "Daemon mode says it in other words, or not yet.",
        numbers: &[
            3, 4, 5, 6, 7, 8, 9, 10, 11, 22, 23, 25, 27, 28, 29, 62, 63, 67, 68, 69, 70, 71, 75,
            76, 77, 78, 80, 82, 83, 90, 115, 122, 123, 125, 127, 128, 129, 144, 156, 165, 167, 204,
            206, 208,
        ],
        awaited: true,
    },
    Unused {
        reason: "The directives that it is about do not say it yet.",
        numbers: &[61, 203],
        awaited: true,
    },
];

/// Why the code with this number is not logged, if it is not.
#[must_use]
pub fn unused(number: u16) -> Option<&'static Unused> {
    UNUSED.iter().find(|unused| unused.numbers.contains(&number))
}

//! The leaf under everything Python: who is attached, who owns a reference, how errors cross.
//!
//! `pyo3`'s safe layer keeps types, interned strings and deferred decrefs in process-wide statics
//! and attaches with `PyGILState_Ensure`, which is unsound once sub-interpreters exist
//! (<https://github.com/PyO3/pyo3/issues/3451>). This crate is the small part of it that we need,
//! written so that an object of one interpreter cannot be used in another:
//!
//! * [`Token`] proves that the thread is attached and names the interpreter;
//! * [`Bound`] is an owned reference that lives no longer than a token;
//! * [`Global`] is an owned reference that may leave, and says where it came from;
//! * [`Error`] is a raised exception, taken out of the thread state;
//! * [`guard`] is the one door through which Python calls us;
//! * [`class`] makes types per interpreter, [`text`] looks into strings and buffers.
//!
//! Names follow <https://docs.python.org/3/c-api/>. Nothing here knows what a WSGI request is, and
//! nothing here starts or attaches to an interpreter: that is the `interp` crate.

mod call;
pub mod class;
mod collector;
pub mod compat;
mod error;
pub mod guard;
mod object;
pub mod text;
mod token;
mod value;
mod wait;

pub use collector::NoCollector;
pub use error::{Error, Result};
pub use object::{Bound, Global, WrongInterpreter};
pub use pyo3_ffi as ffi;
pub use token::{InterpreterId, Token};
pub use wait::{Waits, measure_waits, waiting};

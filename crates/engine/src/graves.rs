//! References that were dropped where nobody was attached, waiting to be given back.
//!
//! A [`Global`] cannot give its reference back when it is dropped. What may be dropped anywhere
//! puts it here, and whoever is attached next and passes by empties it.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use py::{Global, Token};

/// References of one interpreter. Copies are the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graves(Arc<Mutex<Vec<Global>>>);

impl Graves {
    /// Takes references over.
    pub(crate) fn add(&self, objects: impl IntoIterator<Item = Global>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(objects);
    }

    /// Gives back what is here; that may run any Python code.
    pub(crate) fn empty(&self, py: Token<'_>) {
        let objects = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for object in objects {
            // An object of another interpreter would be a defect of ours; it stays.
            let _ = object.release(py);
        }
    }
}

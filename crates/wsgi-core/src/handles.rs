//! The Python objects through which one request is used: `wsgi.input`, `start_response` and what
//! that returns.
//!
//! To make and free them costs as much as calling a small application. So they are used again by a
//! later request, if the application has kept none of them: then nobody can tell. Without a GIL
//! counts of references prove less, and they are made anew each time.

use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::Arc;

use py::{Bound, Result, Token, ffi};

use crate::exchange::{Exchange, lock};
use crate::state::{Ref, State};
use crate::{adapter, input};

/// Spare handles kept: as many as requests run at once, within reason.
const MOST_SPARES: usize = 64;

/// An object's way to its request.
pub(crate) struct Handle {
    exchange: UnsafeCell<Arc<Exchange>>,
    /// The method `write` of an adapter, borrowed from the [`Handles`] that are in use; or NULL.
    write: Cell<*mut ffi::PyObject>,
}

impl Handle {
    #[inline]
    pub(crate) fn new(exchange: &Arc<Exchange>) -> Handle {
        Handle {
            exchange: UnsafeCell::new(Arc::clone(exchange)),
            write: Cell::new(ptr::null_mut()),
        }
    }

    pub(crate) fn get(&self) -> &Arc<Exchange> {
        // SAFETY: replaced only when nobody else has the object, and so nobody this reference.
        unsafe { &*self.exchange.get() }
    }

    /// The method `write`, if there is one already.
    pub(crate) fn write<'py>(&self, py: Token<'py>) -> Option<Bound<'py>> {
        // SAFETY: alive while it is set (field); attached, under the GIL or else it is not set.
        unsafe { Bound::from_borrowed(py, self.write.get()) }
    }

    /// # Safety
    /// Nobody else has the object that this is in.
    unsafe fn replace(&self, exchange: &Arc<Exchange>) {
        // SAFETY: by contract there is no reference from `get`.
        drop(unsafe { ptr::replace(self.exchange.get(), Arc::clone(exchange)) });
    }
}

/// The objects of a request that is served.
pub(crate) struct Handles<'py> {
    pub(crate) input: Bound<'py>,
    adapter: Bound<'py>,
    pub(crate) start_response: Bound<'py>,
    write: Bound<'py>,
}

/// The head of CPython's `PyCFunctionObject`, the same in all versions since 3.8; pyo3-ffi does not
/// promise the layout of its own.
#[repr(C)]
struct Function {
    base: ffi::PyObject,
    definition: *mut ffi::PyMethodDef,
    owner: *mut ffi::PyObject,
    module: *mut ffi::PyObject,
    weak_references: *mut ffi::PyObject,
}

/// Objects that nobody uses. They lead to no request.
pub(crate) struct Spare {
    input: Ref,
    adapter: Ref,
    start_response: Ref,
    write: Ref,
}

impl<'py> Handles<'py> {
    /// Handles of `exchange`.
    pub(crate) fn new(
        py: Token<'py>,
        state: &State,
        exchange: &Arc<Exchange>,
    ) -> Result<'py, Handles<'py>> {
        let spare = lock(&state.handles).pop();
        let handles = match spare {
            Some(spare) => {
                let handles = spare.take(py)?;
                // SAFETY: `retire` has found that nobody else has these, and has kept them since.
                unsafe {
                    input::handle(&handles.input).replace(exchange);
                    adapter::handle(&handles.adapter).replace(exchange);
                }
                handles
            }
            None => {
                let adapter = adapter::new(py, state, exchange)?;
                Handles {
                    input: input::new(py, state, exchange)?,
                    start_response: adapter::start_response(&adapter)?,
                    write: adapter::write(&adapter)?,
                    adapter,
                }
            }
        };
        if !cfg!(Py_GIL_DISABLED) {
            adapter::handle(&handles.adapter).write.set(handles.write.as_ptr());
        }
        Ok(handles)
    }

    /// Keeps the objects for another request if the application has none of them.
    #[inline]
    pub(crate) fn retire(self, state: &State, exchange: &Exchange) {
        let handle = adapter::handle(&self.adapter);
        handle.write.set(ptr::null_mut());
        if !self.are_unshared() {
            return;
        }
        let mut spares = lock(&state.handles);
        if spares.len() >= MOST_SPARES {
            return;
        }
        let over = state.over.get_or_init(|| Arc::new(Exchange::over(&exchange.state)));
        // SAFETY: nobody else has them, says `are_unshared`.
        unsafe {
            input::handle(&self.input).replace(over);
            handle.replace(over);
        }
        spares.push(Spare {
            input: Ref::new(self.input),
            adapter: Ref::new(self.adapter),
            start_response: Ref::new(self.start_response),
            write: Ref::new(self.write),
        });
    }

    fn are_unshared(&self) -> bool {
        let functions = [&self.start_response, &self.write];
        // SAFETY: attached; live objects, the latter two functions of C. The methods hold the
        // adapter, and we hold all.
        !cfg!(Py_GIL_DISABLED)
            && unsafe {
                ffi::Py_REFCNT(self.input.as_ptr()) == 1
                    && ffi::Py_REFCNT(self.adapter.as_ptr()) == 3
                    && functions.iter().all(|function| {
                        let object = function.as_ptr();
                        let function = object.cast::<Function>();
                        ffi::Py_REFCNT(object) == 1 && (*function).weak_references.is_null()
                    })
            }
    }
}

impl Spare {
    fn take<'py>(self, py: Token<'py>) -> Result<'py, Handles<'py>> {
        // SAFETY: the references were given to the `Spare`; now they are ours.
        let own = |object: Ref| unsafe { Bound::from_owned(py, object.as_ptr()) };
        Ok(Handles {
            input: own(self.input)?,
            adapter: own(self.adapter)?,
            start_response: own(self.start_response)?,
            write: own(self.write)?,
        })
    }
}

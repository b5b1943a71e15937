//! Servers: the main one and virtual hosts.
//! <https://httpd.apache.org/docs/2.4/vhosts/>

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use apr_sys as raw;

use crate::config;
use crate::log::Logger;
use crate::module::Module;
use crate::pool::Pool;
use crate::text::bytes;

/// A server that lives for `'s`.
#[derive(Clone, Copy)]
pub struct Server<'s> {
    /// Alive for `'s`.
    raw: NonNull<raw::server_rec>,
    life: PhantomData<&'s ()>,
}

impl<'s> Server<'s> {
    /// # Safety
    /// `server` is alive for `'s`.
    pub unsafe fn from_raw(server: *mut raw::server_rec) -> Server<'s> {
        debug_assert!(!server.is_null());
        // SAFETY: by contract.
        Server { raw: unsafe { NonNull::new_unchecked(server) }, life: PhantomData }
    }

    /// The C pointer.
    pub fn as_ptr(self) -> *mut raw::server_rec {
        self.raw.as_ptr()
    }

    fn get(self) -> &'s raw::server_rec {
        // SAFETY: alive (field); the server writes to it only while it reads its configuration.
        unsafe { self.raw.as_ref() }
    }

    /// The host part of `ServerName`; empty if there is none.
    pub fn hostname(self) -> &'s [u8] {
        // SAFETY: a string or NULL (A8).
        unsafe { bytes(self.get().server_hostname) }.unwrap_or_default()
    }

    /// `ServerAdmin`.
    pub fn admin(self) -> Option<&'s [u8]> {
        // SAFETY: a string or NULL (A8).
        unsafe { bytes(self.get().server_admin) }
    }

    /// The port in `ServerName`, if there is one.
    pub fn port(self) -> Option<u16> {
        Some(self.get().port).filter(|port| *port != 0)
    }

    /// Whether this is a virtual host.
    pub fn is_virtual(self) -> bool {
        self.get().is_virtual != 0
    }

    /// The next one in the list that begins with the main server.
    pub fn next(self) -> Option<Server<'s>> {
        let next = NonNull::new(self.get().next)?;
        Some(Server { raw: next, life: PhantomData })
    }

    /// This server and those behind it in the list.
    pub fn and_following(self) -> impl Iterator<Item = Server<'s>> {
        std::iter::successors(Some(self), |server| server.next())
    }

    /// The configuration of `M`.
    pub fn config<M: Module>(self) -> Option<&'s M::Server> {
        // SAFETY: a vector of the server's configuration, in which `M` keeps this type.
        unsafe { config::find::<M, M::Server>(self.get().module_config) }
    }

    /// What `M` keeps once for the whole configuration.
    ///
    /// For the time while the configuration is read, for the hooks of the parent, and for
    /// [`ChildInit`](crate::ChildInit): who serves requests takes a copy there.
    pub fn shared<M: Module>(self) -> Option<&'s M::Shared> {
        // SAFETY: every server belongs to a process, whose pool for the configuration lives as long
        // as the servers in it.
        unsafe {
            let process = self.get().process.as_ref()?;
            config::shared::<M>(process.pconf)
        }
    }

    /// The configuration's pool, in the parent.
    pub fn config_pool(self) -> Pool<'s> {
        // SAFETY: every server belongs to a process, whose pool for the configuration lives as long
        // as the servers in it.
        unsafe { Pool::from_raw((*self.get().process).pconf) }
    }

    /// `Timeout`.
    pub fn timeout(self) -> Duration {
        Duration::from_micros(u64::try_from(self.get().timeout).unwrap_or_default())
    }

    /// Its log.
    pub fn logger<M: Module>(self) -> Logger<'s> {
        // SAFETY: alive for `'s`.
        unsafe { Logger::server::<M>(self.as_ptr()) }
    }
}

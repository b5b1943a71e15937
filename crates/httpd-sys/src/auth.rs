//! Access control: who may come in, who somebody is, and what he may do.
//!
//! The server's own modules (mod_auth_basic, mod_auth_digest, mod_authz_core) talk to the client and
//! combine answers; a module adds *providers*, which the configuration names (`AuthBasicProvider`,
//! `Require`). Each answer is an enum without a default, and what goes wrong in here, a panic
//! included, is an error: the server answers 500 and lets nobody in.
//! <https://httpd.apache.org/docs/2.4/howto/auth.html>

use std::ffi::{CStr, c_char, c_int, c_void};

use apr_sys as raw;

use crate::guard::guarded;
use crate::hook::{Hooks, Order, RequestHook, panicked};
use crate::module::Module;
use crate::request::Request;
use crate::text::bytes;

/// What a password is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// There is no such user here; another provider may know him.
    NoUser,
    /// That cannot be told.
    Error,
}

/// What mod_auth_digest compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealmHash {
    /// MD5 of `user:realm:password`, in hexadecimal digits.
    Hash(Vec<u8>),
    /// There is no such user here; another provider may know him.
    NoUser,
    /// That cannot be told.
    Error,
}

/// Whether a requirement is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// It is.
    Met,
    /// It is not.
    NotMet,
    /// It takes a user, who is not known yet.
    NoUser,
    /// That cannot be told: no request is let in, also where the requirement is negated.
    Error,
}

/// Tells who somebody is. A panic is an error.
pub trait AuthnProvider {
    /// For mod_auth_basic and mod_auth_form. May set the user.
    fn check_password(request: &mut Request<'_>, user: &[u8], password: &[u8]) -> Password;

    /// For mod_auth_digest.
    fn realm_hash(request: &mut Request<'_>, user: &[u8], realm: &[u8]) -> RealmHash;
}

/// Tells what somebody may do. A panic is an error.
pub trait AuthzProvider {
    /// Whether the request meets `Require NAME arguments`.
    fn check(request: &mut Request<'_>, arguments: &[u8]) -> Requirement;
}

impl<M: Module> Hooks<'_, M> {
    /// Adds a provider that tells who somebody is.
    pub fn authn_provider<P: AuthnProvider>(&mut self, name: &'static CStr) {
        let provider = const {
            &raw::authn_provider {
                check_password: Some(check_password::<M, P>),
                get_realm_hash: Some(realm_hash::<M, P>),
            }
        };
        let version = c_string(raw::AUTHN_PROVIDER_VERSION);
        self.provider(c_string(raw::AUTHN_PROVIDER_GROUP), name, version, provider);
    }

    /// Adds a provider that tells what somebody may do.
    pub fn authz_provider<P: AuthzProvider>(&mut self, name: &'static CStr) {
        let provider = const {
            &raw::authz_provider {
                check_authorization: Some(check_requirement::<M, P>),
                parse_require_line: None,
            }
        };
        let version = c_string(raw::AUTHZ_PROVIDER_VERSION);
        self.provider(c_string(raw::AUTHZ_PROVIDER_GROUP), name, version, provider);
    }

    /// Whether the client may ask at all, before it is known who he is.
    pub fn check_access<H: RequestHook>(&mut self, order: Order) {
        let (after, before) = self.lists(order);
        // SAFETY: the lists live as long as the configuration, the function as long as the image.
        unsafe {
            raw::ap_hook_check_access(
                Some(crate::hook::request::<M, H>),
                after,
                before,
                order.position(),
                raw::AP_AUTH_INTERNAL_PER_CONF,
            );
        }
    }

    fn provider<T>(
        &mut self,
        group: &'static CStr,
        name: &'static CStr,
        version: &'static CStr,
        provider: &'static T,
    ) {
        let provider = std::ptr::from_ref(provider).cast::<c_void>();
        // SAFETY: strings and provider are constants of the image, which stays as long as the
        // configuration; the type of the provider is that of its group.
        unsafe {
            raw::ap_register_auth_provider(
                self.pool().as_ptr(),
                group.as_ptr(),
                name.as_ptr(),
                version.as_ptr(),
                provider,
                raw::AP_AUTH_INTERNAL_PER_CONF,
            );
        }
    }
}

impl<'r> Request<'r> {
    /// Sets the authenticated user. Ends at the first NUL.
    pub fn set_user(&mut self, user: &[u8]) {
        let user = self.pool().string(user);
        // SAFETY: alive; the string lives in the pool.
        unsafe { (*self.as_ptr()).user = user.as_ptr().cast_mut() }
    }

    /// The client's name where `HostnameLookups` has it looked up, and it has one.
    pub fn client_name(&mut self) -> Option<&'r [u8]> {
        // SAFETY: alive; the string lives as long as the request.
        unsafe {
            let kind = raw::REMOTE_HOST;
            bytes(raw::ap_get_useragent_host(self.as_ptr(), kind, std::ptr::null_mut()))
        }
    }

    /// Whether `Satisfy Any` holds, and a user would satisfy.
    pub fn may_authenticate_instead(&self) -> bool {
        // SAFETY: alive.
        unsafe {
            raw::ap_satisfies(self.as_ptr()) == raw::SATISFY_ANY
                && raw::ap_some_auth_required(self.as_ptr()) != 0
        }
    }

    /// `SERVER_SIGNATURE`: by `ServerSignature`.
    pub fn server_signature(&self) -> &'r [u8] {
        // SAFETY: alive; the string is in its pool.
        unsafe { bytes(raw::ap_psignature(c"".as_ptr(), self.as_ptr())) }.unwrap_or_default()
    }
}

unsafe extern "C" fn check_password<M: Module, P: AuthnProvider>(
    request: *mut raw::request_rec,
    user: *const c_char,
    password: *const c_char,
) -> raw::authn_status {
    guarded(raw::AUTH_GENERAL_ERROR, panicked::<M>(request), || {
        // SAFETY: alive while its hook runs, on the thread it belongs to (A2); two strings.
        let (mut request, user, password) =
            unsafe { (Request::from_raw(request), bytes(user), bytes(password)) };
        let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
        match P::check_password(&mut request, user, password) {
            Password::Right => raw::AUTH_GRANTED,
            Password::Wrong => raw::AUTH_DENIED,
            Password::NoUser => raw::AUTH_USER_NOT_FOUND,
            Password::Error => raw::AUTH_GENERAL_ERROR,
        }
    })
}

unsafe extern "C" fn realm_hash<M: Module, P: AuthnProvider>(
    request: *mut raw::request_rec,
    user: *const c_char,
    realm: *const c_char,
    hash: *mut *mut c_char,
) -> raw::authn_status {
    guarded(raw::AUTH_GENERAL_ERROR, panicked::<M>(request), || {
        // SAFETY: as above.
        let (mut request, user, realm) =
            unsafe { (Request::from_raw(request), bytes(user), bytes(realm)) };
        let (user, realm) = (user.unwrap_or_default(), realm.unwrap_or_default());
        match P::realm_hash(&mut request, user, realm) {
            RealmHash::Hash(found) => {
                let found = request.pool().string(&found);
                // SAFETY: the caller's variable; the string lives in the request's pool.
                unsafe { *hash = found.as_ptr().cast_mut() };
                raw::AUTH_USER_FOUND
            }
            RealmHash::NoUser => raw::AUTH_USER_NOT_FOUND,
            RealmHash::Error => raw::AUTH_GENERAL_ERROR,
        }
    })
}

unsafe extern "C" fn check_requirement<M: Module, P: AuthzProvider>(
    request: *mut raw::request_rec,
    arguments: *const c_char,
    _parsed: *const c_void,
) -> raw::authz_status {
    guarded(raw::AUTHZ_GENERAL_ERROR, panicked::<M>(request), || {
        // SAFETY: as above.
        let (mut request, arguments) = unsafe { (Request::from_raw(request), bytes(arguments)) };
        match P::check(&mut request, arguments.unwrap_or_default()) {
            Requirement::Met => raw::AUTHZ_GRANTED,
            Requirement::NotMet => raw::AUTHZ_DENIED,
            Requirement::NoUser => raw::AUTHZ_DENIED_NO_USER,
            Requirement::Error => raw::AUTHZ_GENERAL_ERROR,
        }
    })
}

/// A string constant of C's headers, as bindgen has it.
const fn c_string(bytes: &'static [u8]) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes) {
        Ok(string) => string,
        Err(_) => panic!("a string constant ends in NUL"),
    }
}

// The numbers that the server's enums have in every release.
const _: () = {
    assert!(raw::AUTH_DENIED as c_int == 0 && raw::AUTH_GRANTED as c_int == 1);
    assert!(raw::AUTHZ_DENIED as c_int == 0 && raw::AUTHZ_GRANTED as c_int == 1);
};

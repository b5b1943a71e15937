//! Access, authentication, authorisation and dispatch scripts.
//!
//! What each line is about, and what the client gets, is in the module's log reference; this is the
//! text. Lines stay whole however long they are, so that they can be searched for.
//!
//! <https://modwsgi.readthedocs.io/en/latest/>

crate::code::codes! { HOOKS
    WSGI0041 Error Live
        "Location of WSGI user authentication script not provided.";
    WSGI0042 Error Live
        "Unable to acquire {} for user authentication hook.";
    WSGI0043 Error Live
        "Target WSGI user authentication script '{}' does not provide 'Basic' auth provider.";
    WSGI0044 Error Live
        "Location of WSGI user authentication script not provided.";
    WSGI0045 Error Live
        "Unable to acquire {} for user authentication hook.";
    WSGI0046 Error Live
        "Target WSGI user authentication script '{}' does not provide 'Digest' auth provider.";
    WSGI0047 Error Dormant
        "Location of WSGI group authentication script not provided.";
    WSGI0048 Error Live
        "Unable to acquire {} for group authentication hook.";
    WSGI0049 Error Live
        "Item returned from 'groups_for_user' in '{}' is a string containing characters that cannot be encoded as latin-1; expected a byte string.";
    WSGI0050 Error Live
        "Item returned from 'groups_for_user' in '{}' is not a byte string.";
    WSGI0051 Error Live
        "Result returned from 'groups_for_user' in '{}' is not iterable; expected an iterable sequence of byte strings.";
    WSGI0052 Error Live
        "Target WSGI group authentication script '{}' does not provide 'groups_for_user' callable.";
    WSGI0053 Error Dormant
        "Location of WSGI host access script not provided.";
    WSGI0054 Error Live
        "Unable to acquire {} for host access hook.";
    WSGI0055 Error Live
        "Result returned from 'allow_access' in '{}' must be a boolean or None.";
    WSGI0056 Error Live
        "Target WSGI host access script '{}' does not provide 'allow_access' callable.";
    WSGI0057 Error Live
        "Client denied by server configuration: '{}'.";
    WSGI0058 Error Live
        "Location of WSGI group authorization script not provided.";
    WSGI0059 Error Live
        "Authorization of user '{}' to access '{}' failed. User is not a member of any groups.";
    WSGI0060 Error Live
        "Authorization of user '{}' to access '{}' failed. User is not a member of designated groups.";
    WSGI0085 Error Dormant
        "Location of WSGI dispatch script not provided.";
    WSGI0086 Error Live
        "Unable to acquire {} for dispatch hook.";
    WSGI0176 Error Live
        "Basic auth provider returned empty user name string.";
    WSGI0177 Error Live
        "Basic auth provider must return True, False, None or user name as string.";
    WSGI0178 Error Live
        "Digest auth provider returned empty realm hash.";
    WSGI0179 Error Live
        "Digest auth provider must return None or string object.";
}

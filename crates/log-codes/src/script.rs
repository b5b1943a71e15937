//! Scripts and requests: finding, checking, loading and running what answers.
//!
//! What each line is about, and what the client gets, is in the module's log reference; this is the
//! text. Lines stay whole however long they are, so that they can be searched for.
//!
//! <https://modwsgi.readthedocs.io/en/latest/>

crate::code::codes! { SCRIPT
    WSGI0082 Warn Live
        "Unable to stat target handler script '{}'.";
    WSGI0083 Warn Live
        "Unable to stat target WSGI script '{}'.";
    WSGI0088 Error Dormant
        "Unable to import handler via Python module reference '{}'.";
    WSGI0089 Error Live
        "Target WSGI script '{}' does not contain WSGI application '{}'.";
    WSGI0105 Error Live
        "Could not read or compile WSGI script '{}' for {}.";
    WSGI0106 Error Live
        "Could not read or compile WSGI script '{}' for {}.";
    WSGI0107 Error Live
        "SystemExit exception raised when doing exec of Python script file '{}'.";
    WSGI0108 Error Live
        "SystemExit exception raised when doing exec of Python script file '{}'.";
    WSGI0109 Error Live
        "Unable to execute Python script file '{}'.";
    WSGI0110 Error Live
        "Unable to execute Python script file '{}'.";
    WSGI0134 Error Live
        "Options ExecCGI is off in this directory.";
    WSGI0135 Error Live
        "Target WSGI script not found or unable to stat.";
    WSGI0136 Error Live
        "Attempt to invoke directory as WSGI application.";
    WSGI0137 Error Live
        "AcceptPathInfo off disallows user's path.";
    WSGI0138 Error Live
        "Unexpected value for Transfer-Encoding of '{}' supplied. Only 'chunked' supported.";
    WSGI0139 Error Live
        "Request requires chunked transfer encoding, but support for chunked transfer encoding has not been enabled.";
    WSGI0140 Error Dormant
        "Unexpected Content-Length header supplied where Transfer-Encoding was specified as 'chunked'.";
    WSGI0141 Error Live
        "Invalid Content-Length header value of '{}' was supplied.";
    WSGI0142 Error Dormant
        "Embedded mode of mod_wsgi disabled at compile time.";
    WSGI0143 Error Live
        "Embedded mode of mod_wsgi disabled by runtime configuration.";
    WSGI0153 Error Live
        "Group information not available for WSGI script file.";
    WSGI0154 Error Live
        "Unable to determine group of WSGI script file from gid {}.";
    WSGI0155 Error Live
        "WSGI script file group '{}' does not match group required for daemon process.";
    WSGI0156 Error Live
        "World permissions not available for WSGI script file.";
    WSGI0157 Error Live
        "WSGI script file is writable to world.";
    WSGI0158 Error Live
        "Unable to stat parent directory '{}' of WSGI script.";
    WSGI0159 Error Live
        "Unable to determine group of parent directory of WSGI script file from gid {}.";
    WSGI0160 Error Live
        "Parent directory of WSGI script file has group '{}' which does not match group required for daemon process.";
    WSGI0161 Error Live
        "Parent directory of WSGI script file is writable to world.";
    WSGI0162 Error Live
        "User information not available for WSGI script file.";
    WSGI0163 Error Live
        "Unable to determine owner of WSGI script file from uid {}.";
    WSGI0164 Error Live
        "WSGI script file owner '{}' does not match user required for daemon process.";
    WSGI0165 Error Live
        "Group permissions not available for WSGI script file.";
    WSGI0166 Error Live
        "WSGI script file is writable to group.";
    WSGI0167 Error Live
        "World permissions not available for WSGI script file.";
    WSGI0168 Error Live
        "WSGI script file is writable to world.";
    WSGI0169 Error Live
        "Unable to stat parent directory '{}' of WSGI script.";
    WSGI0170 Error Live
        "Unable to determine owner of parent directory of WSGI script file from uid {}.";
    WSGI0171 Error Live
        "Parent directory of WSGI script file has owner '{}' which does not match user required for daemon process.";
    WSGI0172 Error Live
        "Parent directory of WSGI script file is writable to world.";
    WSGI0173 Error Live
        "Parent directory of WSGI script file is writable to group.";
    WSGI0174 Error Live
        "{} exception raised processing WSGI script '{}' for {}.";
    WSGI0175 Error Live
        "{} exception raised by WSGI script '{}' for {}; ignored.";
    WSGI0194 Error Live
        "Lookup of 'close' attribute on WSGI response iterable raised an exception.";
    WSGI0195 Warn Live
        "Failed to close source file after reading WSGI script '{}' for {}; continuing with the data already read.";
    WSGI0196 Warn Live
        "Failed to close source file after reading WSGI script '{}' for {}; continuing with the data already read.";
    WSGI1001 Warn Live
        "Content length mismatch, expected {}, response generated {}.";
    WSGI1002 Error Live
        "No interpreter for application group '{}', for this process has {} that requests have named; write the names of application groups out in the configuration.";
    WSGI1004 Warn Live
        "Request '{} {}' took {} seconds, which is more than the {} of WSGISlowRequests.";
    WSGI1006 Warn Live
        "Request '{} {}' has been running for {} seconds; the next lines say where it is, the innermost last.";
    WSGI1101 Warn Live
        "An extension module that WSGI script '{}' needs can be loaded into one interpreter of a process only, and {} is another. Set 'WSGIApplicationGroup %{GLOBAL}' to run the application in the main interpreter.";
    WSGI1102 Warn Live
        "An extension module that WSGI script '{}' needs does not support an interpreter with its own GIL as {} has. Remove 'WSGIPerInterpreterGIL On', or set 'WSGIApplicationGroup %{GLOBAL}' to run the application in the main interpreter.";
    WSGI1103 Warn Live
        "WSGI script '{}' has changed but cannot be loaded into {}; the version loaded before goes on serving requests.";
}

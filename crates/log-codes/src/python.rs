//! Python in a process: starting it, interpreters, streams, events, telemetry, and ending.
//!
//! What each line is about, and what the client gets, is in the module's log reference; this is the
//! text. Lines stay whole however long they are, so that they can be searched for.
//!
//! <https://modwsgi.readthedocs.io/en/latest/>

crate::code::codes! { PYTHON
    WSGI0001 Crit Live
        "Python initialisation failed in Apache child process; Python based handlers will not be available.";
    WSGI0002 Crit Live
        "Python child initialisation failed in Apache child process; Python based handlers will not be available.";
    WSGI0028 Crit Live
        "Python initialisation failed in daemon process '{}'; Python based handlers will not be available.";
    WSGI0029 Crit Live
        "Python child initialisation failed in daemon process '{}'; Python based handlers will not be available.";
    WSGI0035 Crit Live
        "Unable to setup {} in {}.";
    WSGI0036 Crit Live
        "Python interpreter configuration failed in {}: {}";
    WSGI0038 Error Live
        "Python based handlers will not be available in {}.";
    WSGI0040 Crit Live
        "Unable to acquire {} during daemon startup script preload; skipping import.";
    WSGI0061 Warn Live
        "Unable to set process dumpable flag in Apache child; coredumps will not be produced after software errors.";
    WSGI0067 Warn Live
        "Unable to obtain current frames for active threads of {} in daemon process '{}'; stack-trace dump skipped.";
    WSGI0087 Error Live
        "Unable to acquire {} for WSGI request handler in {}.";
    WSGI0090 Error Live
        "Call to 'signal.signal()' to register exit-function callback failed for {} in {}; continuing without callback.";
    WSGI0091 Error Live
        "Call to 'site.addsitedir()' failed for '{}' in {}; remaining python-path entries will not be added.";
    WSGI0094 Error Live
        "Unable to locate 'site.addsitedir()' in {}.";
    WSGI0095 Error Live
        "Unable to import 'site' module in {}.";
    WSGI0096 Error Live
        "Unable to look up 'sys.path' attribute on 'sys' module in {}.";
    WSGI0097 Error Dormant
        "{} exception raised by Python atexit functions during shutdown of {}; ignored.";
    WSGI0098 Error Dormant
        "{} exception raised by Python atexit functions during shutdown of {}.";
    WSGI0099 Warn Dormant
        "Compiled for Python/{} but runtime using Python/{} in {}.";
    WSGI0100 Warn Live
        "Unable to stat Python home '{}' for {}; Python interpreter may not initialise correctly. Verify the path and access permissions of its parents.";
    WSGI0101 Warn Live
        "Python home '{}' for {} is not a directory; Python interpreter may not initialise correctly. Verify the path.";
    WSGI0102 Warn Live
        "Python home '{}' for {} is not accessible; Python interpreter may not initialise correctly. Verify the access permissions.";
    WSGI0103 Error Live
        "Python based handlers will not be available for {} in {}.";
    WSGI0104 Error Live
        "Unable to publish 'process_stopping' event for {}.";
    WSGI0111 Warn Live
        "Main interpreter reference is missing during cleanup in {}.";
    WSGI0112 Error Live
        "{} exception raised by event callback for '{}'.";
    WSGI0113 Error Live
        "Unable to import mod_wsgi when publishing events.";
    WSGI0114 Error Live
        "Unable to find event subscribers.";
    WSGI0130 Error Dormant
        "SystemExit exception raised by Python atexit/sys.exitfunc; ignored.";
    WSGI0131 Error Dormant
        "Exception occurred within Python atexit/sys.exitfunc during shutdown.";
    WSGI0132 Warn Live
        "Telemetry reporter could not open target '{}'; metrics will not be sent.";
    WSGI0133 Warn Live
        "Unable to create telemetry reporter thread; metrics will not be sent.";
    WSGI0181 Error Dormant
        "Unable to install 'threading._shutdown' wrapper for {} in {}; continuing without atexit callback support in sub interpreters.";
    WSGI0182 Error Dormant
        "Unable to create 'threading._shutdown' wrapper for {} in {}; continuing without atexit callback support in sub interpreters.";
    WSGI0183 Error Live
        "Unable to install 'signal.signal' intercept for {} in {}; continuing without signal handler restrictions.";
    WSGI0184 Error Live
        "Unable to create 'signal.signal' intercept for {} in {}; continuing without signal handler restrictions.";
    WSGI0185 Error Live
        "Unable to replace 'sys.stderr' with log object for {} in {}; continuing with default stream object.";
    WSGI0186 Error Live
        "Unable to replace 'sys.stdout' for {} in {}; continuing with default stream object.";
    WSGI0187 Error Live
        "Unable to replace 'sys.stdin' with restricted object for {} in {}; continuing with default stream object.";
    WSGI0188 Error Live
        "{} exception raised during Python interpreter initialisation for {}.";
    WSGI0189 Error Live
        "{} exception raised during Python interpreter initialisation for {}; ignored.";
    WSGI0190 Error Live
        "{} exception raised by event callback for '{}'; ignored.";
    WSGI0191 Error Live
        "Unable to create thread state for thread {} against {} in {}.";
    WSGI0192 Error Live
        "Unable to create thread state to destroy {} in {}; sub interpreter will not be shut down cleanly.";
    WSGI0198 Warn Live
        "WSGIPerInterpreterGIL requires Python 3.12 or later; directive has no effect on this build.";
    WSGI0199 Warn Live
        "Skipping per-interpreter switch interval {}s for {}: setting it would mutate the process-global value because the interpreter has no GIL of its own.";
    WSGI0200 Warn Live
        "WSGIFreeThreading On has no effect: this Python build does not support free-threading (PEP 703). Rebuild Python with --disable-gil to use it.";
    WSGI0201 Warn Live
        "WSGIFreeThreading inside <WSGIInterpreterOptions> with application-group= set is ignored: free-threading is a process-wide setting and cannot be scoped per application group.";
    WSGI0202 Warn Live
        "Skipping per-interpreter GIL for {} in {}: free-threading is active in this process so there is no GIL to own.";
    WSGI0203 Warn Live
        "Skipping WSGISwitchInterval {}s in {}: free-threading is active in this process so there is no GIL switch interval.";
    WSGI0204 Warn Live
        "Skipping WSGISwitchInterval {}s in daemon process '{}': free-threading is active in this process so there is no GIL switch interval.";
    WSGI0205 Warn Live
        "Skipping per-interpreter switch interval {}s for {}: free-threading is active in this process so there is no GIL switch interval.";
    WSGI0209 Error Live
        "Unable to publish 'process_signal' event for {}.";
    WSGI0210 Error Live
        "Embedded mode of mod_wsgi cannot be used as Python was not initialised in this process.";
    WSGI1104 Warn Live
        "Skipping replicas of {} in {}: they need Python 3.12 or newer, and an interpreter with its own GIL.";
    WSGI1105 Warn Live
        "Python was not shut down completely in {}: {}; callbacks and 'atexit' functions that have not run are given up.";
}

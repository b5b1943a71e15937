//! Daemon processes: starting and ending them, and the way of a request to them and back.
//!
//! What each line is about, and what the client gets, is in the module's log reference; this is the
//! text. Lines stay whole however long they are, so that they can be searched for.
//!
//! <https://modwsgi.readthedocs.io/en/latest/>

crate::code::codes! { DAEMON
    WSGI0003 Alert Live
        "Unable to change root directory to '{}'. Daemon process will exit.";
    WSGI0004 Alert Live
        "Unable to set group id to gid={}. Daemon process will exit.";
    WSGI0005 Alert Live
        "Unable to set supplementary groups for uname={} of '{}'. Daemon process will exit.";
    WSGI0006 Alert Live
        "Unable to initialise groups for uname={} and gid={}. Daemon process will exit.";
    WSGI0007 Alert Live
        "Unable to change to uid={}. Daemon process will exit.";
    WSGI0008 Alert Live
        "Daemon process configuration failed; process left in unspecified state. Daemon process will exit and be restarted after a delay.";
    WSGI0009 Alert Live
        "Unable to change working directory to '{}'. Daemon process will exit.";
    WSGI0010 Alert Live
        "Unable to change working directory to home directory '{}' for uid={}. Daemon process will exit.";
    WSGI0011 Alert Live
        "Unable to determine home directory for uid={}. Daemon process will exit.";
    WSGI0012 Alert Live
        "Unable to create unix domain socket for daemon process '{}'. Daemon group will not start.";
    WSGI0013 Alert Live
        "Unable to bind unix domain socket '{}'. Daemon group will not start.";
    WSGI0014 Alert Live
        "Unable to listen on unix domain socket '{}'. Daemon group will not start.";
    WSGI0015 Alert Live
        "Unable to change owner of unix domain socket '{}' to uid={}. Daemon group will not start.";
    WSGI0016 Crit Live
        "Wait on thread {} wakeup condition variable failed; worker thread will exit.";
    WSGI0017 Crit Live
        "Unable to acquire accept mutex '{}'. Daemon process will shut down.";
    WSGI0018 Crit Live
        "Unable to poll daemon socket for '{}'. Daemon process will shut down.";
    WSGI0019 Crit Live
        "Unable to release accept mutex '{}'; worker thread will exit.";
    WSGI0020 Alert Live
        "Unable to create worker thread {} condition variable in daemon process '{}'. Daemon process will exit and be restarted after a delay.";
    WSGI0021 Alert Live
        "Unable to create worker thread {} mutex in daemon process '{}'. Daemon process will exit and be restarted after a delay.";
    WSGI0022 Alert Live
        "Unable to create worker thread {} in daemon process '{}'. Daemon process will exit and be restarted after a delay.";
    WSGI0023 Alert Live
        "Read failed on signal pipe in daemon process '{}'; daemon process will shut down.";
    WSGI0024 Alert Dormant
        "Unable to spawn daemon process '{}'. Daemon group will not start.";
    WSGI0025 Alert Live
        "Daemon process configuration failed; process left in unspecified state. Daemon process will exit and be restarted after a delay.";
    WSGI0026 Crit Live
        "Unable to initialise accept mutex '{}' in daemon process. Daemon process will exit and be restarted after a delay.";
    WSGI0027 Alert Live
        "Unable to initialise signal pipe in daemon process '{}'. Daemon process will exit and be restarted after a delay.";
    WSGI0030 Crit Live
        "Unable to create accept lock '{}'. Daemon group will not start.";
    WSGI0031 Crit Live
        "Unable to set permissions on sysvsem accept mutex '{}'. Daemon group will not start.";
    WSGI0032 Crit Live
        "Unable to set permissions on flock accept mutex '{}'. Daemon group will not start.";
    WSGI0033 Alert Live
        "Request origin could not be validated; missing magic token.";
    WSGI0034 Alert Live
        "Request origin could not be validated; magic token mismatch.";
    WSGI0062 Warn Live
        "Unable to set send buffer size on daemon process socket; default size will be used.";
    WSGI0063 Warn Live
        "Unable to set receive buffer size on daemon process socket; default size will be used.";
    WSGI0064 Warn Live
        "Length of path for daemon process socket exceeds maximum allowed value and will be truncated; the subsequent bind is likely to fail.";
    WSGI0065 Warn Live
        "Removing stale unix domain socket '{}' before re-binding daemon process listener.";
    WSGI0068 Error Live
        "Unable to create monitor thread in daemon process '{}'; request and idle timeouts will not be enforced.";
    WSGI0069 Error Live
        "Unable to create deadlock-detection thread in daemon process '{}'; deadlock timeouts will not be enforced.";
    WSGI0070 Warn Live
        "Unable to create reaper thread in daemon process '{}'; shutdown timeout will not be enforced.";
    WSGI0071 Warn Live
        "Unable to join with worker thread {} in daemon process '{}' during shutdown.";
    WSGI0072 Warn Live
        "Unable to close unix domain socket '{}' during daemon process group cleanup.";
    WSGI0073 Warn Live
        "Unable to unlink unix domain socket '{}' during daemon process group cleanup.";
    WSGI0074 Warn Dormant
        "Unable to unbind processor for daemon process; daemon will run with default CPU affinity.";
    WSGI0075 Warn Live
        "Unable to set CPU priority of {} for daemon process '{}'; daemon will run with default priority.";
    WSGI0076 Warn Live
        "Unable to set CPU time limit of {} seconds for daemon process '{}'; daemon will run without the configured limit.";
    WSGI0077 Warn Live
        "Unable to set memory limit of {} for daemon process '{}'; daemon will run without the configured limit.";
    WSGI0078 Warn Live
        "Unable to set virtual memory limit of {} for daemon process '{}'; daemon will run without the configured limit.";
    WSGI0079 Warn Live
        "Unsupported locale setting '{}' specified for daemon process group '{}'; daemon will run with the inherited locale.";
    WSGI0080 Error Live
        "Unable to read incoming WSGI request from Apache child; request will be aborted with 500.";
    WSGI0081 Error Live
        "WSGI script '{}' is not located within chroot directory '{}'; rejecting request.";
    WSGI0084 Error Live
        "Queue timeout expired for WSGI daemon process '{}'.";
    WSGI0115 Error Live
        "Unable to create socket to connect to WSGI daemon process '{}' on '{}'.";
    WSGI0116 Error Live
        "Unable to connect to WSGI daemon process '{}' on '{}' after multiple attempts as listener backlog limit was exceeded or the socket does not exist.";
    WSGI0117 Error Live
        "Unable to connect to WSGI daemon process '{}' on '{}' as user with uid={}.";
    WSGI0118 Error Live
        "Unable to proxy response to client (read timeout).";
    WSGI0119 Error Live
        "Unable to proxy response from daemon to client.";
    WSGI0120 Error Live
        "Unable to proxy response to client (write timeout).";
    WSGI0121 Error Live
        "Unable to send request details to WSGI daemon process '{}' on '{}'.";
    WSGI0122 Error Live
        "Unexpected status from WSGI daemon process: {}.";
    WSGI0123 Error Live
        "Unexpected status from WSGI daemon process: {}.";
    WSGI0124 Error Live
        "Maximum number of WSGI daemon process '{}' restart attempts reached: {}.";
    WSGI0125 Error Live
        "Unable to send request details to WSGI daemon process '{}' on '{}'.";
    WSGI0126 Error Live
        "Request data read error when proxying data to daemon process: {}.";
    WSGI0127 Error Live
        "Request data write error when proxying data to daemon process: {}.";
    WSGI0128 Error Live
        "Request data read error when proxying data to daemon process: {}.";
    WSGI0129 Error Live
        "Request data write error when proxying data to daemon process: {}.";
    WSGI0144 Error Live
        "Response header line too long from daemon process '{}'.";
    WSGI0145 Error Live
        "Timeout when reading response headers from daemon process '{}'.";
    WSGI0146 Error Live
        "Daemon process '{}' closed connection before sending complete response headers.";
    WSGI0147 Error Live
        "Error reading response headers from daemon process '{}' ({}).";
    WSGI0148 Error Live
        "Malformed header '{}' found when reading script headers from daemon process '{}'.";
    WSGI0149 Error Live
        "Daemon process called '{}' cannot be accessed by this WSGI application as not a member of allowed groups.";
    WSGI0150 Error Live
        "No WSGI daemon process called '{}' has been configured.";
    WSGI0151 Error Live
        "No WSGI daemon process called '{}' has been configured.";
    WSGI0152 Error Live
        "Daemon process called '{}' cannot be accessed by this WSGI application.";
    WSGI0206 Alert Live
        "Unable to initialise signal event pipe in daemon process '{}'. Daemon process will exit and be restarted after a delay.";
    WSGI0207 Error Live
        "Unable to create signal dispatcher thread in daemon process '{}'; SIGHUP and SIGUSR2 signals will not be delivered.";
    WSGI0208 Alert Live
        "Read failed on signal event pipe in daemon process '{}'; signal dispatcher exiting.";
    WSGI1003 Warn Live
        "Daemon process called '{}' can never be used, because its name stands for another process group.";
}

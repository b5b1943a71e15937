//! Numbers of the fields. They are given once and never again; see the package's `wire.py`.
//!
//! Those from [`STACK`] on are ours: a consumer that does not know them passes over them.

#![allow(missing_docs, reason = "the names say it, and are those of the consumer")]

pub const MOD_WSGI_VERSION: u16 = 1;
pub const PYTHON_VERSION: u16 = 2;
pub const APACHE_VERSION: u16 = 3;
pub const MPM_NAME: u16 = 4;
pub const HOSTNAME: u16 = 5;
pub const PROCESS_GROUP: u16 = 6;
pub const PROCESS_PARENT_PID: u16 = 7;
pub const INTERPRETER_NAME: u16 = 8;

pub const SAMPLE_PERIOD: u16 = 10;
pub const TELEMETRY_INTERVAL: u16 = 11;
pub const SLOW_REQUESTS_THRESHOLD: u16 = 12;
pub const SWITCH_INTERVAL: u16 = 13;

pub const REQUEST_COUNT: u16 = 20;
pub const REQUEST_THROUGHPUT: u16 = 21;
pub const CAPACITY_UTILIZATION: u16 = 22;
pub const CPU_USER_UTILIZATION: u16 = 30;
pub const CPU_SYSTEM_UTILIZATION: u16 = 31;
pub const CPU_UTILIZATION: u16 = 32;
pub const MEMORY_RSS: u16 = 40;
pub const MEMORY_MAX_RSS: u16 = 41;
pub const REQUEST_THREADS_MAXIMUM: u16 = 50;
pub const REQUEST_THREADS_STARTED: u16 = 51;
pub const REQUEST_THREADS_ACTIVE: u16 = 52;
/// The mean of the first phase; the others follow in their order.
pub const PHASE_MEAN: u16 = 60;
/// As above, for the least.
pub const PHASE_MIN: u16 = 70;
/// As above, for the most.
pub const PHASE_MAX: u16 = 80;
/// As above, for the histogram.
pub const PHASE_BUCKETS: u16 = 90;
pub const INPUT_BYTES_TOTAL: u16 = 100;
pub const INPUT_READS_TOTAL: u16 = 101;
pub const OUTPUT_BYTES_TOTAL: u16 = 102;
pub const OUTPUT_WRITES_TOTAL: u16 = 103;
pub const REQUEST_THREADS_COMPLETED: u16 = 110;
pub const REQUEST_THREADS_BUSY_TIME: u16 = 111;
pub const REQUEST_THREADS_CPU_TIME: u16 = 112;
pub const REQUEST_THREADS_CURRENT_ELAPSED: u16 = 113;
pub const REQUEST_THREADS_MAX_DURATION: u16 = 114;
/// Of 1xx; the other classes follow.
pub const STATUS_TOTAL: u16 = 120;

pub const SHUTDOWN_REASON: u16 = 130;
pub const PROCESS_UPTIME: u16 = 131;
pub const LIFETIME_REQUEST_COUNT: u16 = 132;
pub const ACTIVE_REQUESTS_AT_DECISION: u16 = 133;
pub const ACTIVE_REQUESTS_AT_EXIT: u16 = 134;
pub const GRACEFUL_DRAIN: u16 = 135;

pub const SLOW_RECORD_STATE: u16 = 200;
pub const SLOW_START_STAMP: u16 = 201;
pub const SLOW_DURATION: u16 = 202;
pub const SLOW_THREAD_ID: u16 = 203;
pub const SLOW_LOG_ID: u16 = 204;
pub const SLOW_SERVER_PID: u16 = 205;
pub const SLOW_METHOD: u16 = 210;
pub const SLOW_SCHEME: u16 = 211;
pub const SLOW_HOSTNAME: u16 = 212;
pub const SLOW_SCRIPT_NAME: u16 = 213;
pub const SLOW_PATH_INFO: u16 = 214;
pub const SLOW_PROTOCOL: u16 = 215;
pub const SLOW_PEER_IP: u16 = 216;
pub const SLOW_USER_AGENT: u16 = 217;
pub const SLOW_SERVER_TIME: u16 = 220;
pub const SLOW_QUEUE_TIME: u16 = 221;
pub const SLOW_DAEMON_TIME: u16 = 222;
pub const SLOW_APPLICATION_TIME: u16 = 223;
pub const SLOW_GIL_WAIT_TIME: u16 = 224;
pub const SLOW_GIL_WAIT_COUNT: u16 = 225;
pub const SLOW_INPUT_BYTES: u16 = 230;
pub const SLOW_INPUT_READS: u16 = 231;
pub const SLOW_OUTPUT_BYTES: u16 = 232;
pub const SLOW_OUTPUT_WRITES: u16 = 233;
pub const SLOW_INPUT_READ_TIME: u16 = 234;
pub const SLOW_OUTPUT_WRITE_TIME: u16 = 235;
pub const SLOW_STATUS: u16 = 240;
pub const SLOW_CPU_USER_TIME: u16 = 250;
pub const SLOW_CPU_SYSTEM_TIME: u16 = 251;
pub const SLOW_ACTIVE_AT_START: u16 = 260;
pub const SLOW_ACTIVE_AT_COMPLETION: u16 = 261;

/// Of the youngest generation; the others follow, for this and the next four.
pub const GC_COUNT: u16 = 300;
pub const GC_THRESHOLD: u16 = 303;
pub const GC_COLLECTIONS: u16 = 306;
pub const GC_COLLECTED: u16 = 309;
pub const GC_UNCOLLECTABLE: u16 = 312;
pub const GC_IS_ENABLED: u16 = 315;
pub const GC_FREEZE_COUNT: u16 = 316;
pub const GC_DROPPED_EVENTS: u16 = 317;
pub const GC_EVENT_START_STAMP: u16 = 320;
pub const GC_EVENT_DURATION: u16 = 321;
pub const GC_EVENT_GENERATION: u16 = 322;
pub const GC_EVENT_COLLECTED: u16 = 323;
pub const GC_EVENT_UNCOLLECTABLE: u16 = 324;

/// Ours: where the Python code of a request was, one line per frame, the innermost last.
pub const STACK: u16 = 0xf000;

-- Compares every body with what it must be, and prints one line for a program instead of wrk's table
-- for people. Also makes the body of an upload.

local method = os.getenv("BENCH_METHOD")
if method then wrk.method = method end

local length = tonumber(os.getenv("BENCH_BODY") or "0")
if length > 0 then
  wrk.body = string.rep("x", length)
  wrk.headers["Content-Type"] = "application/octet-stream"
end

local file = assert(io.open(assert(os.getenv("BENCH_EXPECTED")), "rb"))
local expected = file:read("*a")
file:close()

-- The only thread: `done` runs in a state of its own and asks this one.
local only
function setup(thread) only = thread end

wrong = 0
function response(status, headers, body)
  if body ~= expected then wrong = wrong + 1 end
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    "BENCH requests=%d duration=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d wrong=%d p50=%d p99=%d",
    summary.requests, summary.duration, summary.bytes,
    e.connect, e.read, e.write, e.status, e.timeout, only:get("wrong"),
    latency:percentile(50), latency:percentile(99)))
end

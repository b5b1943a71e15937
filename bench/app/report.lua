-- One line for a program instead of wrk's table for people, and the body of an upload.

local method = os.getenv("BENCH_METHOD")
if method then wrk.method = method end

local length = tonumber(os.getenv("BENCH_BODY") or "0")
if length > 0 then
  wrk.body = string.rep("x", length)
  wrk.headers["Content-Type"] = "application/octet-stream"
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    "BENCH requests=%d duration=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d p50=%d p99=%d",
    summary.requests, summary.duration, summary.bytes,
    e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end

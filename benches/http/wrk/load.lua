-- The measured load: nothing is checked while it runs; exact figures at its
-- end as one line of JSON. Its argument is how many requests are pipelined.

function init(args)
  local depth = tonumber(args[1])
  if depth > 1 then
    local batch = wrk.format():rep(depth)
    request = function() return batch end
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"seconds":%f,"requests":%d,"broken":%d,"timeouts":%d,"status_errors":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.duration / 1e6, summary.requests, e.connect + e.read + e.write, e.timeout, e.status,
    latency:percentile(50), latency:percentile(99)))
end

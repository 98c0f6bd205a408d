-- A load. Its first argument is how many requests are pipelined. The warm-up also
-- has the expected status and the text that the content must hold: every response
-- is checked. Otherwise none is, because that would slow the load down. At the
-- end it prints exact figures as one line of JSON.

local load_thread

function setup(thread)
  load_thread = thread
end

function init(args)
  local depth = tonumber(args[1])
  if depth > 1 then
    local batch = wrk.format():rep(depth)
    request = function() return batch end
  end
  expected_status, expected_text = tonumber(args[2]), args[3]
  seen, wrong, example = 0, 0, ""
  if expected_status then
    response = check
  end
end

function check(status, _, content)
  seen = seen + 1
  if status ~= expected_status or not string.find(content, expected_text, 1, true) then
    wrong = wrong + 1
    example = status .. " " .. content:sub(1, 100):gsub("[^%w%p ]", "?"):gsub('["\\]', "'")
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"seconds":%f,"requests":%d,"broken":%d,"timeouts":%d,"status_errors":%d,"p50_us":%d,"p99_us":%d,'
      .. '"seen":%d,"wrong":%d,"example":"%s"}\n',
    summary.duration / 1e6, summary.requests, e.connect + e.read + e.write, e.timeout, e.status,
    latency:percentile(50), latency:percentile(99),
    load_thread:get("seen"), load_thread:get("wrong"), load_thread:get("example")))
end

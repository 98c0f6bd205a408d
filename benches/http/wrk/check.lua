-- The warm-up load: checks every response. Its arguments are how many requests
-- are pipelined, the expected status, and the text that the content must hold.

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
end

function response(status, _, content)
  seen = seen + 1
  if status ~= expected_status or not string.find(content, expected_text, 1, true) then
    wrong = wrong + 1
    example = status .. " " .. content:sub(1, 100):gsub("[^%w%p ]", "?"):gsub('["\\]', "'")
  end
end

function done(summary)
  local e = summary.errors
  io.write(string.format('RESULT {"seen":%d,"wrong":%d,"broken":%d,"timeouts":%d,"example":"%s"}\n',
    load_thread:get("seen"), load_thread:get("wrong"), e.connect + e.read + e.write, e.timeout,
    load_thread:get("example")))
end

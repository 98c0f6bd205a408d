-- The warm-up load: looks at every answer. Its arguments are the one status
-- that is right and the text that the content has to hold.

local load_thread

function setup(thread)
  load_thread = thread
end

function init(args)
  status_wanted, text_wanted = tonumber(args[1]), args[2]
  seen, wrong, example = 0, 0, ""
end

function response(status, _, content)
  seen = seen + 1
  if status ~= status_wanted or not string.find(content, text_wanted, 1, true) then
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

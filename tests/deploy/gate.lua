-- Asks resource-server whether a request may pass: `http-request lua.gate URL`. Sets the variables
-- txn.status (of the gate's response, 0 without one), txn.user and txn.reason. The method is GET, or
-- the value of the variable txn.ask.

-- HAProxy's client knows five methods. A socket takes any, but one question each.
local function ask_by_socket(method, url, values)
    local address, port, path = url:match("^http://([^/]-):?(%d*)(/.*)$")
    local head = {method .. " " .. path .. " HTTP/1.1", "Host: " .. address, "Connection: close"}
    for _, value in ipairs(values) do
        head[#head + 1] = "Authorization: " .. value
    end
    local socket = core.tcp()
    socket:settimeout(2)
    assert(socket:connect(address, tonumber(port) or 80))
    assert(socket:send(table.concat(head, "\r\n") .. "\r\n\r\n"))
    local status, fields = tonumber(assert(socket:receive("*l")):match("^HTTP/1.1 (%d+)")), {}
    for line in function() return socket:receive("*l") end do
        local name, value = line:match("^([^:]+):%s*(.-)%s*$")
        if not name then
            break
        end
        fields[name:lower()] = {value}
    end
    socket:close()
    return {status = status, headers = fields}
end

core.register_action("gate", {"http-req"}, function(txn, url)
    local fields = txn.http:req_get_headers()["authorization"]
    local values = {}
    for index = 0, fields and #fields or -1 do
        values[index + 1] = fields[index]
    end
    local method = txn:get_var("txn.ask")
    local ok, response = pcall(function()
        if method then
            return ask_by_socket(method, url, values)
        end
        return core.httpclient():get({url = url, timeout = 2000, headers = {authorization = values}})
    end)
    local received = ok and response and response.headers or {}
    local function first(name)
        return received[name] and (received[name][0] or received[name][1]) or ""
    end
    txn:set_var("txn.status", ok and response and response.status or 0)
    txn:set_var("txn.user", first("x-auth-request-user"))
    txn:set_var("txn.reason", first("www-authenticate"))
end, 1)

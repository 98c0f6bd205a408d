-- Asks resource-server whether a request may pass: `http-request lua.gate URL`. Sets the variables
-- txn.status (of the gate's response, 0 without one), txn.user and txn.reason.
core.register_action("gate", {"http-req"}, function(txn, url)
    local fields = txn.http:req_get_headers()["authorization"]
    local values = {}
    for index = 0, fields and #fields or -1 do
        values[index + 1] = fields[index]
    end
    local asked = {url = url, timeout = 2000, headers = {authorization = values}}
    local ok, response = pcall(function() return core.httpclient():get(asked) end)
    local answered = ok and response and response.headers or {}
    local function first(name)
        return answered[name] and (answered[name][0] or answered[name][1]) or ""
    end
    txn:set_var("txn.status", ok and response and response.status or 0)
    txn:set_var("txn.user", first("x-auth-request-user"))
    txn:set_var("txn.reason", first("www-authenticate"))
end, 1)

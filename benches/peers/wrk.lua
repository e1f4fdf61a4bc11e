-- Requests that wrk's options cannot say. BODY: a POST of so many bytes. HOSTS: one of so many hosts, uniformly. KEYS: one of so
-- many routing keys, uniformly.
local body, hosts, keys = os.getenv("BODY"), os.getenv("HOSTS"), os.getenv("KEYS")

if body then
  wrk.method, wrk.body = "POST", string.rep("x", tonumber(body))
end

function init()
  math.randomseed(os.time())
end

if hosts or keys then
  function request()
    if hosts then wrk.headers["Host"] = "h" .. math.random(0, tonumber(hosts) - 1) .. ".example.test" end
    if keys then wrk.headers["X-Key"] = "k" .. math.random(0, tonumber(keys) - 1) end
    return wrk.format()
  end
end

-- Sends the requests that CALLS (a Lua file that returns a list of {method, path, token, body}) names, one after another,
-- and prints one line of figures at the end.
local calls, position = {}, 0

function init(args)
  for _, call in ipairs(dofile(os.getenv("CALLS"))) do
    local headers = {}
    if call[3] then headers["Authorization"] = "Bearer " .. call[3] end
    if call[4] then headers["Content-Type"] = "application/json" end
    calls[#calls + 1] = wrk.format(call[1], call[2], headers, call[4])
  end
end

function request()
  position = position % #calls + 1
  return calls[position]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"requests": %d, "seconds": %.4f, "p50": %.3f, "p99": %.3f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end

-- Sends messages to each of ROOMS in turn with the token TOKEN.
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"content": "안녕하세요, 이것은 부하 시험입니다 👋"}'

local paths = {}
for room in os.getenv("ROOMS"):gmatch("%d+") do
  paths[#paths + 1] = "/messages/" .. room
end
local last = 0

function request()
  last = last % #paths + 1
  return wrk.format(nil, paths[last])
end

function done(summary, latency)
  io.write(string.format("p50 %.1f ms, p99 %.1f ms, errors %d\n", latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end

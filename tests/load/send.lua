-- Sends one message after another into the room ROOM as the owner of TOKEN.
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"content": "안녕하세요, 이것은 부하 시험입니다 👋"}'

function done(summary, latency)
  io.write(string.format("p50 %.1f ms, p99 %.1f ms, errors %d\n", latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end

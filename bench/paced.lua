-- Calls at a steady pace: each connection waits 10 ms between two requests, which is not part of the latency.

function delay()
   return 10
end

function done(summary, latency, requests)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
   print(string.format(
      '{"calls": %d, "failed": %d, "p50_ms": %.2f, "p99_ms": %.2f}',
      summary.requests, failed, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end

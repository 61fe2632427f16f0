-- Counts responses by status, prints a word at a given number of responses, and reports as one line of JSON.
-- Arguments: the method, and the number of responses (0: run until wrk is stopped, with pauses that leave the
-- machine to others).

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   wrk.method = args[1]
   limit = tonumber(args[2])
   seen = 0
   statuses = {}
   if limit == 0 then
      delay = function() return math.random(2, 10) end
   end
end

function response(status)
   if limit > 0 and seen >= limit then
      return
   end
   seen = seen + 1
   local key = tostring(status)
   statuses[key] = (statuses[key] or 0) + 1
   if seen == limit then
      wrk.thread:stop()
      print("reached")
      io.stdout:flush()
   end
end

function done(summary, latency, requests)
   local parts = {}
   for _, thread in ipairs(threads) do
      for status, count in pairs(thread:get("statuses")) do
         table.insert(parts, string.format('"%s": %d', status, count))
      end
   end
   local errors = summary.errors
   print(string.format(
      '{"statuses": {%s}, "errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d}}',
      table.concat(parts, ", "), errors.connect, errors.read, errors.write, errors.timeout))
end

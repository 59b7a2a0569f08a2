-- One session after the other, so that none is asked for twice at the same time.
local requests, last = {}, 0

function init(args)
    for cookie in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format('GET', nil, { Cookie = cookie })
    end
    io.stderr:write('ready\n')
end

function request()
    last = last % #requests + 1
    return requests[last]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format('figures %d %d %d %d %d %d %d %d %d\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end

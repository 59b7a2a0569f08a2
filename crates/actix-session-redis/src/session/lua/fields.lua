-- Fields of ours. No field of an application has such a name: its names are UTF-8, and no byte of
-- UTF-8 is 255.
local BORN, WRITTEN = '\255born', '\255written'

-- Runs a command with these of the arguments; `unpack` gives up at about 8,000.
local function in_chunks(command, key, arguments, first, last)
    for from = first, last, 1000 do
        redis.call(command, key, unpack(arguments, from, math.min(from + 999, last)))
    end
end


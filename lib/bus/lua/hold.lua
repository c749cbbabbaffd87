-- owner host lease_ms, then the vm_ids of workspaces that the owner holds for no task yet. Each gets its entry, which is true for a
-- lease from now on. Answers a line per workspace: done.

local owner, host, until_ms = ARGV[2], ARGV[3], digits(clock() + tonumber(ARGV[4]))
local answers, entries = {}, {}
for i = 5, #ARGV do
  answers[#answers + 1] = 'done'
  entries[#entries + 1] = ARGV[i]
  entries[#entries + 1] = hold_of(until_ms, owner)
end
if #entries > 0 then redis.call('HSET', KEYS[4] .. host, unpack(entries)) end
return table.concat(answers, '\n')

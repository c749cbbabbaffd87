-- owner host, then the vm_ids of workspaces that the owner holds no more: they are gone, or a lease names them. Answers a line per workspace: done,
-- or gone when its entry is not the owner's.

local owner, host = ARGV[2], ARGV[3]
local vm_ids, entries = entries_of(host, 4)
local answers, mine = {}, {}
for n = 1, #vm_ids do
  local _, whose = read_hold(entries[n])
  answers[n] = whose == owner and 'done' or 'gone'
  if whose == owner then mine[#mine + 1] = vm_ids[n] end
end
if #mine > 0 then redis.call('HDEL', KEYS[4] .. host, unpack(mine)) end
return table.concat(answers, '\n')

-- host cursor, then the vm_ids of workspaces of which something is left on this host. Answers where the tidying of the host's VM table
-- goes on ("0": from its beginning), then per workspace: "held" (a worker or reaper holds a lease that names it, here) or "free", and
-- the task whose lease its entry leads to ("": none is known).

-- Entries whose lease is gone, or names another workspace by now, are removed, a few at a time: a finish leaves its entry behind.
local function tidy(host, cursor)
  local page = redis.call('HSCAN', KEYS[4] .. host, cursor, 'COUNT', 100)
  local vm_ids, ids, stale = {}, {}, {}
  for i = 1, #page[2], 2 do
    vm_ids[#vm_ids + 1] = page[2][i]
    ids[#ids + 1] = page[2][i + 1]
  end
  local fields = leases_of(ids)
  for n = 1, #ids do
    if not names(fields[n], vm_ids[n], host) then stale[#stale + 1] = vm_ids[n] end
  end
  if #stale > 0 then redis.call('HDEL', KEYS[4] .. host, unpack(stale)) end
  return page[1]
end

local host = ARGV[2]
local answers = { tidy(host, ARGV[3]) }
local vm_ids, ids = entries_of(host, 4)
local fields = leases_of(ids)
for n = 1, #vm_ids do
  local is_named = names(fields[n], vm_ids[n], host)
  local is_held = is_named and (fields[n][F_STATE] == 'running' or fields[n][F_STATE] == 'reaping')
  answers[#answers + 1] = is_held and 'held' or 'free'
  answers[#answers + 1] = is_named and ids[n] or ''
end
return answers

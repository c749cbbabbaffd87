-- host grace_ms cursor, then the vm_ids of workspaces of which something is left on this host. Answers where the tidying of the host's VM
-- table goes on ("0": from its beginning), then per workspace: "held" (a worker or reaper holds a lease that names it, here, or holds it
-- for no task yet), "over" (its worker has not said so for a lease and the grace) or "free", and the task whose lease its
-- entry leads to ("": none is known).

local stale_ms = 3600000 -- of a hold that is over: by then whatever it named was found, or is not there

-- Entries whose lease is gone, or names another workspace by now, are removed, a few at a time: a finish leaves its entry behind.
local function tidy(host, cursor, now_ms)
  local page = redis.call('HSCAN', KEYS[4] .. host, cursor, 'COUNT', 100)
  local vm_ids, ids, stale = {}, {}, {}
  for i = 1, #page[2], 2 do
    vm_ids[#vm_ids + 1] = page[2][i]
    ids[#ids + 1] = page[2][i + 1]
  end
  local fields = leases_of(ids)
  for n = 1, #ids do
    local until_ms = read_hold(ids[n])
    local is_stale = until_ms and until_ms + stale_ms < now_ms
    if is_stale or not until_ms and not names(fields[n], vm_ids[n], host) then stale[#stale + 1] = vm_ids[n] end
  end
  if #stale > 0 then redis.call('HDEL', KEYS[4] .. host, unpack(stale)) end
  return page[1]
end

local host, grace_ms, now_ms = ARGV[2], tonumber(ARGV[3]), clock()
local answers = { tidy(host, ARGV[4], now_ms) }
local vm_ids, entries = entries_of(host, 5)
local fields = leases_of(entries)
for n = 1, #vm_ids do
  local until_ms = read_hold(entries[n])
  local is_named = not until_ms and names(fields[n], vm_ids[n], host)
  local is_held = is_named and (fields[n][F_STATE] == 'running' or fields[n][F_STATE] == 'reaping')
  if until_ms then
    answers[#answers + 1] = until_ms + grace_ms < now_ms and 'over' or 'held'
  else
    answers[#answers + 1] = is_held and 'held' or 'free'
  end
  answers[#answers + 1] = is_named and entries[n] or ''
end
return answers

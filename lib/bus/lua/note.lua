-- host, then the vm_ids of workspaces that nobody held and whose disk's key was seen to be destroyed. A line that still names one of them
-- says so from now on, for a result that is told later. Answers per workspace: 1 when its line says so, else 0.
--
-- Nobody holds that line but perhaps a reaper that is about to tell; it may find "destroyed" there a little later than it looked.
-- Nothing else of the line changes, so whoever holds it still does.

local host = ARGV[2]
local vm_ids, ids = entries_of(host, 3)
local fields = leases_of(ids)
local answers = {}
for n = 1, #vm_ids do
  local is_named = names(fields[n], vm_ids[n], host)
  answers[n] = is_named and 1 or 0
  if is_named then
    set(fields[n], F_KEY, 'destroyed')
    redis.call('SET', KEYS[2] .. ids[n], table.concat(fields[n], ' '))
  end
end
return answers

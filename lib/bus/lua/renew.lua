-- owner host lease_ms, then per lease: id token. Answers a line per lease: done or gone.

local late_leases = 3 -- a worker that is well ends a workspace at the end of its ttl_ms by itself. Then its result may still wait for
  -- Kafka (a broker's failover, a last chunk of output), and a worker is not declared dead for that: so many leases later it is.
local owner, host, lease_ms = ARGV[2], ARGV[3], tonumber(ARGV[4])
local now_ms = clock()
local keys, lines = read_lines(5, 2)
local answers, deadlines, vms = {}, {}, {}
for n = 1, #keys do
  local id, token = ARGV[3 + 2 * n], ARGV[4 + 2 * n]
  answers[n] = 'gone'
  if is_running(lines[n], owner, token) then
    answers[n] = 'done'
    local field = fields_of(lines[n])
    local last = (tonumber(field[F_EXPIRES_MS]) or 0) + late_leases * lease_ms
    deadlines[#deadlines + 1] = digits(math.min(now_ms + lease_ms, last))
    deadlines[#deadlines + 1] = id
    if has_vm(field) then
      vms[#vms + 1] = field[F_VM_ID]
      vms[#vms + 1] = id
    end
  end
end
if #deadlines > 0 then redis.call('ZADD', KEYS[1], unpack(deadlines)) end
if #vms > 0 then redis.call('HSET', KEYS[4] .. host, unpack(vms)) end
return table.concat(answers, '\n')

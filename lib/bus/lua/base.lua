-- The lease library: all that is ever done to a lease in Redis. This file is what its functions share; each other file is one function.
-- lib/bus/CMakeLists.txt makes one script of them, which worker and reaper run (bus/lease_library.h):
--
--     EVALSHA <digest> 4 <deadlines> <prefix of leases> <token> <prefix of VM tables> <function> <arguments>
--
-- So KEYS[1] is the deadlines, and so on, ARGV[1] the function and ARGV[2] its first argument. F_STATE, F_OWNER, ... are the positions of
-- a line's fields (bus/lease_fields.h). Redis runs a script alone, so each call is one atomic step. A function takes many leases
-- at once: their arguments follow each other in ARGV, in rows of equal width. Keys of leases are built here from their prefix, which
-- Redis Cluster allows because the hash tag {mayfly} puts all of them in one slot.
--
-- A lease is one line of text. Its owner and token say who holds it: a worker in the state running, a reaper in the states
-- reaping, ended and told. Nobody holds an orphan. Whoever is not the holder changes nothing, but
-- for the key of a disk that is destroyed (note.lua). When somebody has to look is not in the line but is the lease's score in the
-- deadlines, so that a renewal leaves the line as it is.
--
-- A VM table (one hash per host: vm_id -> task id) leads from a workspace that a reaper finds on its host to the lease that may
-- name it. It only helps to find: what counts is what the line says. A renewal and a reaper's taking write it, a claim does not,
-- so that a short task costs nothing; a live lease that has lost its entry gets it back with its next renewal.
--
-- A workspace that no lease names, because it was made ahead of any task, has an entry of another kind: a hold, vm_id -> "<until> <owner>".
-- It is all that says that the workspace is held, so its worker writes it again and again, as it renews leases.

-- Lua's own conversion of a number keeps 14 digits, and %.0f takes several times as long as these two halves.
local function digits(number)
  local high = math.floor(number / 1000000000)
  if high == 0 then return string.format('%d', number) end
  return string.format('%d%09d', high, number % 1000000000)
end

-- Redis's clock: milliseconds, microseconds.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000), time[1] * 1000000 + time[2]
end

-- Fencing tokens: each above all before it, even when Redis lost its memory (then by the clock) or its clock went back (then by the
-- memory). The first function answers the next one; the second writes the last one.
local function tokens(now_us)
  local last = math.max(tonumber(redis.call('GET', KEYS[3])) or 0, now_us - 1)
  local function next_token()
    last = last + 1
    return digits(last)
  end
  local function keep() redis.call('SET', KEYS[3], digits(last)) end
  return next_token, keep
end

-- The keys and lines of the leases whose ids begin the rows in ARGV; false where there is no line.
local function read_lines(first, width)
  local keys = {}
  for i = first, #ARGV, width do keys[#keys + 1] = KEYS[2] .. ARGV[i] end
  if #keys == 0 then return keys, {} end
  return keys, redis.call('MGET', unpack(keys))
end

local function fields_of(line)
  local fields = {}
  for field in string.gmatch(line or '', '[^ ]+') do fields[#fields + 1] = field end
  return fields
end

local function write(key, id, fields, deadline)
  redis.call('SET', key, table.concat(fields, ' '))
  redis.call('ZADD', KEYS[1], deadline, id)
end

local function remove(key, id)
  redis.call('DEL', key)
  redis.call('ZREM', KEYS[1], id)
end

local function has_vm(fields) return fields[F_VM_ID] and fields[F_VM_ID] ~= '-' end

-- Also in a line that ends before this field.
local function set(fields, position, text)
  for i = #fields + 1, position - 1 do fields[i] = '-' end
  fields[position] = text
end

-- Is the line that of a running lease of this owner and token? Both are the beginning of it.
local function is_running(line, owner, token)
  local head = 'running ' .. owner .. ' ' .. token .. ' '
  return line and string.sub(line, 1, #head) == head
end

-- With `uncounted` 1 as if it had not been claimed, with 0 its attempt stays counted. No attempt leaves nothing; others leave an orphan,
-- or they would be forgotten. It is not lost, only queued, however long the queue is: no reaper has to look. `destroyed`: what
-- the line says of the disk's key.
local function give_back(key, id, line, uncounted, destroyed)
  local never = '9007199254740991' -- LEASE_NEVER_MS
  local field = fields_of(line)
  local attempts = (tonumber(field[F_ATTEMPT]) or 0) - uncounted
  if attempts < 1 then
    remove(key, id)
    return
  end
  field[F_STATE], field[F_OWNER], field[F_ATTEMPT], field[F_EXPIRES_MS] = 'orphan', '-', attempts, never
  set(field, F_VICTIM, '-')
  set(field, F_KEY, destroyed)
  write(key, id, field, never)
end

-- No task id has a space.
local function hold_of(until_ms, owner) return until_ms .. ' ' .. owner end

-- Until when, and by whom; nothing when the entry is no hold.
local function read_hold(entry)
  local until_ms, owner = string.match(entry, '^(%d+) ([^ ]+)$')
  return tonumber(until_ms), owner
end

-- The entries of the vm_ids in ARGV[first] and behind it in the host's VM table: the task id to which each leads, or a hold; "" where there
-- is none.
local function entries_of(host, first)
  local vm_ids, ids = {}, {}
  for i = first, #ARGV do vm_ids[#vm_ids + 1] = ARGV[i] end
  if #vm_ids > 0 then ids = redis.call('HMGET', KEYS[4] .. host, unpack(vm_ids)) end
  for n = 1, #vm_ids do ids[n] = ids[n] or '' end
  return vm_ids, ids
end

-- The fields of these tasks' leases; none where there is no lease.
local function leases_of(ids)
  local keys, fields = {}, {}
  for n = 1, #ids do keys[n] = KEYS[2] .. ids[n] end
  local lines = #keys > 0 and redis.call('MGET', unpack(keys)) or {}
  for n = 1, #ids do fields[n] = fields_of(lines[n]) end
  return fields
end

local function names(field, vm_id, host) return field[F_VM_ID] == vm_id and field[F_HOST] == host end

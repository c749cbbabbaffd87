-- grace_ms limit. Answers: now, the number of all leases, of those due for longer than the grace, then for up to `limit` of
-- these, the longest due first: id, score, line ("" for a member of the deadlines without a lease, which is forgotten here). What
-- looks like no lease is left alone, but goes to the end of the queue: however many there are, they hide no lease.

local lease = '^%l+ [%w._-]+ %d+ %d+ [%w._-]+ %d+ %d+ [%w._-]+ %d+ %d+' -- the beginning of one
local states = { running = true, reaping = true, orphan = true, ended = true, told = true }
local function is_lease(line)
  local _, spaces = string.gsub(line, ' ', '')
  return string.find(line, lease) and states[string.match(line, '^%l+')] and spaces < F_TENANT -- its last field
end
local now_ms = clock()
local before = '(' .. digits(now_ms - tonumber(ARGV[2]))
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local answers = { now_ms, redis.call('ZCARD', KEYS[1]), redis.call('ZCOUNT', KEYS[1], '-inf', before) }
for i = 1, #due, 2 do
  local line = redis.pcall('GET', KEYS[2] .. due[i])
  if type(line) == 'table' then line = 'not even a string' end
  if not line then
    redis.call('ZREM', KEYS[1], due[i])
  elseif not is_lease(line) then
    redis.call('ZADD', KEYS[1], digits(now_ms), due[i])
  end
  answers[#answers + 1] = due[i]
  answers[#answers + 1] = tonumber(due[i + 1])
  answers[#answers + 1] = line or ''
end
return answers

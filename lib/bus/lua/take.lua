-- owner lease_ms grace_ms, then per lease: id token expires_ms. What is still due and still has that token is taken, and has
-- that expires_ms: a running one becomes reaping (its worker's renewal and finish answer gone from now on), an orphan that nobody
-- wanted becomes ended, the rest changes hands. Answers per lease: the new token, 0 when it was not taken.

local taken = { running = 'reaping', orphan = 'ended' }
local now_ms, now_us = clock()
local next_token, keep_token = tokens(now_us)
local keys, lines = read_lines(5, 3)
local answers = {}
for n = 1, #keys do
  local id, token, expires_ms = ARGV[2 + 3 * n], ARGV[3 + 3 * n], ARGV[4 + 3 * n]
  local field = fields_of(lines[n])
  local score = tonumber(redis.call('ZSCORE', KEYS[1], id) or now_ms)
  answers[n] = 0
  if field[F_TOKEN] == token and score + tonumber(ARGV[4]) < now_ms then
    if field[F_STATE] == 'running' then set(field, F_VICTIM, field[F_OWNER]) end
    if has_vm(field) then redis.call('HSET', KEYS[4] .. field[F_HOST], field[F_VM_ID], id) end
    field[F_STATE] = taken[field[F_STATE]] or field[F_STATE]
    field[F_OWNER], field[F_EXPIRES_MS] = ARGV[2], expires_ms
    field[F_TOKEN] = next_token()
    answers[n] = tonumber(field[F_TOKEN])
    write(keys[n], id, field, digits(now_ms + tonumber(ARGV[3])))
  end
end
keep_token()
return answers

-- owner lease_ms host, then per workspace of which something is left on this host: id, "1" when it may be
-- taken. Answers per id a number, a line, and of an orphan when it is to be lost, else 0. Number 0: leave it, a worker or
-- reaper holds it here. Positive: it has no lease, or one that anybody could claim; if it may be taken, it is ours now like
-- any lease in reaping, the number is the token and the line is what it is. -1: nobody may claim it here now, it can be erased.

local now_ms, now_us = clock()
local next_token, keep_token = tokens(now_us)
local keys, lines = read_lines(5, 2)
local answers = {}
for n = 1, #keys do
  local id, may_take = ARGV[3 + 2 * n], ARGV[4 + 2 * n] == '1'
  local field = fields_of(lines[n] or 'missing - 0 0 - 0 0 - 0 0 -')
  local state, verdict, lost = field[F_STATE], 0, 0
  if state == 'orphan' then lost = tonumber(redis.call('ZSCORE', KEYS[1], id) or 0) end
  if state == 'missing' or state == 'orphan' then
    verdict = 1
    if may_take then
      field[F_STATE], field[F_OWNER], field[F_HOST] = 'reaping', ARGV[2], ARGV[4]
      set(field, F_VICTIM, '-')
      verdict, field[F_TOKEN] = next_token()
      write(keys[n], id, field, digits(now_ms + tonumber(ARGV[3])))
    end
  elseif state == 'ended' or state == 'told' or field[F_HOST] ~= ARGV[4] then
    verdict = -1
  end
  answers[3 * n - 2], answers[3 * n - 1], answers[3 * n] = verdict, table.concat(field, ' '), lost
end
keep_token()
return answers

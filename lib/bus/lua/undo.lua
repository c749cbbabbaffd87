-- The arguments of a claim whose answer got lost: if it was granted after all, it is given back. Its token is not known, so owner and
-- record decide. A job of this very process that still held the same record would lose it and stop, which is safe. Answers a
-- line per claim: done or gone.

local keys, lines = read_lines(7, 5)
local answers = {}
for n = 1, #keys do
  local at = 5 * n + 2
  local field = fields_of(lines[n])
  local is_mine = field[F_STATE] == 'running' and field[F_OWNER] == ARGV[2] and field[F_OFFSET]
    and field[F_TOPIC] .. ' ' .. field[F_PARTITION] .. ' ' .. field[F_OFFSET] == string.match(ARGV[at + 4], '^[^ ]+ %d+ %d+')
  answers[n] = is_mine and 'done' or 'gone'
  if is_mine then give_back(keys[n], ARGV[at], lines[n], 1, '-') end
end
return table.concat(answers, '\n')

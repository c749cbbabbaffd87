-- owner uncounted, then per lease: id token key ("destroyed" or "-"). A worker gives a task back that it did not answer: with `uncounted` 1
-- it never ran, with 0 it may have. Answers a line per lease: done or gone.

local owner, uncounted = ARGV[2], tonumber(ARGV[3])
local keys, lines = read_lines(4, 3)
local answers = {}
for n = 1, #keys do
  local id, token, destroyed = unpack(ARGV, 3 * n + 1, 3 * n + 3)
  local is_mine = is_running(lines[n], owner, token)
  answers[n] = is_mine and 'done' or 'gone'
  if is_mine then give_back(keys[n], id, lines[n], uncounted, destroyed) end
end
return table.concat(answers, '\n')

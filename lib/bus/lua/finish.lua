-- owner, then per lease: id token. Answers a line per lease: done or gone.

local keys, lines = read_lines(3, 2)
local answers, gone_keys, gone_ids = {}, {}, {}
for n = 1, #keys do
  answers[n] = 'gone'
  if is_running(lines[n], ARGV[2], ARGV[2 + 2 * n]) then
    answers[n] = 'done'
    gone_keys[#gone_keys + 1] = keys[n]
    gone_ids[#gone_ids + 1] = ARGV[1 + 2 * n]
  end
end
if #gone_ids > 0 then
  redis.call('DEL', unpack(gone_keys))
  redis.call('ZREM', KEYS[1], unpack(gone_ids))
end
return table.concat(answers, '\n')

-- owner lease_ms lost_after_ms, then per lease: id token verb key ("destroyed": seen to be by now; else "-"). Answers per lease: 1, or 0
-- when it is not ours any more. Verbs: delete; orphan (anyone may claim it, for lost_after_ms); ended; told (to be looked at again
-- without hurry; its expires_ms is when it was told).

local owner, lease_ms, lost_after_ms = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now_ms = clock()
local keys, lines = read_lines(5, 4)
local answers = {}
for n = 1, #keys do
  local id, token, verb, key = unpack(ARGV, 1 + 4 * n, 4 + 4 * n)
  local field = fields_of(lines[n])
  local is_mine = field[F_OWNER] == owner and field[F_TOKEN] == token
  answers[n] = is_mine and 1 or 0
  if is_mine and key ~= '-' then set(field, F_KEY, key) end
  if is_mine and verb == 'delete' then
    remove(keys[n], id)
  elseif is_mine and verb == 'orphan' then
    field[F_STATE], field[F_OWNER] = 'orphan', '-'
    write(keys[n], id, field, digits(now_ms + lost_after_ms))
  elseif is_mine then
    if verb == 'told' and field[F_STATE] ~= 'told' then field[F_EXPIRES_MS] = digits(now_ms) end
    field[F_STATE] = verb
    write(keys[n], id, field, digits(now_ms + lease_ms * (verb == 'told' and 3 or 1)))
  end
end
return answers

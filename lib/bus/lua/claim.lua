-- owner host lease_ms max_attempts "topics of the fleet", then per claim: id slot ttl_ms answered tail. The tail is how its line ends:
-- "topic partition offset - - content vm_id tenant". Answers a line per claim: the verdict, then token and attempt when it is granted,
-- or the record that has the id ("topic partition offset").

-- Another record has the id: it is the same task again, or somebody's mistake, as their contents say.
local function compare(content, its_content, its_place)
  return content == its_content and 'duplicate' or 'conflict', nil, its_place
end

-- May this record have the id that has a line already? Answers the verdict, then the attempt if it may, and the other record's place if
-- another one has it.
--
-- While a task lives its id is its own. Whether the record that the line names still is unanswered is not known here: Kafka knows, and
-- the caller asks. Of a told lease it is known: its id is free for other records, and its own record waits for nothing but being
-- marked done. An ended one is not told yet: a record that was marked done before its result is in Kafka would look answered to
-- the reaper, and nobody would ever tell it.
--
-- A line of a topic that is not the fleet's is another fleet's: nothing is taken from it, whatever its state.
--
-- `answered` is "-", or the place of a record that the caller knows to be answered: its orphan is a line that was forgotten, and
-- the id is free.
local function judge(line, source, content, answered, max_attempts, topics)
  local field = fields_of(line)
  local state, topic = field[F_STATE], field[F_TOPIC]
  if not field[F_OFFSET] or not tonumber(field[F_ATTEMPT]) then return 'foreign' end -- no lease: an operator's to delete
  if not string.find(topics, ' ' .. topic .. ' ', 1, true) then return 'foreign' end
  local its_place = topic .. ' ' .. field[F_PARTITION] .. ' ' .. field[F_OFFSET]
  if its_place ~= source then
    if state == 'told' or state == 'orphan' and answered == its_place then return 'claimed', '1' end
    if not string.match(its_place, '^[^ ]+ %d+ %d+$') then return 'foreign' end
    return compare(content, field[F_CONTENT], its_place)
  end
  local is_state = state == 'running' or state == 'reaping' or state == 'ended' or state == 'told'
  if state ~= 'orphan' then return is_state and state or 'foreign' end
  local attempt = tonumber(field[F_ATTEMPT]) + 1
  return attempt > max_attempts and 'exhausted' or 'claimed', digits(attempt)
end

local owner, host, lease_ms, max_attempts = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local topics = ' ' .. ARGV[6] .. ' '
local now_ms, now_us = clock()
local next_token, keep_token = tokens(now_us)
local ends = digits(now_ms + lease_ms)
local expires = {} -- of each ttl_ms; nearly all have the same
local keys, lines = read_lines(7, 5)
local answers, grants, deadlines, granted = {}, {}, {}, {}
for n = 1, #keys do
  local at = 5 * n + 2
  local id, tail = ARGV[at], ARGV[at + 4]
  local before, line = granted[id], lines[n] -- before: the tail of what this very call granted
  local verdict, attempt, place = 'claimed', '1'
  if before or line then
    local source, content = string.match(tail, '^([^ ]+ %d+ %d+) %- %- ([^ ]+)')
    if not before then
      verdict, attempt, place = judge(line, source, content, ARGV[at + 3], max_attempts, topics)
    elseif string.sub(before, 1, #source + 1) == source .. ' ' then
      verdict, attempt = 'running', nil
    else
      local its_place, its_content = string.match(before, '^([^ ]+ %d+ %d+) %- %- ([^ ]+)')
      verdict, attempt, place = compare(content, its_content, its_place)
    end
  end
  if attempt then
    local token, ttl_ms = next_token(), ARGV[at + 2]
    local ended = expires[ttl_ms] or digits(now_ms + tonumber(ttl_ms))
    expires[ttl_ms], granted[id] = ended, tail
    local g = #grants
    grants[g + 1], deadlines[g + 1] = keys[n], ends
    grants[g + 2], deadlines[g + 2] = 'running ' .. owner .. ' ' .. token .. ' ' .. attempt .. ' ' .. host .. ' ' .. ARGV[at + 1] .. ' '
      .. ended .. ' ' .. tail, id
    answers[n] = verdict .. ' ' .. token .. ' ' .. attempt
  else
    answers[n] = place and verdict .. ' ' .. place or verdict
  end
end
if #grants > 0 then
  redis.call('MSET', unpack(grants))
  redis.call('ZADD', KEYS[1], unpack(deadlines))
  keep_token()
end
return table.concat(answers, '\n')

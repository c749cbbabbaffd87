-- owner host lease_ms max_attempts "topics of the fleet", then per claim: id slot ttl_ms "topic partition offset" content answered vm_id
-- tenant. Answers per claim: verdict, token, attempt (0, 0 when nothing was granted), and the record that has the id ("topic
-- partition offset", else "").

-- Another record has the id: it is the same task again, or somebody's mistake, as their contents say.
local function compare(content, its_content, its_place)
  return content == its_content and 'duplicate' or 'conflict', 0, its_place
end

-- May this record have the id that has a line already? Answers verdict, attempt and the other record's place.
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
  if not field[F_OFFSET] or not tonumber(field[F_ATTEMPT]) then return 'foreign', 0, '' end -- no lease: an operator's to delete
  if not string.find(topics, ' ' .. topic .. ' ', 1, true) then return 'foreign', 0, '' end
  local its_place = topic .. ' ' .. field[F_PARTITION] .. ' ' .. field[F_OFFSET]
  if its_place ~= source then
    if state == 'told' or state == 'orphan' and answered == its_place then return 'claimed', 1, '' end
    if not string.match(its_place, '^[^ ]+ %d+ %d+$') then return 'foreign', 0, '' end
    return compare(content, field[F_CONTENT], its_place)
  end
  local is_state = state == 'running' or state == 'reaping' or state == 'ended' or state == 'told'
  if state ~= 'orphan' then return is_state and state or 'foreign', 0, '' end
  local attempt = tonumber(field[F_ATTEMPT]) + 1
  return attempt > max_attempts and 'exhausted' or 'claimed', attempt, ''
end

local owner, host, lease_ms, max_attempts = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local topics = ' ' .. ARGV[6] .. ' '
local now_ms, now_us = clock()
local next_token, keep_token = tokens(now_us)
local ends = digits(now_ms + lease_ms)
local keys, lines = read_lines(7, 8)
local answers, grants, deadlines, granted = {}, {}, {}, {}
for n = 1, #keys do
  local at = 8 * n - 1
  local id, slot, ttl_ms, source, content, answered, vm_id, tenant = unpack(ARGV, at, at + 7)
  local verdict, attempt, place, token = 'claimed', 1, '', 0
  local before = granted[id] -- by this very call: where its row begins
  if before and ARGV[before + 3] == source then
    verdict, attempt = 'running', 0
  elseif before then
    verdict, attempt, place = compare(content, ARGV[before + 4], ARGV[before + 3])
  elseif lines[n] then
    verdict, attempt, place = judge(lines[n], source, content, answered, max_attempts, topics)
  end
  if attempt > 0 then
    local token_text
    token, token_text = next_token()
    granted[id] = at
    grants[#grants + 1] = keys[n]
    grants[#grants + 1] = 'running ' .. owner .. ' ' .. token_text .. ' ' .. attempt .. ' ' .. host .. ' ' .. slot
      .. ' ' .. digits(now_ms + tonumber(ttl_ms)) .. ' ' .. source .. ' - - ' .. content .. ' ' .. vm_id .. ' ' .. tenant
    deadlines[#deadlines + 1] = ends
    deadlines[#deadlines + 1] = id
  end
  local out = 4 * (n - 1)
  answers[out + 1], answers[out + 2], answers[out + 3], answers[out + 4] = verdict, token, attempt, place
end
if #grants > 0 then
  redis.call('MSET', unpack(grants))
  redis.call('ZADD', KEYS[1], unpack(deadlines))
  keep_token()
end
return answers

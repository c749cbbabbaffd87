/* The Lua of the worker's side of a lease (bus/lease.h; the reaper's is in bus/reap_scripts.h). One call carries many
 * ids.
 *
 * A lease is one line of text, its fields separated by one space (a field never holds one):
 *
 *	state owner token attempt host slot expires_ms topic partition offset [victim [key [content]]]
 *
 * A line and not a hash, because a batch of lines is read by one MGET and written by one MSET: half of Redis's time
 * for the same work (docs/decisions/2026-11-23-a-lease-is-a-line.md). Whether a caller still is the holder is the
 * beginning of that line. When the lease ends is its score in the deadlines, so a renewal writes nothing else. A lease
 * is not renewed for ever: LATE_LEASES after expires_ms, the end of the workspace's ttl_ms, it runs out, however alive
 * its worker is.
 *
 * Every script gets KEYS[1] the deadlines, KEYS[2] the prefix of lease keys and KEYS[3] the highest token ever given.
 * The lease keys themselves are built inside, which Redis Cluster allows because the hash tag {mayfly} puts all of
 * them in one slot. Redis runs a script alone, so each of them is one atomic step. */
#pragma once

/* enum lease_verdict in Lua; bus/lease_reply.c pins the numbers. */
#define LEASE_LUA_VERDICTS "local CLAIMED, HELD, DUPLICATE, CONFLICT, TOLD, EXHAUSTED, GONE = 0, 1, 2, 3, 4, 5, 6\n"

#define LEASE_LUA_NOW                       \
	"local time = redis.call('TIME')\n" \
	"local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"

/* A worker that is well ends a workspace at the end of its ttl_ms by itself; then its result may still wait for Kafka (a broker's
 * failover, a last chunk of output), and a worker is not declared dead for that. */
#define LEASE_LUA_LATE_LEASES "local LATE_LEASES = 3\n"

/* LEASE_NEVER_MS, as text; bus/lease_reply.c pins it. */
#define LEASE_LUA_NEVER "local NEVER = '9007199254740991'\n"

/* The next token: above all before it, even when Redis lost its memory (then by the clock) or its clock went back (then
 * by the memory). %.0f because Lua's own conversion keeps 14 digits. */
#define LEASE_LUA_TOKEN                                                                                        \
	"local token = math.max(tonumber(redis.call('GET', KEYS[3])) or 0, time[1] * 1000000 + time[2] - 1)\n" \
	"local function next_token()\n"                                                                        \
	"  token = token + 1\n"                                                                                \
	"  return string.format('%.0f', token)\n"                                                              \
	"end\n"                                                                                                \
	"local function keep_token() redis.call('SET', KEYS[3], string.format('%.0f', token)) end\n"

/* read_all(first, stride): the keys and lines of the ids in ARGV, false where there is none. */
#define LEASE_LUA_READ                                                                     \
	"local function read_all(first, stride)\n"                                         \
	"  local keys = {}\n"                                                              \
	"  for i = first, #ARGV, stride do keys[#keys + 1] = KEYS[2] .. ARGV[i] end\n"     \
	"  return keys, redis.call('MGET', unpack(keys))\n"                                \
	"end\n"                                                                            \
	"local function fields_of(line)\n"                                                 \
	"  local fields = {}\n"                                                            \
	"  for field in string.gmatch(line, '[^ ]+') do fields[#fields + 1] = field end\n" \
	"  return fields\n"                                                                \
	"end\n"

/* is_held(line, owner, token): by a running worker, and that one. */
#define LEASE_LUA_IS_HELD                                                 \
	"local function is_held(line, owner, its_token)\n"                \
	"  local head = 'running ' .. owner .. ' ' .. its_token .. ' '\n" \
	"  return line and string.sub(line, 1, #head) == head\n"          \
	"end\n"

/* ARGV: owner host lease_ms max_attempts, then per claim: id slot ttl_ms "topic partition offset" content answered. Answers per
 * claim: verdict, token, attempt (0, 0 when nothing was granted), and the record that has the id ("partition offset", else "").
 *
 * While a task lives its id is its own: another record of that id is the same task again (DUPLICATE) or somebody's mistake
 * (CONFLICT), as their contents say. Whether the record that the line names still is unanswered is not known here: Kafka
 * knows, and the caller asks. Of a told lease it is known: its id is free for other records, and its own record waits for
 * nothing but being marked done. An ended one is not told yet: a record that was marked done before its result is in
 * Kafka would look answered to the reaper, and nobody would ever tell it. `answered` is "-", or the place of a record that the
 * caller knows to be answered: its orphan is a line that was forgotten, and the id is free. */
static const char lease_claim_lua[] = LEASE_LUA_VERDICTS LEASE_LUA_NOW LEASE_LUA_TOKEN LEASE_LUA_READ
	"local max_attempts = tonumber(ARGV[4])\n"
	"local function compare(content, its_content, source)\n"
	"  local place = string.match(source, '^[^ ]+ (%d+ %d+)$')\n"
	"  if not place then return HELD, 0, '' end\n" /* objects without a record: a reaper is at it */
	"  return content == its_content and DUPLICATE or CONFLICT, 0, place\n"
	"end\n"
	"local function judge(line, source, content, answered)\n"
	"  local field = fields_of(line)\n"
	"  local state, topic = field[1], field[8]\n"
	"  if not field[10] or not tonumber(field[4]) then return HELD, 0, '' end\n" /* no lease: an operator's to delete */
	"  if topic ~= string.match(source, '^[^ ]+') then return HELD, 0, '' end\n"
	"  local its_source = topic .. ' ' .. field[9] .. ' ' .. field[10]\n"
	"  if its_source ~= source and state == 'told' then return CLAIMED, 1, '' end\n"
	"  local is_free = state == 'orphan' and answered == field[9] .. ' ' .. field[10]\n"
	"  if its_source ~= source and is_free then return CLAIMED, 1, '' end\n"
	"  if its_source ~= source then return compare(content, field[13], its_source) end\n"
	"  if state == 'told' then return TOLD, 0, '' end\n"
	"  if state ~= 'orphan' then return HELD, 0, '' end\n"
	"  local attempt = tonumber(field[4]) + 1\n"
	"  return attempt > max_attempts and EXHAUSTED or CLAIMED, attempt, ''\n"
	"end\n"
	"local ends = now + tonumber(ARGV[3])\n"
	"local ends_text = string.format('%.0f', ends)\n"
	"local keys, lines = read_all(5, 6)\n"
	"local answers, grants, due, granted = {}, {}, {}, {}\n"
	"for n = 1, #keys do\n"
	"  local i = 6 * n - 1\n"
	"  local id, source, content = ARGV[i], ARGV[i + 3], ARGV[i + 4]\n"
	"  local expires = string.format('%.0f', now + tonumber(ARGV[i + 2]))\n"
	"  local verdict, attempt, holder, mine = CLAIMED, 1, '', 0\n"
	"  if granted[id] and ARGV[granted[id] + 3] == source then\n"
	"    verdict, attempt = HELD, 0\n"
	"  elseif granted[id] then\n"
	"    verdict, attempt, holder = compare(content, ARGV[granted[id] + 4], ARGV[granted[id] + 3])\n"
	"  elseif lines[n] then\n"
	"    verdict, attempt, holder = judge(lines[n], source, content, ARGV[i + 5])\n"
	"  end\n"
	"  if verdict == CLAIMED or verdict == EXHAUSTED then\n"
	"    local mine_text = next_token()\n"
	"    mine = token\n"
	"    granted[id] = i\n"
	"    grants[#grants + 1] = keys[n]\n"
	"    grants[#grants + 1] = 'running ' .. ARGV[1] .. ' ' .. mine_text .. ' ' .. attempt .. ' ' .. ARGV[2]\n"
	"      .. ' ' .. ARGV[i + 1] .. ' ' .. expires .. ' ' .. source .. ' - - ' .. content\n"
	"    due[#due + 1] = ends_text\n"
	"    due[#due + 1] = id\n"
	"  end\n"
	"  local at = 4 * (n - 1)\n"
	"  answers[at + 1], answers[at + 2], answers[at + 3], answers[at + 4] = verdict, mine, attempt, holder\n"
	"end\n"
	"if #due > 0 then\n"
	"  redis.call('MSET', unpack(grants))\n"
	"  redis.call('ZADD', KEYS[1], unpack(due))\n"
	"  keep_token()\n"
	"end\n"
	"return answers\n";

/* ARGV: owner lease_ms, then per lease: id token. Answers a verdict per lease. */
static const char lease_renew_lua[] = LEASE_LUA_VERDICTS LEASE_LUA_NOW LEASE_LUA_LATE_LEASES LEASE_LUA_READ LEASE_LUA_IS_HELD
	"local ends = now + tonumber(ARGV[2])\n"
	"local keys, lines = read_all(3, 2)\n"
	"local answers, due = {}, {}\n"
	"for n = 1, #keys do\n"
	"  local id, token = ARGV[1 + 2 * n], ARGV[2 + 2 * n]\n"
	"  answers[n] = GONE\n"
	"  if is_held(lines[n], ARGV[1], token) then\n"
	"    answers[n] = CLAIMED\n"
	"    local last = (tonumber(fields_of(lines[n])[7]) or 0) + LATE_LEASES * tonumber(ARGV[2])\n"
	"    due[#due + 1] = string.format('%.0f', math.min(ends, last))\n"
	"    due[#due + 1] = id\n"
	"  end\n"
	"end\n"
	"if #due > 0 then redis.call('ZADD', KEYS[1], unpack(due)) end\n"
	"return answers\n";

/* ARGV: owner, then per lease: id token. Answers a verdict per lease. */
static const char lease_finish_lua[] =
	LEASE_LUA_VERDICTS LEASE_LUA_READ LEASE_LUA_IS_HELD "local keys, lines = read_all(2, 2)\n"
							    "local answers, gone_keys, gone_ids = {}, {}, {}\n"
							    "for n = 1, #keys do\n"
							    "  local id, token = ARGV[2 * n], ARGV[1 + 2 * n]\n"
							    "  answers[n] = GONE\n"
							    "  if is_held(lines[n], ARGV[1], token) then\n"
							    "    answers[n] = CLAIMED\n"
							    "    gone_keys[#gone_keys + 1] = keys[n]\n"
							    "    gone_ids[#gone_ids + 1] = id\n"
							    "  end\n"
							    "end\n"
							    "if #gone_ids > 0 then\n"
							    "  redis.call('DEL', unpack(gone_keys))\n"
							    "  redis.call('ZREM', KEYS[1], unpack(gone_ids))\n"
							    "end\n"
							    "return answers\n";

/* give_back(key, id, line, uncounted, destroyed): with 1, as if it had not been claimed; with 0, its attempt stays counted.
 * No attempt leaves nothing; others leave an orphan, or they would be forgotten. It is not lost, only queued, however long
 * the queue is: the reaper never looks. `destroyed`: what the line says of the disk's key. */
#define LEASE_LUA_GIVE_BACK                                                \
	LEASE_LUA_NEVER                                                    \
	"local function give_back(key, id, line, uncounted, destroyed)\n"  \
	"  local field = fields_of(line)\n"                                \
	"  local attempts = (tonumber(field[4]) or 0) - uncounted\n"       \
	"  if attempts > 0 then\n"                                         \
	"    field[1], field[2], field[4] = 'orphan', '-', attempts\n"     \
	"    field[7], field[11], field[12] = NEVER, '-', destroyed\n"     \
	"    redis.call('SET', key, table.concat(field, ' '))\n"           \
	"    redis.call('ZADD', KEYS[1], NEVER, id)\n"                     \
	"  else\n"                                                         \
	"    redis.call('DEL', key)\n"                                     \
	"    redis.call('ZREM', KEYS[1], id)\n"                            \
	"  end\n"                                                          \
	"end\n"

/* ARGV: owner, then per lease: id token key ("destroyed" or "-"). Answers a verdict per lease. */
#define LEASE_LUA_GIVE_BACK_ALL(uncounted)                                                      \
	"local keys, lines = read_all(2, 3)\n"                                                  \
	"local answers = {}\n"                                                                  \
	"for n = 1, #keys do\n"                                                                 \
	"  local id, token, key = ARGV[3 * n - 1], ARGV[3 * n], ARGV[3 * n + 1]\n"              \
	"  answers[n] = is_held(lines[n], ARGV[1], token) and CLAIMED or GONE\n"                \
	"  if answers[n] == CLAIMED then give_back(keys[n], id, lines[n], " uncounted ", key) end\n" \
	"end\n"                                                                                 \
	"return answers\n"

static const char lease_release_lua[] =
	LEASE_LUA_VERDICTS LEASE_LUA_READ LEASE_LUA_IS_HELD LEASE_LUA_GIVE_BACK LEASE_LUA_GIVE_BACK_ALL("1");
static const char lease_abandon_lua[] =
	LEASE_LUA_VERDICTS LEASE_LUA_READ LEASE_LUA_IS_HELD LEASE_LUA_GIVE_BACK LEASE_LUA_GIVE_BACK_ALL("0");

/* ARGV as of a claim whose answer got lost: if it was granted after all, give it back. Its token is not known, so
 * owner and record decide; a job of this very process that still held the same record would lose it and stop, which
 * is safe. */
static const char lease_undo_lua[] = LEASE_LUA_VERDICTS LEASE_LUA_READ LEASE_LUA_GIVE_BACK
	"local keys, lines = read_all(5, 6)\n"
	"local answers = {}\n"
	"for n = 1, #keys do\n"
	"  local i = 6 * n - 1\n"
	"  local field = fields_of(lines[n] or '')\n"
	"  local is_mine = field[1] == 'running' and field[2] == ARGV[1] and field[10]\n"
	"    and field[8] .. ' ' .. field[9] .. ' ' .. field[10] == ARGV[i + 3]\n"
	"  answers[n] = is_mine and CLAIMED or GONE\n"
	"  if is_mine then give_back(keys[n], ARGV[i], lines[n], 1, '-') end\n"
	"end\n"
	"return answers\n";

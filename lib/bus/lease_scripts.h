/* The Lua of the worker's side of a lease (bus/lease.h; the reaper's is in bus/reap_scripts.h). One call carries many ids.
 *
 * Every script declares KEYS[1] the deadlines, KEYS[2] the prefix of lease keys and KEYS[3] the highest token ever given:
 * the lease keys themselves are built inside, which Redis Cluster allows because the hash tag {mayfly} puts all of them
 * in one slot. Redis runs a script alone, so each of them is one atomic step. Whether a caller still is the holder is
 * decided here, never by the caller.
 *
 * A member's score in the deadlines is when the reaper must look: the end of the lease or of the time-to-live, whichever
 * is first. */
#pragma once

/* enum lease_verdict in Lua; bus/lease_reply.c pins the numbers. */
#define LEASE_LUA_VERDICTS                                                                              \
	"local CLAIMED, HELD, DUPLICATE, ENDED, EXHAUSTED, GONE = 0, 1, 2, 3, 4, 5\n"

#define LEASE_LUA_NOW                                                                                   \
	"local time = redis.call('TIME')\n"                                                             \
	"local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"

/* The next token: above all before it, even when Redis lost its memory (then by the clock) or its clock went back (then
 * by the memory). %.0f because Lua's own conversion keeps 14 digits. */
#define LEASE_LUA_TOKEN                                                                                 \
	"local token = math.max(tonumber(redis.call('GET', KEYS[3])) or 0, time[1] * 1000000 + time[2] - 1)\n" \
	"local function next_token()\n"                                                                 \
	"  token = token + 1\n"                                                                         \
	"  return string.format('%.0f', token)\n"                                                       \
	"end\n"

/* Is this caller the running holder? One HMGET. */
#define LEASE_LUA_IS_MINE                                                                               \
	"local function is_mine(key, owner, its_token)\n"                                               \
	"  local held = redis.call('HMGET', key, 'owner', 'token', 'state', 'expires_ms', 'attempt')\n" \
	"  return held[1] == owner and held[2] == its_token and held[3] == 'running', held\n"           \
	"end\n"

/* ARGV: owner host lease_ms max_attempts, then per claim: id topic partition offset expires_ms slot.
 * Answers per claim: verdict, token, attempt (0, 0 when nothing was granted).
 *
 * An orphan's id may be claimed for another record: that record is a task of its own. The orphan's record is still
 * uncommitted in Kafka, so it is delivered again, waits while the id is taken, and then starts anew from attempt 1.
 * An ended lease blocks its id for other records until its own record is marked done, or that mark would be lost. */
static const char lease_claim_lua[] = LEASE_LUA_VERDICTS LEASE_LUA_NOW LEASE_LUA_TOKEN
	"local lease_ms, max_attempts = tonumber(ARGV[3]), tonumber(ARGV[4])\n"
	"local function judge(key, state, topic, partition, offset)\n"
	"  local old = redis.call('HMGET', key, 'topic', 'partition', 'offset', 'attempt')\n"
	"  local is_same = old[1] == topic and old[2] == partition and old[3] == offset\n"
	"  if state == 'orphan' then\n"
	"    redis.call('DEL', key)\n"
	"    if not is_same then return CLAIMED, 1 end\n"
	"    local attempt = (tonumber(old[4]) or 0) + 1\n"
	"    return attempt > max_attempts and EXHAUSTED or CLAIMED, attempt\n"
	"  end\n"
	"  if state == 'running' and not is_same then return DUPLICATE, 0 end\n"
	"  if state == 'ended' and is_same then return ENDED, 0 end\n"
	"  return HELD, 0\n"
	"end\n"
	"local answers, due = {}, {}\n"
	"for i = 5, #ARGV, 6 do\n"
	"  local id, topic, partition, offset, expires = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]\n"
	"  local key = KEYS[2] .. id\n"
	"  local state = redis.call('HGET', key, 'state')\n"
	"  local verdict, attempt, mine = CLAIMED, 1, '0'\n"
	"  if state then verdict, attempt = judge(key, state, topic, partition, offset) end\n"
	"  if verdict == CLAIMED or verdict == EXHAUSTED then\n"
	"    mine = next_token()\n"
	"    redis.call('HSET', key, 'owner', ARGV[1], 'token', mine, 'host', ARGV[2], 'state', 'running',\n"
	"      'attempt', attempt, 'slot', ARGV[i + 5], 'topic', topic, 'partition', partition, 'offset', offset,\n"
	"      'ends_ms', now + lease_ms, 'expires_ms', expires)\n"
	"    due[#due + 1] = math.min(now + lease_ms, tonumber(expires))\n"
	"    due[#due + 1] = id\n"
	"  end\n"
	"  answers[#answers + 1] = verdict\n"
	"  answers[#answers + 1] = tonumber(mine)\n"
	"  answers[#answers + 1] = attempt\n"
	"end\n"
	"if #due > 0 then\n"
	"  redis.call('ZADD', KEYS[1], unpack(due))\n"
	"  redis.call('SET', KEYS[3], string.format('%.0f', token))\n"
	"end\n"
	"return answers\n";

/* ARGV: owner lease_ms, then per lease: id token. Answers a verdict per lease. */
static const char lease_renew_lua[] = LEASE_LUA_VERDICTS LEASE_LUA_NOW LEASE_LUA_IS_MINE
	"local ends = now + tonumber(ARGV[2])\n"
	"local answers, due = {}, {}\n"
	"for i = 3, #ARGV, 2 do\n"
	"  local key = KEYS[2] .. ARGV[i]\n"
	"  local mine, held = is_mine(key, ARGV[1], ARGV[i + 1])\n"
	"  if mine then\n"
	"    redis.call('HSET', key, 'ends_ms', ends)\n"
	"    due[#due + 1] = math.min(ends, tonumber(held[4]) or 0)\n"
	"    due[#due + 1] = ARGV[i]\n"
	"  end\n"
	"  answers[#answers + 1] = mine and CLAIMED or GONE\n"
	"end\n"
	"if #due > 0 then redis.call('ZADD', KEYS[1], unpack(due)) end\n"
	"return answers\n";

/* ARGV: owner, then per lease: id token. Answers a verdict per lease. */
static const char lease_finish_lua[] = LEASE_LUA_VERDICTS
	"local answers, gone = {}, {}\n"
	"for i = 2, #ARGV, 2 do\n"
	"  local key = KEYS[2] .. ARGV[i]\n"
	"  local held = redis.call('HMGET', key, 'owner', 'token', 'state')\n"
	"  local mine = held[1] == ARGV[1] and held[2] == ARGV[i + 1] and held[3] == 'running'\n"
	"  if mine then\n"
	"    redis.call('DEL', key)\n"
	"    gone[#gone + 1] = ARGV[i]\n"
	"  end\n"
	"  answers[#answers + 1] = mine and CLAIMED or GONE\n"
	"end\n"
	"if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end\n"
	"return answers\n";

/* ARGV: owner lease_ms, then per lease: id token. Answers a verdict per lease. A first attempt leaves nothing; a later one
 * leaves an orphan, or the attempts before it would be forgotten. */
static const char lease_release_lua[] = LEASE_LUA_VERDICTS LEASE_LUA_NOW LEASE_LUA_IS_MINE
	"local answers = {}\n"
	"for i = 3, #ARGV, 2 do\n"
	"  local key = KEYS[2] .. ARGV[i]\n"
	"  local mine, held = is_mine(key, ARGV[1], ARGV[i + 1])\n"
	"  local attempt = (tonumber(held[5]) or 1) - 1\n"
	"  if mine and attempt < 1 then\n"
	"    redis.call('DEL', key)\n"
	"    redis.call('ZREM', KEYS[1], ARGV[i])\n"
	"  elseif mine then\n"
	"    redis.call('HSET', key, 'state', 'orphan', 'owner', '', 'attempt', attempt, 'ends_ms', now)\n"
	"    redis.call('ZADD', KEYS[1], now, ARGV[i])\n"
	"  end\n"
	"  answers[#answers + 1] = mine and CLAIMED or GONE\n"
	"end\n"
	"return answers\n";

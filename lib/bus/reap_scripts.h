/* The Lua of the reaper's side of a lease (bus/reap.h); the line's format and the keys are in bus/lease_scripts.h. */
#pragma once

#include "bus/lease_scripts.h"

/* A reaper holds a lease like a worker does, by owner and token, in whatever state it is. */
#define REAP_LUA_WRITE                                                      \
	"local function write(key, id, field, score)\n"                     \
	"  redis.call('SET', key, table.concat(field, ' '))\n"              \
	"  redis.call('ZADD', KEYS[1], string.format('%.0f', score), id)\n" \
	"end\n"

/* ARGV: grace_ms limit. Answers: now, the number of all leases, of those due, then per lease that is due: id, score,
 * line ("" for a member of the deadlines without a lease, which is forgotten here). What looks like no lease is left alone,
 * but goes to the end of the queue: however many there are, they hide no lease. */
static const char reap_scan_lua[] = LEASE_LUA_NOW
	"local word, number = ' [%w._-]+', ' %d+'\n"
	"local lease = '^%l+' .. word .. number .. number .. word .. number .. number .. word .. number .. number\n"
	"local before = string.format('%.0f', now - tonumber(ARGV[1]))\n"
	"local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. before, 'WITHSCORES', 'LIMIT', 0, ARGV[2])\n"
	"local answers = { now, redis.call('ZCARD', KEYS[1]), redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. before) }\n"
	"for i = 1, #due, 2 do\n"
	"  local line = redis.pcall('GET', KEYS[2] .. due[i])\n"
	"  if type(line) == 'table' then line = 'not even a string' end\n"
	"  if not line then\n"
	"    redis.call('ZREM', KEYS[1], due[i])\n"
	"  elseif not string.find(line, lease) then\n"
	"    redis.call('ZADD', KEYS[1], string.format('%.0f', now), due[i])\n"
	"  end\n"
	"  answers[#answers + 1] = due[i]\n"
	"  answers[#answers + 1] = tonumber(due[i + 1])\n"
	"  answers[#answers + 1] = line or ''\n"
	"end\n"
	"return answers\n";

/* ARGV: owner lease_ms grace_ms, then per lease: id token expires_ms. Take what is still due and still has that token, and
 * write that expires_ms: running becomes reaping (its worker's renewal and finish answer GONE from now on), an orphan that
 * nobody wanted becomes ended, the rest changes hands. Answers per lease: the new token, 0 when it was not taken. */
static const char reap_take_lua[] = LEASE_LUA_NOW LEASE_LUA_TOKEN LEASE_LUA_READ REAP_LUA_WRITE
	"local next_state = { running = 'reaping', orphan = 'ended' }\n"
	"local answers = {}\n"
	"local keys, lines = read_all(4, 3)\n"
	"for n = 1, #keys do\n"
	"  local id, its_token, expires = ARGV[1 + 3 * n], ARGV[2 + 3 * n], ARGV[3 + 3 * n]\n"
	"  local field = fields_of(lines[n] or '')\n"
	"  local score = tonumber(redis.call('ZSCORE', KEYS[1], id) or now)\n"
	"  answers[n] = 0\n"
	"  if field[3] == its_token and score + tonumber(ARGV[3]) < now then\n"
	"    if field[1] == 'running' then field[11] = field[2] end\n"
	"    field[1] = next_state[field[1]] or field[1]\n"
	"    field[2], field[3], field[7] = ARGV[1], next_token(), expires\n"
	"    answers[n] = token\n"
	"    write(keys[n], id, field, now + tonumber(ARGV[2]))\n"
	"  end\n"
	"end\n"
	"keep_token()\n"
	"return answers\n";

/* ARGV: owner lease_ms lost_after_ms, then per lease: id token verb key ("destroyed": seen to be by now; else "-") lost_ms.
 * Answers per lease: 1, or 0 when it is not ours any more. Verbs: delete; orphan (anyone may claim it, until lost_ms; where
 * that is 0, for lost_after_ms); ended; told (to be looked at again without hurry; its expires_ms is when it was told). */
static const char reap_settle_lua[] = LEASE_LUA_NOW LEASE_LUA_READ REAP_LUA_WRITE
	"local answers = {}\n"
	"local keys, lines = read_all(4, 5)\n"
	"for n = 1, #keys do\n"
	"  local id, its_token, verb = ARGV[5 * n - 1], ARGV[5 * n], ARGV[5 * n + 1]\n"
	"  local field = fields_of(lines[n] or '')\n"
	"  local is_mine = field[2] == ARGV[1] and field[3] == its_token\n"
	"  answers[n] = is_mine and 1 or 0\n"
	"  field[11], field[12] = field[11] or '-', ARGV[5 * n + 2]\n"
	"  if is_mine and verb == 'delete' then\n"
	"    redis.call('DEL', keys[n])\n"
	"    redis.call('ZREM', KEYS[1], id)\n"
	"  elseif is_mine and verb == 'orphan' then\n"
	"    local lost = tonumber(ARGV[5 * n + 3])\n"
	"    field[1], field[2] = 'orphan', '-'\n"
	"    if lost == 0 then lost = now + tonumber(ARGV[3]) end\n"
	"    write(keys[n], id, field, lost)\n"
	"  elseif is_mine then\n"
	"    if verb == 'told' and field[1] ~= 'told' then field[7] = string.format('%.0f', now) end\n"
	"    field[1] = verb\n"
	"    write(keys[n], id, field, now + tonumber(ARGV[2]) * (verb == 'told' and 3 or 1))\n"
	"  end\n"
	"end\n"
	"return answers\n";

/* ARGV: owner lease_ms host, then per workspace of which something is left on this host: id, "1" when it may be
 * taken. Answers per id a number, a line, and of an orphan when it is to be lost, else 0. Number 0: leave it, a worker or
 * reaper holds it here. Positive: it has no lease, or one that anybody could claim; if it may be taken, it is ours now like
 * any lease in reaping, the number is the token and the line is what it is. -1: nobody may claim it here now, it can be erased. */
static const char reap_heal_lua[] = LEASE_LUA_NOW LEASE_LUA_TOKEN LEASE_LUA_READ REAP_LUA_WRITE
	"local answers = {}\n"
	"local keys, lines = read_all(4, 2)\n"
	"for n = 1, #keys do\n"
	"  local id, may_take = ARGV[2 + 2 * n], ARGV[3 + 2 * n] == '1'\n"
	"  local field = fields_of(lines[n] or 'missing - 0 0 - 0 0 - 0 0 -')\n"
	"  local state, verdict, lost = field[1], 0, 0\n"
	"  if state == 'orphan' then lost = tonumber(redis.call('ZSCORE', KEYS[1], id) or 0) end\n"
	"  if state == 'missing' or state == 'orphan' then\n"
	"    verdict = 1\n"
	"    if may_take then\n"
	"      field[1], field[2], field[3], field[5] = 'reaping', ARGV[1], next_token(), ARGV[3]\n"
	"      field[11] = '-'\n"
	"      verdict = token\n"
	"      write(keys[n], id, field, now + tonumber(ARGV[2]))\n"
	"    end\n"
	"  elseif state == 'ended' or state == 'told' or field[5] ~= ARGV[3] then\n"
	"    verdict = -1\n"
	"  end\n"
	"  answers[3 * n - 2], answers[3 * n - 1], answers[3 * n] = verdict, table.concat(field, ' '), lost\n"
	"end\n"
	"keep_token()\n"
	"return answers\n";

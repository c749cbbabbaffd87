/* Scripts (script.h) made at random, many microVMs at a time, and after each batch what holds after any script: the engine goes on, its
 * host is not drained, each task has one terminal result, every slot is free again for tasks that are well-behaved, nothing is left.
 *
 * usage: scripted_fuzz SECONDS [SEED]     batches until the time is over, at least one; the first has that seed
 *
 * What a script says follows from the seed alone, so that a batch can be made again; when it says it does not. What is told only by a
 * lane, which is root, and is right to end a worker is left out: that a microVM cannot be ended, or that the host is at fault. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "tests/component/scripted/scripted.h"

#define SLOTS	     16
#define TASKS	     64 /* of a batch */
#define REACTIONS    4	/* of a script, at most */
#define WORDS	     6	/* of a reaction, at most */
#define SCRIPT_BYTES 1024
#define PATIENCE_MS  120000 /* for a result: a lane that is asked for by many answers late */

/* Where a script may begin to differ, and what is said there by who is well-behaved. */
static const struct {
	const char *point, *good;
} points[] = {
	{ "a:start", "a:hello" }, { "a:setup", "" }, { "a:mount", "a:ready" }, { "a:put", "" }, { "a:run", "a:started,a:out" }, { "a:run", "a:started" },
	{ "a:run", "a:started,a:out.30000,a:exit" }, { "a:stdin", "" }, { "a:ack", "" }, { "a:collect", "a:file,a:collected" },
	{ "a:collect", "a:piece.0" }, { "a:end", "" }, { "q:start", "q:greeting" }, { "q:qmp_capabilities", "q:return" },
	{ "q:add-fd", "q:return" }, { "q:object-add", "q:return" }, { "q:blockdev-add", "q:return" }, { "q:object-del", "q:return" },
	{ "q:blockdev-reopen", "q:return" }, { "q:set-action", "q:return" }, { "g:start", "" }, { "g:kill", "g:killed,g:close" },
	{ "g:deadline", "" },
};

static const char *const guests_words[] = {
	"a:hello", "a:version.2", "a:attached.1", "a:status.3", "a:exec.1", "a:exec.2", "a:exec.0", "a:ready", "a:warmed", "a:started", "a:out",
	"a:out.1*300", "a:out.32768*3", "a:err.5000", "a:gap", "a:again", "a:stream.3", "a:exit", "a:exit", "a:exit.7", "a:signal.9",
	"a:late", "a:hungry", "a:boast", "a:file", "a:file", "a:piece.0", "a:piece.10", "a:nofile", "a:other", "a:large", "a:collected",
	"a:collected", "a:fail", "a:missing", "a:engines.1", "a:engines.5", "a:noise", "a:map", "a:empty", "a:half", "a:half.5000",
	"a:sync", "a:close", "t:wait.10", "t:wait.100",
	"q:greeting", "q:return", "q:return.6", "q:error", "q:error.7", "q:anonymous", "q:io*50", "q:reset", "q:reset*50", "q:stop",
	"q:event", "q:nameless", "q:noise", "q:list", "q:blank", "q:half", "q:endless.100000", "q:close",
	"g:ended", "g:killed", "g:deadline", "g:oom", "g:absurd", "g:bytes.1", "g:bytes.48", "g:type.1", "g:type.3", "g:type.7", "g:close",
};

static const struct {
	const char *point, *words[8];
} lanes_points[] = {
	{ "d:disk_format",
	  { "d:busy", "d:input", "d:bug", "d:fds.0", "d:flip.8", "d:cut.1", "d:close", "t:wait.200,d:ok" } },
	{ "d:disk_destroy_key",
	  { "d:busy", "d:input", "d:bug", "d:fds.1", "d:flip.8", "d:bytes.9", "d:close", "t:wait.100,d:ok" } },
	{ "d:disk_erase",
	  { "d:busy", "d:input", "d:bug", "d:fds.1", "d:flip.6", "d:bytes.9", "d:close", "t:wait.100,d:ok" } },
	{ "v:vm_start",
	  { "v:busy", "v:input", "v:bug", "v:fds.2", "v:flip.8", "v:cut.1", "v:close", "t:wait.200,v:ok" } },
	{ "v:vm_destroy#1",
	  { "v:busy", "v:bug", "v:fds.1", "v:flip.0", "v:cut.1", "v:bytes.9", "v:close", "t:wait.100,v:ok" } },
};

static struct scripted scripted;
static char scripts[TASKS][SCRIPT_BYTES];
static uint64_t seed;

/* xorshift64* (Vigna, 2014) */
static uint64_t draw(uint64_t below)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (seed * 0x2545f4914f6cdd1dull >> 33) % below;
}

static void add(char *script, const char *text)
{
	size_t len = strlen(script);

	assert(len + strlen(text) < SCRIPT_BYTES);
	(void)snprintf(script + len, SCRIPT_BYTES - len, "%s", text);
}

static void add_lanes_reaction(char *script)
{
	size_t i = draw(ARRAY_SIZE(lanes_points));

	add(script, lanes_points[i].point);
	add(script, "=");
	add(script, lanes_points[i].words[draw(ARRAY_SIZE(lanes_points[i].words))]);
}

static void add_guests_reaction(char *script)
{
	size_t i = draw(ARRAY_SIZE(points)), n = draw(WORDS) + 1;
	bool is_good_first = draw(2) && *points[i].good;

	add(script, points[i].point);
	add(script, draw(4) ? "=" : "@1=");
	if (is_good_first)
		add(script, points[i].good);
	for (size_t word = 0; word < n; word++) {
		add(script, word || is_good_first ? "," : "");
		add(script, guests_words[draw(ARRAY_SIZE(guests_words))]);
	}
}

static void make_script(char *script)
{
	size_t n = draw(REACTIONS) + 1;

	*script = '\0';
	for (size_t i = 0; i < n; i++) {
		add(script, i ? " " : "");
		if (draw(8))
			add_guests_reaction(script);
		else
			add_lanes_reaction(script);
	}
}

static void name(char *ret, size_t size, const char *what, uint64_t batch, size_t i)
{
	(void)snprintf(ret, size, "%s-%" PRIu64 "-%zu", what, batch, i);
}

static void send_task(const char *what, uint64_t batch, size_t i, const char *image)
{
	char id[64];
	struct task task;

	name(id, sizeof(id), what, batch, i);
	scripted_task(id, image, &task);
	bus_stand_send(&scripted.bus, &task);
}

/* False when it has none, or not `outcome`; that is said. */
static bool see_result(const char *what, uint64_t batch, size_t i, const char *script, const char *outcome)
{
	char id[64];
	const struct result *result;

	name(id, sizeof(id), what, batch, i);
	result = scripted_await(&scripted, id, PATIENCE_MS);
	if (result && (!outcome || strcmp(outcome, result_outcome_name(result->outcome)) == 0))
		return true;
	(void)fprintf(stderr, "%s: %s%s: %s\n", id, result ? result_outcome_name(result->outcome) : "no result",
		      result ? result->message : "", script);
	return false;
}

static bool run_batch(uint64_t batch)
{
	const char *flaw;
	bool is_good = true;
	char image[32];

	for (size_t i = 0; i < TASKS; i++) {
		make_script(scripts[i]);
		(void)snprintf(image, sizeof(image), "script-%zu", i);
		send_task("bad", batch, i, image);
	}
	for (size_t i = 0; i < TASKS && is_good; i++)
		is_good = see_result("bad", batch, i, scripts[i], NULL);
	for (size_t i = 0; i < SLOTS && is_good; i++)
		send_task("good", batch, i, "well");
	for (size_t i = 0; i < SLOTS && is_good; i++)
		is_good = see_result("good", batch, i, "well-behaved", "succeeded");
	flaw = scripted_flaw(&scripted);
	if (flaw)
		(void)fprintf(stderr, "%s\n", flaw);
	return is_good && !flaw;
}

static bool run_batches(uint64_t seconds)
{
	uint64_t deadline = clock_mono_ms() + seconds * 1000, batch = 0;
	bool is_good;

	do {
		(void)printf("batch %" PRIu64 ": scripted_fuzz 0 %" PRIu64 "\n", batch, seed);
		(void)fflush(stdout);
		is_good = run_batch(batch++);
	} while (is_good && clock_mono_ms() < deadline);
	if (!is_good)
		for (size_t i = 0; i < TASKS; i++)
			(void)fprintf(stderr, "script-%zu: %s\n", i, scripts[i]);
	return is_good;
}

int main(int argc, char **argv)
{
	const char *texts[TASKS];
	const char *flaw;
	bool is_good;

	if (argc < 2 || argc > 3) {
		(void)fprintf(stderr, "usage: scripted_fuzz SECONDS [SEED]\n");
		return 2;
	}
	seed = argc == 3 ? strtoull(argv[2], NULL, 10) : clock_mono_ns();
	for (size_t i = 0; i < TASKS; i++)
		texts[i] = scripts[i];
	scripted_open(&scripted, texts, TASKS, SLOTS, false);
	is_good = run_batches(strtoull(argv[1], NULL, 10));
	flaw = scripted_end(&scripted);
	if (flaw)
		(void)fprintf(stderr, "%s\n", flaw);
	if (bus_stand_most(&scripted.bus) > 1)
		(void)fprintf(stderr, "a task has more than one terminal result\n");
	is_good = is_good && !flaw && bus_stand_most(&scripted.bus) == 1;
	scripted.is_flawed = !is_good;
	scripted_close(&scripted);
	return is_good ? 0 : 1;
}

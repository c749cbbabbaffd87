#include "tools/result_line.h"

#include <string.h>
#include <time.h>

#include "tools/screen.h"

#define LINE_FORMAT "%-8s  %-36s  %s%-10s%s %-9s %8s %8s  %s\n"

static enum screen_paint paint_of(enum result_outcome outcome)
{
	if (outcome == RESULT_OUTCOME_SUCCEEDED)
		return SCREEN_GOOD;
	return outcome == RESULT_OUTCOME_CANCELLED ? SCREEN_WARN : SCREEN_BAD;
}

static void clock_text(uint64_t wall_ms, char out[16])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	localtime_r(&seconds, &tm);
	(void)strftime(out, 16, "%H:%M:%S", &tm);
}

static void duration_text(int64_t ms, char out[24])
{
	if (ms < 0)
		(void)snprintf(out, 24, "-");
	else if (ms < 10000)
		(void)snprintf(out, 24, "%lld ms", (long long)ms);
	else
		(void)snprintf(out, 24, "%lld.%lld s", (long long)ms / 1000, (long long)ms % 1000 / 100);
}

static void exit_text(const struct result *result, char out[24])
{
	if (result->has_exit_code)
		(void)snprintf(out, 24, "exit %u", result->exit_code);
	else if (result->has_signal)
		(void)snprintf(out, 24, "signal %u", result->signal);
	else
		(void)snprintf(out, 24, "-");
}

void result_line_head(FILE *to)
{
	(void)fprintf(to, LINE_FORMAT, "TIME", "TASK", screen_code(to, SCREEN_BOLD), "OUTCOME",
		      screen_code(to, SCREEN_PLAIN), "EXIT", "TO CODE", "TOTAL", "WHERE, AND WHAT TO KNOW");
	(void)fflush(to); /* a head that cannot be written: the first line will tell */
}

static void print_duplicate(const struct result *result, FILE *to)
{
	char when[16];

	clock_text(result->finished_ms, when);
	(void)fprintf(to, LINE_FORMAT, when, result->id, screen_code(to, SCREEN_FAINT), "duplicate",
		      screen_code(to, SCREEN_PLAIN), "", "", "", "the same task was sent before; it has one result");
}

static void print_started(const struct result *result, FILE *to)
{
	char when[16], host[sizeof(result->host)], where[100];

	clock_text(result->finished_ms, when);
	screen_plain(result->host, host, sizeof(host));
	(void)snprintf(where, sizeof(where), "%s, attempt %u", host, result->attempt);
	(void)fprintf(to, LINE_FORMAT, when, result->id, screen_code(to, SCREEN_FAINT), "started",
		      screen_code(to, SCREEN_PLAIN), "", "", "", where);
}

static void describe(const struct result *result, char *out, size_t size)
{
	const char *field = strncmp(result->message, result->field, strlen(result->field)) == 0 ? "" : result->field;
	int n = 0;

	if (result->vmm[0])
		n = snprintf(out, size, "%s/%s/%s/net %s, key %s%s", result->vmm, result->accel,
			     result->disk[0] ? result->disk : "no disk", result->net[0] ? result->net : "-",
			     result->is_key_destroyed ? "destroyed" : "none", result->message[0] ? "; " : "");
	(void)snprintf(out + n, size - (size_t)n, "%s%s%s", field, field[0] ? ": " : "", result->message);
}

void result_line_print(const struct result *result, FILE *to)
{
	char when[16], what[24], start[24], total[24], rest[500] = "", plain[500];

	if (result->event == RESULT_EVENT_STARTED) {
		print_started(result, to);
		return;
	}
	if (result->event == RESULT_EVENT_DUPLICATE) {
		print_duplicate(result, to);
		return;
	}
	clock_text(result->finished_ms, when);
	exit_text(result, what);
	duration_text(result->timings_ms[RESULT_TIMING_START], start);
	duration_text(result->timings_ms[RESULT_TIMING_TOTAL], total);
	describe(result, rest, sizeof(rest));
	screen_plain(rest, plain, sizeof(plain));
	(void)fprintf(to, LINE_FORMAT, when, result->id[0] ? result->id : "(no id)",
		      screen_code(to, paint_of(result->outcome)), result_outcome_name(result->outcome),
		      screen_code(to, SCREEN_PLAIN), what, start, total, plain);
}

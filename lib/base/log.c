#include "base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/logfmt.h"

#define LOG_LINE_BYTES 4096 /* PIPE_BUF: it is written in one piece, so that lines of several processes do not mix */

static const char *const level_names[] = { "debug", "info", "warn", "error" };
static_assert(sizeof(level_names) / sizeof(level_names[0]) == LOG_LEVEL_COUNT, "a name for every log_level");

static const char *process_name = "mayfly";
static enum log_level least_level = LOG_LEVEL_INFO;

void log_init(const char *process, enum log_level least)
{
	process_name = process;
	least_level = least;
}

int log_level_parse(const char *name)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++)
		if (strcmp(name, level_names[i]) == 0)
			return i;
	return -1;
}

static size_t put_prefix(char *line, size_t size, enum log_level level, const char *event)
{
	struct timespec now;
	struct tm tm;
	char stamp[24];
	int n;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for a valid clock */
	gmtime_r(&now.tv_sec, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	n = snprintf(line, size, "%s.%03ldZ %-5s %s %s ", stamp, now.tv_nsec / 1000000, level_names[level],
		     process_name, event);
	return n < 0 ? 0 : (size_t)n;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	char line[LOG_LINE_BYTES];
	size_t used;
	va_list ap;

	if (level < least_level)
		return;
	used = put_prefix(line, sizeof(line) - 1, level, event);
	va_start(ap, fmt);
	used += logfmt_format(line + used, sizeof(line) - 1 - used, fmt, ap);
	va_end(ap);
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return; /* nobody is left to tell */
}

uint64_t log_likeness(const char *text)
{
	uint64_t digest = DIGEST_START;

	for (; *text; text++)
		if (*text < '0' || *text > '9')
			digest = digest_add(digest, text, 1);
	return digest ? digest : 1;
}

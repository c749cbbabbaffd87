#include "tools/screen.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "base/utf8.h"

#define REDRAW_MS     200
#define SILENT_MS     1000 /* what is over sooner needs no clock */

/* A terminal that understands escape sequences. */
static bool is_live(FILE *stream)
{
	const char *term = getenv("TERM");

	return isatty(fileno(stream)) && !(term && strcmp(term, "dumb") == 0);
}

const char *screen_code(FILE *stream, enum screen_paint paint)
{
	static const char *const codes[] = { "\033[0m", "\033[32m", "\033[31m", "\033[33m", "\033[2m", "\033[1m" };
	const char *no_color = getenv("NO_COLOR");

	static_assert(ARRAY_SIZE(codes) == SCREEN_PAINT_COUNT, "a code for every screen_paint");
	if ((no_color && *no_color) || !is_live(stream))
		return "";
	return codes[paint];
}

static void show(struct screen_step *step, uint64_t now)
{
	(void)fprintf(stderr, "\r\033[K%s … %u s", step->what, (unsigned)((now - step->start_mono_ms) / 1000));
	step->shown_mono_ms = now;
}

void screen_step_begin(struct screen_step *step, const char *what)
{
	uint64_t now = clock_mono_ms();

	*step = (struct screen_step){ .what = what, .start_mono_ms = now, .shown_mono_ms = now };
}

void screen_step_tick(struct screen_step *step)
{
	uint64_t now = clock_mono_ms();

	if (is_live(stderr) && now - step->start_mono_ms >= SILENT_MS && now - step->shown_mono_ms >= REDRAW_MS)
		show(step, now);
}

void screen_step_vanish(struct screen_step *step)
{
	if (step->shown_mono_ms != step->start_mono_ms)
		(void)fputs("\r\033[K", stderr);
	step->shown_mono_ms = step->start_mono_ms;
}

void screen_step_end(struct screen_step *step, const char *how, bool is_good)
{
	uint64_t took = clock_mono_ms() - step->start_mono_ms;

	screen_step_vanish(step);
	(void)fprintf(stderr, "%s%s%s %s (%u.%u s)\n", screen_code(stderr, is_good ? SCREEN_GOOD : SCREEN_BAD),
		      is_good ? "✓" : "✗", screen_code(stderr, SCREEN_PLAIN), how, (unsigned)(took / 1000),
		      (unsigned)(took % 1000 / 100));
}

void screen_plain(const char *text, char *out, size_t size)
{
	size_t len = strnlen(text, size - 1);

	memcpy(out, text, len);
	out[len] = '\0';
	utf8_mend(out, len);
}

/* What people see on a terminal: colours and progress. Everything here is silent or plain where the stream is no terminal
 * or a dumb one (TERM=dumb), and without colours where NO_COLOR is set (no-color.org). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum screen_paint { SCREEN_PLAIN, SCREEN_GOOD, SCREEN_BAD, SCREEN_WARN, SCREEN_FAINT, SCREEN_BOLD, SCREEN_PAINT_COUNT };

/* The escape sequence that begins this paint; SCREEN_PLAIN ends it. "" where the stream has no colours. */
const char *screen_code(FILE *stream, enum screen_paint paint);

/* A step that takes a while, on stderr: "what … 3 s", rewritten on a terminal; elsewhere only its end is told. */
struct screen_step {
	const char *what;
	uint64_t start_mono_ms, shown_mono_ms;
};

void screen_step_begin(struct screen_step *step, const char *what);
void screen_step_tick(struct screen_step *step); /* often; it shows rarely */
void screen_step_end(struct screen_step *step, const char *how, bool is_good);
void screen_step_vanish(struct screen_step *step); /* leaves nothing on the terminal */

/* `text` with everything that could steer a terminal replaced by '?', at most `size` - 1 bytes. */
void screen_plain(const char *text, char *out, size_t size);

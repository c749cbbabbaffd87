/* Reads logfmt as other programs do: it shares nothing with lib/base/logfmt.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define LOGFMT_FIELDS_MAX 16

struct logfmt_field {
	char key[64];
	char value[4096]; /* unescaped */
	size_t len;
};

/* The number of fields, or -1 when the text is no logfmt (a quote that does not close, an unknown escape, a control character). */
int logfmt_read(const char *text, size_t len, struct logfmt_field fields[LOGFMT_FIELDS_MAX]);

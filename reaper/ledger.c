#include "reaper/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEDGER_PREFIX	  "t1:"
#define LEDGER_PREFIX_LEN 3

static int read_number(const char **text, int64_t *ret)
{
	const char *p = *text;
	int64_t number = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (number > (INT64_MAX - 9) / 10)
			return -EBADMSG;
		number = number * 10 + (*p - '0');
	}
	if (p == *text)
		return -EBADMSG;
	*text = p;
	*ret = number;
	return 0;
}

int ledger_decode(const char *text, struct ledger *ret)
{
	int64_t last = 0;

	ret->n = 0;
	if (!*text)
		return 0;
	if (strncmp(text, LEDGER_PREFIX, LEDGER_PREFIX_LEN) != 0)
		return -EBADMSG;
	text += LEDGER_PREFIX_LEN;
	while (*text) {
		int64_t step;

		if (ret->n == LEDGER_MAX || read_number(&text, &step) < 0 || step > INT64_MAX - last ||
		    (ret->n && step == 0))
			return -EBADMSG;
		last += step;
		ret->offsets[ret->n++] = last;
		if (*text == ',' && text[1])
			text++;
		else if (*text)
			return -EBADMSG;
	}
	return 0;
}

int ledger_encode(const struct ledger *ledger, char out[LEDGER_TEXT_MAX + 1])
{
	size_t used = LEDGER_PREFIX_LEN;
	int64_t last = 0;

	memcpy(out, LEDGER_PREFIX, LEDGER_PREFIX_LEN + 1);
	for (size_t i = 0; i < ledger->n; i++) {
		int n = snprintf(out + used, LEDGER_TEXT_MAX + 1 - used, "%s%" PRId64, i ? "," : "",
				 ledger->offsets[i] - last);

		if (used + (size_t)n > LEDGER_TEXT_MAX)
			return -ENOSPC;
		used += (size_t)n;
		last = ledger->offsets[i];
	}
	return 0;
}

/* Where `offset` is or belongs. */
static size_t find(const struct ledger *ledger, int64_t offset)
{
	size_t low = 0, high = ledger->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ledger->offsets[middle] < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool ledger_has(const struct ledger *ledger, int64_t offset)
{
	size_t at = find(ledger, offset);

	return at < ledger->n && ledger->offsets[at] == offset;
}

int ledger_add(struct ledger *ledger, int64_t offset)
{
	size_t at = find(ledger, offset);

	if (at < ledger->n && ledger->offsets[at] == offset)
		return 0;
	if (ledger->n == LEDGER_MAX)
		return -ENOSPC;
	memmove(&ledger->offsets[at + 1], &ledger->offsets[at], (ledger->n - at) * sizeof(ledger->offsets[0]));
	ledger->offsets[at] = offset;
	ledger->n++;
	return 0;
}

void ledger_remove(struct ledger *ledger, int64_t offset)
{
	size_t at = find(ledger, offset);

	if (at == ledger->n || ledger->offsets[at] != offset)
		return;
	ledger->n--;
	memmove(&ledger->offsets[at], &ledger->offsets[at + 1], (ledger->n - at) * sizeof(ledger->offsets[0]));
}

void ledger_prune(struct ledger *ledger, bool (*is_done)(void *ctx, int64_t offset), void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < ledger->n; i++)
		if (!is_done(ctx, ledger->offsets[i]))
			ledger->offsets[kept++] = ledger->offsets[i];
	ledger->n = kept;
}

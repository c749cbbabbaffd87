#include "wire/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEDGER_PREFIX	  LEDGER_EMPTY
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

void ledger_group_name(const char *workers, char out[LEDGER_GROUP_MAX])
{
	(void)snprintf(out, LEDGER_GROUP_MAX, "%.*s.reaper", CONF_TEXT_MAX - 1, workers);
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
		ret->is_told[ret->n] = *text != '!';
		ret->offsets[ret->n++] = last;
		text += *text == '!';
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
		int n = snprintf(out + used, LEDGER_TEXT_MAX + 1 - used, "%s%" PRId64 "%s", i ? "," : "",
				 ledger->offsets[i] - last, ledger->is_told[i] ? "" : "!");

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

enum ledger_entry ledger_find(const struct ledger *ledger, int64_t offset)
{
	size_t at = find(ledger, offset);

	if (at == ledger->n || ledger->offsets[at] != offset)
		return LEDGER_ENTRY_NONE;
	return ledger->is_told[at] ? LEDGER_ENTRY_TOLD : LEDGER_ENTRY_ANNOUNCED;
}

static void move(struct ledger *ledger, size_t from, size_t to, size_t n)
{
	memmove(&ledger->offsets[to], &ledger->offsets[from], n * sizeof(ledger->offsets[0]));
	memmove(&ledger->is_told[to], &ledger->is_told[from], n * sizeof(ledger->is_told[0]));
}

int ledger_put(struct ledger *ledger, int64_t offset, enum ledger_entry entry)
{
	size_t at = find(ledger, offset);

	if (at == ledger->n || ledger->offsets[at] != offset) {
		if (ledger->n == LEDGER_MAX)
			return -ENOSPC;
		move(ledger, at, at + 1, ledger->n++ - at);
	}
	ledger->offsets[at] = offset;
	ledger->is_told[at] = entry == LEDGER_ENTRY_TOLD;
	return 0;
}

void ledger_remove(struct ledger *ledger, int64_t offset)
{
	size_t at = find(ledger, offset);

	if (at == ledger->n || ledger->offsets[at] != offset)
		return;
	move(ledger, at + 1, at, --ledger->n - at);
}

static void keep(struct ledger *ledger, size_t *kept, size_t at)
{
	ledger->offsets[*kept] = ledger->offsets[at];
	ledger->is_told[(*kept)++] = ledger->is_told[at];
}

void ledger_prune(struct ledger *ledger, bool (*is_done)(void *ctx, int64_t offset), void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < ledger->n; i++)
		if (!is_done(ctx, ledger->offsets[i]))
			keep(ledger, &kept, i);
	ledger->n = kept;
}

size_t ledger_withdraw(struct ledger *ledger)
{
	size_t kept = 0, n = ledger->n;

	for (size_t i = 0; i < n; i++)
		if (ledger->is_told[i])
			keep(ledger, &kept, i);
	ledger->n = kept;
	return n - kept;
}

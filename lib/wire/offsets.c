/* A ring of bits per offset from `next` on: received, and done. `next` moves over what is done; a received offset behind a gap
 * that Kafka will never fill marks the gap done as well.
 *
 * The commit metadata is "1:" and six bits to a character (the base64 alphabet), lowest offset in the lowest bit, from `next`
 * on; trailing zeros are left out. */
#include "wire/offsets.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RING_BITS 32768 /* a power of two above OFFSETS_WINDOW */
#define PREFIX "1:"
#define FULL_AT (OFFSETS_WINDOW / 4 * 3)

static_assert(OFFSETS_WINDOW < RING_BITS, "the window fits in the ring");
#define MAP_MAX_CHARS ((OFFSETS_WINDOW + 5) / 6)
static_assert(sizeof(PREFIX) - 1 + MAP_MAX_CHARS <= OFFSETS_METADATA_MAX, "the map fits in the metadata");

struct offsets {
	int64_t next; /* lowest that is not done */
	int64_t end;  /* one beyond the highest received or known to be done */
	uint8_t done[RING_BITS / 8];
};

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool is_done(const struct offsets *offsets, int64_t offset)
{
	size_t bit = (size_t)offset % RING_BITS;

	return offsets->done[bit / 8] & (1u << bit % 8);
}

static void set_done(struct offsets *offsets, int64_t offset, bool value)
{
	size_t bit = (size_t)offset % RING_BITS;

	if (value)
		offsets->done[bit / 8] |= (uint8_t)(1u << bit % 8);
	else
		offsets->done[bit / 8] &= (uint8_t)~(1u << bit % 8);
}

static void advance(struct offsets *offsets)
{
	while (offsets->next < offsets->end && is_done(offsets, offsets->next))
		set_done(offsets, offsets->next++, false);
}

static int digit_value(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* All or nothing: text that is not ours says nothing. */
static bool read_map(struct offsets *offsets, const char *text)
{
	size_t len = strlen(text);
	int64_t offset = offsets->next;

	if (len > MAP_MAX_CHARS)
		return false;
	for (size_t i = 0; i < len; i++) {
		int value = digit_value(text[i]);

		if (value < 0)
			return false;
		for (int bit = 0; bit < 6; bit++, offset++)
			if (value & (1 << bit) && offset < offsets->next + OFFSETS_WINDOW) {
				set_done(offsets, offset, true);
				offsets->end = offset + 1;
			}
	}
	return true;
}

struct offsets *offsets_new(int64_t next, const char *metadata)
{
	struct offsets *offsets = calloc(1, sizeof(*offsets));

	if (!offsets)
		return NULL;
	offsets->next = offsets->end = next;
	if (metadata && strncmp(metadata, PREFIX, sizeof(PREFIX) - 1) == 0 &&
	    !read_map(offsets, metadata + sizeof(PREFIX) - 1)) {
		memset(offsets->done, 0, sizeof(offsets->done));
		offsets->end = next;
	}
	advance(offsets);
	return offsets;
}

bool offsets_has_room(const struct offsets *offsets, int64_t offset)
{
	return offsets->next == offsets->end || offset < offsets->next + OFFSETS_WINDOW;
}

bool offsets_receive(struct offsets *offsets, int64_t offset)
{
	if (offset < offsets->next)
		return false;
	if (offset < offsets->end)
		return !is_done(offsets, offset);
	if (offsets->next == offsets->end) {
		offsets->next = offset; /* nothing is open: the whole gap is behind us, however wide */
	} else {
		assert(offsets_has_room(offsets, offset));
		for (int64_t gap = offsets->end; gap < offset; gap++)
			set_done(offsets, gap, true);
	}
	offsets->end = offset + 1;
	return true;
}

void offsets_done(struct offsets *offsets, int64_t offset)
{
	assert(offset < offsets->end);
	if (offset < offsets->next)
		return;
	set_done(offsets, offset, true);
	advance(offsets);
}

void offsets_skip(struct offsets *offsets, int64_t from, int64_t to)
{
	if (to <= offsets->next || from >= to)
		return;
	if (offsets->next == offsets->end && from <= offsets->next) {
		offsets->next = offsets->end = to; /* nothing is open: however wide it is */
		return;
	}
	assert(offsets_has_room(offsets, to - 1));
	for (int64_t offset = from < offsets->next ? offsets->next : from; offset < to; offset++)
		set_done(offsets, offset, true);
	if (offsets->end < to)
		offsets->end = to;
	advance(offsets);
}

uint64_t offsets_open(const struct offsets *offsets, int64_t from, int64_t to, int64_t *ret_first, int64_t *ret_last)
{
	int64_t offset = from < offsets->next ? offsets->next : from;
	uint64_t n = 0;

	for (; offset < to && offset < offsets->end; offset++) {
		if (is_done(offsets, offset))
			continue;
		*ret_first = n++ ? *ret_first : offset;
		*ret_last = offset;
	}
	if (offset >= to)
		return n;
	*ret_first = n ? *ret_first : offset; /* beyond what is known nothing is done */
	*ret_last = to - 1;
	return n + (uint64_t)(to - offset);
}

bool offsets_is_done(const struct offsets *offsets, int64_t offset)
{
	return offset < offsets->next || (offset < offsets->end && is_done(offsets, offset));
}

int64_t offsets_next(const struct offsets *offsets)
{
	return offsets->next;
}

bool offsets_is_idle(const struct offsets *offsets)
{
	return offsets->next == offsets->end;
}

bool offsets_is_full(const struct offsets *offsets)
{
	return offsets->end - offsets->next >= FULL_AT;
}

void offsets_metadata(const struct offsets *offsets, char out[OFFSETS_METADATA_MAX + 1])
{
	size_t used = sizeof(PREFIX) - 1, last = 0;

	memcpy(out, PREFIX, used);
	for (int64_t offset = offsets->next; offset < offsets->end; offset += 6) {
		int value = 0;

		for (int bit = 0; bit < 6 && offset + bit < offsets->end; bit++)
			if (is_done(offsets, offset + bit))
				value |= 1 << bit;
		out[used++] = digits[value];
		if (value)
			last = used;
	}
	out[last] = '\0'; /* trailing zeros say nothing; last is 0 when nothing is done beyond next */
}

void offsets_copy(struct offsets *to, const struct offsets *from)
{
	*to = *from;
}

void offsets_free(struct offsets *offsets)
{
	free(offsets);
}

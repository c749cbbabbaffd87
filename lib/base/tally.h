/* How many things there are for each owner, by its address. Owners may share a counter: none is certain, some may be another's.
 * So a long list need not be looked through for an owner that has nothing on it, as nearly all have. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TALLY_BITS 15 /* counters: some for each of several thousand owners, or a third of the answers are wrong */

struct tally {
	uint32_t n[1u << TALLY_BITS]; /* zero-initialise */
};

/* Knuth, The Art of Computer Programming 3, 6.4: multiply by the golden ratio, keep the upper bits. */
static inline uint32_t *tally_of(struct tally *tally, const void *owner)
{
	return &tally->n[(uint64_t)(uintptr_t)owner * 0x9e3779b97f4a7c15u >> (64 - TALLY_BITS)];
}

static inline void tally_add(struct tally *tally, const void *owner)
{
	(*tally_of(tally, owner))++;
}

static inline void tally_drop(struct tally *tally, const void *owner)
{
	(*tally_of(tally, owner))--;
}

static inline bool tally_may_have(struct tally *tally, const void *owner)
{
	return *tally_of(tally, owner) > 0;
}

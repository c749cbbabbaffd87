/* Is memory short on this host, now?
 *
 * Two signs. /proc/meminfo says what can still be had: less than a floor of that is pressure. The kernel's pressure
 * file (PSI, its documentation: accounting/psi.rst) says which part of the last ten seconds at least one process stood
 * still because it waited for memory. That alone is no sign: a process that turns in the narrowness of its own control
 * group raises the whole host's number, and what a task does in its microVM must hold nobody else back (measured:
 * docs/decisions/2026-11-28-what-is-promised-and-what-it-costs.md). So it counts when memory is scarce as well, below a
 * few floors.
 *
 * Pressure is high from the moment when one of them is beyond its limit until both are back by a margin, so that it
 * does not go up and down with every sample. A kernel without PSI leaves the floor; one that shows nothing is never
 * under pressure. Who asks decides what follows. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PRESSURE_FILE	 "/proc/pressure/memory"
#define PRESSURE_MEMINFO "/proc/meminfo"
#define PRESSURE_SCARCE	 4 /* floors: an eighth of the memory, by default */

struct pressure_limits {
	const char *file;     /* lent, as the next one */
	const char *meminfo;
	uint32_t max_percent; /* of "some avg10": high above it; again low below half of it */
	uint64_t floor_mib;   /* available: high below it; again low a quarter above it */
};

struct pressure_sample {
	uint32_t stalled_centi;	/* hundredths of a percent; 0 without PSI */
	uint64_t available_mib; /* UINT64_MAX: not known */
	bool has_stalled;	/* there is PSI */
};

struct pressure {
	struct pressure_limits limits;
	struct pressure_sample last;
	uint64_t n_highs; /* how often it became high */
	bool is_high;
};

/* Never fails: what cannot be read is no sign of pressure. */
void pressure_sample(const struct pressure_limits *limits, struct pressure_sample *ret);

/* Takes a sample into account; true: is_high has changed. */
bool pressure_take(struct pressure *pressure, const struct pressure_sample *sample);

#include "guest/agent/timer.h"

#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"

#define TIMERS		 "/proc/timer_list"
#define MEASURED	 "lapic" /* others know their rate */
#define NS_PER_S	 UINT64_C(1000000000)
#define TCG_HZ		 62500000u /* QEMU's local APIC counts 1 GHz, Linux has it divided by 16 */
#define TOLERANCE_FACTOR 2	   /* a little off is usual on a busy host, and costs accuracy of sleeps only */

static bool is_tcg(void)
{
	unsigned eax, signature[3];

	__cpuid(0x40000000, eax, signature[0], signature[1], signature[2]);
	return memcmp(signature, "TCGTCGTCGTCG", sizeof(signature)) == 0;
}

struct timer {
	char name[32];
	unsigned mult, shift; /* counts = ns * mult >> shift */
};

/* The first processor's: the others are given its measure. All zero when it has none. */
static struct timer read_timer(FILE *stream)
{
	struct timer timer = { .shift = 0 };
	char line[256];

	while (timer.shift == 0 && fgets(line, sizeof(line), stream)) {
		(void)sscanf(line, "Clock Event Device: %31s", timer.name); /* a line is one of these three, or none */
		(void)sscanf(line, " mult: %u", &timer.mult);
		(void)sscanf(line, " shift: %u", &timer.shift);
	}
	return timer;
}

int timer_check(struct err *err)
{
	cleanup_file FILE *stream = NULL;
	struct timer timer;
	uint64_t hz;

	if (!is_tcg())
		return 0;
	stream = fopen(TIMERS, "re");
	if (!stream)
		return err_set(err, ERR_HOST, errno, "open " TIMERS);
	timer = read_timer(stream);
	if (timer.shift && strcmp(timer.name, MEASURED) != 0)
		return 0;
	hz = timer.mult * NS_PER_S >> (timer.shift % 64);
	if (hz < TCG_HZ / TOLERANCE_FACTOR || hz > TCG_HZ * TOLERANCE_FACTOR)
		return err_set(err, ERR_HOST, 0, "the kernel measured its timer as %" PRIu64 " Hz, not %u", hz, TCG_HZ);
	return 0;
}

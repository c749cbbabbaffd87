/* The clocks. Deadlines are monotonic; only what people or other hosts read is wall time. A deadline that one process of a host
 * gives another is on the clock that also counts while the host is suspended. */
#pragma once

#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
uint64_t clock_boot_ms(void); /* CLOCK_BOOTTIME */
uint64_t clock_wall_ms(void); /* since the epoch */
uint64_t clock_wall_ns(void);

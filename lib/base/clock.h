/* The clocks. Deadlines within a process are monotonic. Deadlines that one process of a host gives another are on
 * CLOCK_BOOTTIME, which also counts while the host is suspended. Only what people or other hosts read is wall time. */
#pragma once

#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
int64_t clock_ms_since(uint64_t mono_ns); /* of clock_mono_ns() */
uint64_t clock_boot_ms(void); /* CLOCK_BOOTTIME */
uint64_t clock_wall_ms(void); /* since the epoch */
uint64_t clock_wall_ns(void);

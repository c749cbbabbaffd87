/* The two clocks. Deadlines are monotonic; only what people or other hosts read is wall time. */
#pragma once

#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
uint64_t clock_wall_ms(void); /* since the epoch */
uint64_t clock_wall_ns(void);

/* Amounts as people write them on a command line. ERR_INPUT says how one is written. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* "250ms", "30s", "5m", "1h", "1d"; a bare number is seconds. */
int quantity_ms(const char *option, const char *text, uint64_t *ret, struct err *err);

/* "256M", "1G", "64K"; a bare number is MiB, because that is what tasks count in. Rounded up to whole MiB. */
int quantity_mib(const char *option, const char *text, uint32_t *ret, struct err *err);

/* The same with a bare number in bytes. */
int quantity_bytes(const char *option, const char *text, uint64_t *ret, struct err *err);

/* --since: that long ago, as the wall clock tells (ms). */
int quantity_since(const char *text, uint64_t *ret_wall_ms, struct err *err);

/* Decimal, min to max. */
int quantity_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err);

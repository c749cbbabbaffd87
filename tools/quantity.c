#include "tools/quantity.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"

#define MIB (1024ull * 1024)

struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit times[] = { { "ms", 1 },	 { "s", 1000 },	       { "", 1000 },
				     { "m", 60 * 1000 }, { "h", 3600 * 1000 }, { "d", 24 * 3600 * 1000 } };

static int read_number(const char *text, const char **rest, uint64_t *ret)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	*rest = end;
	return errno ? -ERANGE : 0;
}

static int scale(const char *text, const struct unit *units, size_t n_units, uint64_t *ret)
{
	const char *rest;
	uint64_t number;

	if (read_number(text, &rest, &number) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n_units; i++)
		if (strcmp(rest, units[i].suffix) == 0)
			return __builtin_mul_overflow(number, units[i].factor, ret) ? -ERANGE : 0;
	return -EINVAL;
}

int quantity_ms(const char *option, const char *text, uint64_t *ret, struct err *err)
{
	if (scale(text, times, ARRAY_SIZE(times), ret) == 0)
		return 0;
	return err_set(err, ERR_INPUT, 0, "--%s '%.40s' is no duration; write 250ms, 30s, 5m, 1h", option, text);
}

static int read_size(const char *option, const char *text, uint64_t bare, uint64_t *ret, struct err *err)
{
	const struct unit sizes[] = { { "", bare },    { "K", 1024 },  { "M", MIB },	     { "G", 1024 * MIB },
				      { "KiB", 1024 }, { "MiB", MIB }, { "GiB", 1024 * MIB } };

	if (scale(text, sizes, ARRAY_SIZE(sizes), ret) == 0)
		return 0;
	return err_set(err, ERR_INPUT, 0, "--%s '%.40s' is no size; write 64K, 256M, 1G", option, text);
}

int quantity_bytes(const char *option, const char *text, uint64_t *ret, struct err *err)
{
	return read_size(option, text, 1, ret, err);
}

int quantity_mib(const char *option, const char *text, uint32_t *ret, struct err *err)
{
	uint64_t bytes, mib;
	int r = read_size(option, text, MIB, &bytes, err);

	if (r < 0)
		return r;
	mib = bytes / MIB + (bytes % MIB != 0);
	if (mib > UINT32_MAX)
		return err_set(err, ERR_INPUT, 0, "--%s '%.40s' is beyond every limit", option, text);
	*ret = (uint32_t)mib;
	return 0;
}

int quantity_since(const char *text, uint64_t *ret_wall_ms, struct err *err)
{
	uint64_t now = clock_wall_ms(), ms;
	int r = quantity_ms("since", text, &ms, err);

	if (r == 0)
		*ret_wall_ms = ms < now ? now - ms : 1;
	return r;
}

int quantity_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
	const char *rest = "";

	if (read_number(text, &rest, ret) == 0 && !*rest && *ret >= min && *ret <= max)
		return 0;
	return err_set(err, ERR_INPUT, 0, "--%s '%.40s' must be a number from %" PRIu64 " to %" PRIu64, option, text,
		       min, max);
}

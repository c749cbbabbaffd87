#include "host/pressure.h"

#include <stdio.h>

#include "base/own.h"
#include "host/meminfo.h"

#define CENTI 100u

/* "some avg10=1.25 avg60=0.00 avg300=0.00 total=62643". A kernel that was told not to count answers EOPNOTSUPP. */
static bool read_stalled(const char *path, uint32_t *ret_centi)
{
	cleanup_file FILE *file = fopen(path, "re");
	unsigned whole, hundredths;

	if (!file || fscanf(file, "some avg10=%3u.%2u", &whole, &hundredths) != 2)
		return false;
	*ret_centi = whole * CENTI + hundredths;
	return true;
}

void pressure_sample(const struct pressure_limits *limits, struct pressure_sample *ret)
{
	struct meminfo memory;

	*ret = (struct pressure_sample){ .available_mib = UINT64_MAX };
	ret->has_stalled = read_stalled(limits->file, &ret->stalled_centi);
	if (meminfo_read(limits->meminfo, &memory) == 0)
		ret->available_mib = memory.available_mib;
}

static bool is_beyond(const struct pressure_limits *limits, const struct pressure_sample *sample)
{
	return sample->available_mib < limits->floor_mib || (sample->available_mib < PRESSURE_SCARCE * limits->floor_mib &&
							       sample->stalled_centi > limits->max_percent * CENTI);
}

static bool is_back(const struct pressure_limits *limits, const struct pressure_sample *sample)
{
	uint64_t margin_mib = limits->floor_mib / 4;

	return sample->available_mib >= limits->floor_mib + margin_mib &&
	       (sample->available_mib >= PRESSURE_SCARCE * limits->floor_mib + margin_mib ||
		sample->stalled_centi < limits->max_percent * CENTI / 2);
}

bool pressure_take(struct pressure *pressure, const struct pressure_sample *sample)
{
	bool is_high = pressure->is_high ? !is_back(&pressure->limits, sample) : is_beyond(&pressure->limits, sample);
	bool is_new = is_high != pressure->is_high;

	pressure->last = *sample;
	pressure->is_high = is_high;
	pressure->n_highs += is_new && is_high;
	return is_new;
}

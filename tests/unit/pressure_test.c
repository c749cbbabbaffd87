/* Is memory short? With files that say what the test wants. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/pressure.h"

struct files {
	char folder[32], file[64], meminfo[64];
	struct pressure pressure;
};

static int set_up(void **state)
{
	struct files *files = calloc(1, sizeof(*files));

	assert_non_null(files);
	(void)snprintf(files->folder, sizeof(files->folder), "/tmp/mayfly-pressure.XXXXXX");
	assert_non_null(mkdtemp(files->folder));
	(void)snprintf(files->file, sizeof(files->file), "%s/memory", files->folder);
	(void)snprintf(files->meminfo, sizeof(files->meminfo), "%s/meminfo", files->folder);
	files->pressure.limits = (struct pressure_limits){
		.file = files->file, .meminfo = files->meminfo, .max_percent = 10, .floor_mib = 400
	};
	*state = files;
	return 0;
}

static int tear_down(void **state)
{
	struct files *files = *state;

	(void)unlink(files->file);
	(void)unlink(files->meminfo);
	(void)rmdir(files->folder);
	free(files);
	return 0;
}

/* One look at what the files say. True: is_high has changed. */
static bool look(struct files *files, const char *avg10, unsigned long available_mib)
{
	struct pressure_sample sample;
	char text[256];

	(void)snprintf(text, sizeof(text), "some avg10=%s avg60=50.00 avg300=0.00 total=62643\nfull avg10=99.00 total=1\n", avg10);
	unit_write(files->file, text);
	(void)snprintf(text, sizeof(text), "MemTotal:       24684092 kB\nMemFree:          1000 kB\nMemAvailable:   %lu kB\n",
		       available_mib * 1024);
	unit_write(files->meminfo, text);
	pressure_sample(&files->pressure.limits, &sample);
	assert_true(sample.has_stalled);
	assert_int_equal(sample.available_mib, available_mib);
	return pressure_take(&files->pressure, &sample);
}

static void a_stall_is_pressure_until_it_is_half_of_that(void **state)
{
	struct files *files = *state;
	struct pressure *pressure = &files->pressure;

	assert_false(look(files, "10.00", 1000)); /* at the limit, not above it */
	assert_true(look(files, "10.01", 1000));
	assert_true(pressure->is_high);
	assert_false(look(files, "100.00", 1000));
	assert_false(look(files, "9.99", 1000)); /* not up and down around the limit */
	assert_false(look(files, "5.00", 1000));
	assert_true(pressure->is_high);
	assert_true(look(files, "4.99", 1000));
	assert_false(pressure->is_high);
	assert_false(look(files, "9.99", 1000));
	assert_true(look(files, "55.00", 1000));
	assert_int_equal(pressure->n_highs, 2);
}

/* A task that has used up the memory of its own control group stalls, and so does the host as a whole: it is nobody
 * else's matter. */
static void a_stall_where_there_is_enough_is_none(void **state)
{
	struct files *files = *state;
	struct pressure *pressure = &files->pressure;

	assert_false(look(files, "100.00", 1600)); /* four floors */
	assert_true(look(files, "100.00", 1599)); /* the control */
	assert_false(look(files, "100.00", 1600));
	assert_true(pressure->is_high);
	assert_true(look(files, "100.00", 1700)); /* and a quarter of one */
	assert_false(pressure->is_high);
}

static void little_that_is_available_is_pressure(void **state)
{
	struct files *files = *state;
	struct pressure *pressure = &files->pressure;

	assert_false(look(files, "0.00", 400));
	assert_true(look(files, "0.00", 399));
	assert_false(look(files, "0.00", 499));
	assert_true(pressure->is_high);
	assert_true(look(files, "0.00", 500));
	assert_false(pressure->is_high);
	assert_true(look(files, "11.00", 399)); /* both: until both are over */
	assert_false(look(files, "0.00", 399));
	assert_false(look(files, "11.00", 1000));
	assert_true(look(files, "0.00", 1000));
	assert_int_equal(pressure->n_highs, 2);
}

static void a_sign_that_cannot_be_read_is_none(void **state)
{
	static const char *const nonsense[] = { "", "none", "some avg10=", "full avg10=99.00 total=1\n" };
	struct files *files = *state;
	struct pressure_sample sample;

	pressure_sample(&files->pressure.limits, &sample); /* neither file is there */
	assert_false(sample.has_stalled);
	assert_int_equal(sample.stalled_centi, 0);
	assert_true(sample.available_mib == UINT64_MAX);
	assert_false(pressure_take(&files->pressure, &sample));
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		unit_write(files->file, nonsense[i]);
		unit_write(files->meminfo, nonsense[i]);
		pressure_sample(&files->pressure.limits, &sample);
		assert_false(sample.has_stalled);
		assert_false(pressure_take(&files->pressure, &sample));
	}
	unit_write(files->meminfo, "MemTotal: 4096 kB\nMemAvailable: 1024 kB\n"); /* the other one counts alone */
	pressure_sample(&files->pressure.limits, &sample);
	assert_true(pressure_take(&files->pressure, &sample));
}

/* The files of this host have the form that is expected. */
static void this_host_can_be_read(void **state)
{
	const struct pressure_limits limits = { .file = PRESSURE_FILE, .meminfo = PRESSURE_MEMINFO };
	struct pressure_sample sample;

	(void)state;
	pressure_sample(&limits, &sample);
	assert_true(sample.available_mib != UINT64_MAX);
	assert_true(sample.has_stalled || access(PRESSURE_FILE, R_OK) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_stall_is_pressure_until_it_is_half_of_that, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stall_where_there_is_enough_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(little_that_is_available_is_pressure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_sign_that_cannot_be_read_is_none, set_up, tear_down),
		cmocka_unit_test(this_host_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

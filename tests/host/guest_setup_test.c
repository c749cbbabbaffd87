/* A guest that is warmed, made a VM of its own, and given its disk, in this order and in no other. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "tests/support/guest_run.h"

static void expect_refused(const struct frame *frame, const char *phase)
{
	char text[160], expected[160];
	const struct frame *fail;

	guest_vm_send(&vm, frame);
	fail = guest_vm_expect(&vm, FRAME_FAIL);
	assert_int_equal(fail->exec, 0);
	(void)snprintf(text, sizeof(text), "%.*s", (int)fail->error.len, fail->error.text);
	(void)snprintf(expected, sizeof(expected), "a '%s' frame does not belong here: the guest is %s", frame_type_name(frame->type), phase);
	assert_string_equal(text, expected);
}

static const uint8_t entropy[FRAME_ENTROPY_BYTES];
static struct frame_text argv[] = { { .text = "true", .len = 4 } };

static const struct frame frames[] = {
	{ .type = FRAME_WARM, .version = FRAME_VERSION },
	{ .type = FRAME_SETUP, .version = FRAME_VERSION, .data = entropy, .len = sizeof(entropy), .hostname = { "other", 5 } },
	{ .type = FRAME_MOUNT },
	{ .type = FRAME_CLOCK, .realtime_ns = 1 },
	{ .type = FRAME_PUT, .exec = 1, .path = { "x", 1 } },
	{ .type = FRAME_RUN, .exec = 1, .argv = argv, .n_argv = 1, .timeout_ms = 1, .window = FRAME_WINDOW_BYTES },
	{ .type = FRAME_END, .exec = 1 },
};

#define BIT(type) (1u << FRAME_##type)

/* All of `frames` but those that may come now. What was refused leaves no trace: the same engine goes on where it was. */
static void expect_refused_all_but(unsigned allowed, const char *phase, bool is_set_up, bool is_mounted)
{
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		const struct frame *hello;

		if (allowed & (1u << frames[i].type))
			continue;
		expect_refused(&frames[i], phase);
		hello = guest_vm_attach(&vm);
		assert_int_equal(hello->is_set_up, is_set_up);
		assert_int_equal(hello->is_mounted, is_mounted);
		assert_int_equal(hello->n_execs, 0);
	}
}

static void expect_warmed(bool is_warm, bool has_disk)
{
	const struct frame *warmed;

	guest_vm_send(&vm, &(struct frame){ .type = FRAME_WARM, .version = FRAME_VERSION, .has_disk = has_disk });
	warmed = guest_vm_expect(&vm, FRAME_WARMED);
	assert_int_equal(warmed->is_warm, is_warm);
	assert_int_equal(warmed->error.len, 0);
}

/* Nothing of a task comes into a guest that was not made a VM of its own: what a clone would be if nobody set it up. The control is the
 * end, where the same frames are taken. */
static void test_each_frame_in_its_place(void **state)
{
	(void)state;
	guest_vm_start(&vm, "base", 192, 64);
	expect_refused_all_but(BIT(WARM) | BIT(SETUP), "not set up", false, false);
	expect_warmed(false, false); /* the image names nothing that is to wait */
	expect_refused_all_but(BIT(SETUP), "warm and not set up", false, false);
	guest_vm_set_up(&vm);
	expect_refused_all_but(BIT(MOUNT), "set up, without its disk", true, false);
	guest_vm_mount(&vm);
	expect_refused_all_but(BIT(CLOCK) | BIT(PUT) | BIT(RUN) | BIT(END), "ready", true, true);
	exec = 0;
	run_script("hostname; cat /work/x");
	assert_exit(1);
	assert_out("guest-test\n");
}

/* What names a machine is drawn anew in each; nobody can write it, and it is said everywhere. */
static const char identity[] = "grep -cE '^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$' /etc/machine-id;"
			       "grep -cE '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' /proc/sys/kernel/random/boot_id;"
			       "for f in /etc/machine-id /etc/hosts /proc/sys/kernel/random/boot_id; do (: >$f) 2>/dev/null && echo written; done;"
			       "grep -c guest-test /etc/hosts; [ $(cat /etc/machine-id) = $(cat /etc/machine-id) ] && echo same;"
			       "cat /etc/machine-id /proc/sys/kernel/random/boot_id";
#define IDENTITY_SAYS "1\n1\n2\nsame\n"

static void test_each_machine_has_an_identity(void **state)
{
	char first[256];

	run_script(identity);
	assert_exit(0);
	assert_memory_equal(result->streams[0].text, IDENTITY_SAYS, strlen(IDENTITY_SAYS));
	(void)snprintf(first, sizeof(first), "%.255s", result->streams[0].text);
	assert_int_equal(strlen(first), strlen(IDENTITY_SAYS) + 33 + 37);
	(void)end_after_test(state);
	(void)boot_for_test(state);
	run_script(identity);
	assert_memory_not_equal(result->streams[0].text + strlen(IDENTITY_SAYS), first + strlen(IDENTITY_SAYS), 32);
	assert_memory_not_equal(result->streams[0].text + strlen(IDENTITY_SAYS) + 33, first + strlen(IDENTITY_SAYS) + 33, 36);
}

/* One that waited for its task is told the time again, before the program that comes behind. */
static void test_the_time_again(void **state)
{
	(void)state;
	run_script("[ $(date +%s) -gt 1000000000 ] && date +%Y");
	assert_string_not_equal(result->streams[0].text, "2001\n");
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_CLOCK, .realtime_ns = 1000000000000000000 });
	run_script("date -u +%Y-%m");
	assert_exit(0);
	assert_out("2001-09\n");
}

static struct guest_template template = { .image = "base", .memory_mib = 192, .disk_mib = 64, .memory_fd = -1, .state_fd = -1, .blank_fd = -1 };

static int make_template(void **state)
{
	(void)state;
	guest_template_start(&template, &vm);
	expect_warmed(false, true);
	guest_template_save(&template, &vm);
	return 0;
}

static int free_template(void **state)
{
	guest_template_free(&template);
	return end_after_test(state);
}

static void begin_clone(void)
{
	guest_vm_start_clone(&vm, &template);
	exec = 0;
}

#define DRAWS "od -An -tx1 -N16 /dev/urandom; cat /proc/sys/kernel/random/uuid /etc/machine-id /proc/sys/kernel/random/boot_id"

/* They share what the template had drawn, and nothing that is drawn after their setup; what each wrote is its own. */
static void test_clones_part_at_their_setup(void **state)
{
	char first[1024];

	(void)state;
	begin_clone();
	guest_vm_setup(&vm);
	run_script(DRAWS "; echo of one > /work/x");
	assert_exit(0);
	(void)snprintf(first, sizeof(first), "%.1023s", result->streams[0].text);
	guest_vm_end(&vm);
	begin_clone();
	guest_vm_setup(&vm);
	run_script(DRAWS "; ls /work");
	assert_exit(0);
	for (char *was = strtok(first, "\n"); was; was = strtok(NULL, "\n"))
		assert_null(strstr(result->streams[0].text, was));
}

static int check_disk(int fd)
{
	char command[96];

	(void)snprintf(command, sizeof(command), "e2fsck -fn /proc/%d/fd/%d >&2", (int)getpid(), fd);
	return WEXITSTATUS(system(command));
}

/* The template mounted a disk that it had and the clone has not: on the clone's own disk, which began empty, it is one whole file system,
 * with everything in it. The control is a byte of it that is wrong. */
static void test_a_clone_has_a_disk_of_its_own(void **state)
{
	static const char zeros[1024];
	int work_fd;

	(void)state;
	begin_clone();
	guest_vm_setup(&vm);
	run_script("for i in 0 1 2 3 4 5 6 7 8 9; do mkdir /work/$i /tmp/$i && seq 9999 > /work/$i/x && cp /work/$i/x /tmp/$i; done; rm -r /tmp/5;"
		   "sync; sleep 4; cat /work/*/x | wc -c; cat /tmp/*/x | wc -c; touch /work/last; sync");
	assert_exit(0);
	assert_out("488880\n439992\n");
	work_fd = vm.work_fd;
	guest_vm_end(&vm);
	assert_int_equal(check_disk(work_fd), 0);
	assert_int_equal(pwrite(work_fd, zeros, sizeof(zeros), 2048), sizeof(zeros)); /* where its groups are described */
	assert_int_not_equal(check_disk(work_fd), 0);
	close_fd(&work_fd);
}

int main(int argc, char **argv_of_main)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_each_frame_in_its_place, end_after_test),
		BOOTED(test_each_machine_has_an_identity),
		BOOTED(test_the_time_again),
		cmocka_unit_test_setup_teardown(test_clones_part_at_their_setup, make_template, free_template),
		cmocka_unit_test_setup_teardown(test_a_clone_has_a_disk_of_its_own, make_template, free_template),
	};

	return guest_tests(tests, ARRAY_SIZE(tests), 192, 64, argc, argv_of_main);
}

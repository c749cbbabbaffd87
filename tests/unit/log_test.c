#include "base/log.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* What `fmt` with `text` makes on stderr. */
static size_t capture(char *out, size_t size, enum log_level level, const char *text)
{
	int pipe_fds[2], stderr_fd = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
	assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
	log_event(level, "test", "text=\"%s\"", text);
	assert_true(dup2(stderr_fd, STDERR_FILENO) >= 0);
	n = read(pipe_fds[0], out, size - 1);
	out[n < 0 ? 0 : n] = '\0';
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	(void)close(stderr_fd);
	return n < 0 ? 0 : (size_t)n;
}

static void test_one_line(void **state)
{
	char line[2048];

	(void)state;
	log_init("unit", LOG_LEVEL_INFO);
	assert_true(capture(line, sizeof(line), LOG_LEVEL_WARN, "hello") > 0);
	assert_non_null(strstr(line, "Z warn  unit test text=\"hello\"\n"));
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void test_lower_levels_are_silent(void **state)
{
	char line[2048];

	(void)state;
	log_init("unit", LOG_LEVEL_WARN);
	assert_int_equal(capture(line, sizeof(line), LOG_LEVEL_INFO, "hello"), 0);
	log_init("unit", LOG_LEVEL_DEBUG);
	assert_true(capture(line, sizeof(line), LOG_LEVEL_DEBUG, "hello") > 0);
}

static void test_text_cannot_forge_a_line(void **state)
{
	char line[2048];

	(void)state;
	log_init("unit", LOG_LEVEL_INFO);
	(void)capture(line, sizeof(line), LOG_LEVEL_INFO, "x\"\n2026-01-01T00:00:00.000Z error engine forged\r\x1b[2J");
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_non_null(strstr(line, " text=\"x\\\"\\n2026-01-01T00:00:00.000Z error engine forged\\r\\u001b[2J\"\n"));
}

static void test_long_lines_are_cut_whole(void **state)
{
	char text[8000], line[8192];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_init("unit", LOG_LEVEL_INFO);
	assert_true(capture(line, sizeof(line), LOG_LEVEL_INFO, text) <= 4096); /* PIPE_BUF: written in one piece */
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_level_names(void **state)
{
	(void)state;
	assert_int_equal(log_level_parse("warn"), LOG_LEVEL_WARN);
	assert_int_equal(log_level_parse("loud"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_lower_levels_are_silent),
		cmocka_unit_test(test_text_cannot_forge_a_line),
		cmocka_unit_test(test_long_lines_are_cut_whole),
		cmocka_unit_test(test_level_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A thread of ours takes no signals, and whoever starts it takes the same ones as before. */
#include "tests/unit/unit.h"

#include "base/thread.h"

static void *tell_mask(void *arg)
{
	(void)pthread_sigmask(SIG_SETMASK, NULL, arg);
	return NULL;
}

static void assert_same_mask(const sigset_t *a, const sigset_t *b)
{
	for (int signal = 1; signal < NSIG; signal++)
		assert_int_equal(sigismember(a, signal), sigismember(b, signal));
}

static void test_signals_stay_with_who_starts_it(void **state)
{
	sigset_t before, after, in_thread;
	pthread_t thread;

	(void)state;
	(void)pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(thread_start(tell_mask, &in_thread, &thread), 0);
	(void)pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_same_mask(&before, &after);
	assert_int_equal(sigismember(&before, SIGTERM), 0);
	assert_int_equal(sigismember(&in_thread, SIGTERM), 1);
	assert_int_equal(sigismember(&in_thread, SIGCHLD), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_signals_stay_with_who_starts_it) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

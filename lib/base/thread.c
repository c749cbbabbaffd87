#include "base/thread.h"

void thread_block_signals(sigset_t *ret_before)
{
	sigset_t all;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, ret_before); /* cannot fail with valid sets */
}

void thread_restore_signals(const sigset_t *before)
{
	(void)pthread_sigmask(SIG_SETMASK, before, NULL); /* likewise */
}

int thread_start(void *(*run)(void *arg), void *arg, pthread_t *ret)
{
	sigset_t before;
	int code;

	thread_block_signals(&before);
	code = pthread_create(ret, NULL, run, arg);
	thread_restore_signals(&before);
	return -code;
}

/* Threads take no signals: those are the loop's. A thread inherits what its maker has blocked. */
#pragma once

#include <pthread.h>
#include <signal.h>

/* Between the two every signal is blocked, for threads that a library makes. Nothing in between may wait for a
 * signal. */
void thread_block_signals(sigset_t *ret_before);
void thread_restore_signals(const sigset_t *before);

/* A thread of ours, joinable. 0 or a negative errno. */
int thread_start(void *(*run)(void *arg), void *arg, pthread_t *ret);

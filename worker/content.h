/* What a task is, in a word: two records of one id with the same content are the same task, sent twice. When it was made does
 * not count, everything else does; how the sender's library packed it does not. */
#pragma once

#include "bus/lease_keys.h"
#include "wire/task.h"

/* 0 or -ENOMEM. */
int content_of(const struct task *task, char ret[LEASE_CONTENT_MAX + 1]);

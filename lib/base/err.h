/* Faults: a negative errno plus a filled struct err, always the last parameter, of fixed size so that reporting
 * cannot fail. An answer the caller must act on ("refused", "full") is not a fault: it has a named enum of its own. */
#pragma once

#include <errno.h>

enum err_kind {
	ERR_NONE,
	ERR_INPUT, /* the sender can mend it: answer the sender */
	ERR_BUSY,  /* another try, here or elsewhere, may succeed: release and let another worker take it */
	ERR_HOST,  /* this host is not fit: drain it */
	ERR_BUG,   /* we broke our own rule: abort this job */
	ERR_KIND_COUNT
};

struct err {
	enum err_kind kind;
	int errnum; /* positive errno, 0 when no system call was involved */
	char msg[240];
};

/* Fill `err` (NULL is allowed) where the fault happened; appends ": strerror" when errnum is not 0.
 * Returns -errnum, or -EINVAL when errnum is 0, so that callers write `return err_set(...)`. */
int err_set(struct err *err, enum err_kind kind, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Put context in front of the message on the way up. Returns what err_set() returned for this fault. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_kind_name(enum err_kind kind);

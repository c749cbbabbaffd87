#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = { "none", "input", "busy", "host", "bug" };
static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == ERR_KIND_COUNT, "a name for every err_kind");

int err_set(struct err *err, enum err_kind kind, int errnum, const char *fmt, ...)
{
	if (err) {
		va_list ap;

		err->kind = kind;
		err->errnum = errnum;
		va_start(ap, fmt);
		(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap); /* a cut message is still a message */
		va_end(ap);
		if (errnum) {
			size_t used = strlen(err->msg);

			(void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", strerror(errnum));
		}
	}
	return errnum ? -errnum : -EINVAL;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char inner[sizeof(err->msg)];
	size_t used;
	va_list ap;

	if (!err)
		return -EINVAL;
	memcpy(inner, err->msg, sizeof(inner));
	va_start(ap, fmt);
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap); /* a cut message is still a message */
	va_end(ap);
	used = strlen(err->msg);
	(void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", inner);
	return err->errnum ? -err->errnum : -EINVAL;
}

const char *err_kind_name(enum err_kind kind)
{
	return (unsigned)kind < ERR_KIND_COUNT ? kind_names[kind] : "unknown";
}

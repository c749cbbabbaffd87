#include "bus/lease_keys.h"

#include <stdio.h>
#include <string.h>

#include "base/ident.h"

int lease_keys_name(const char *prefix, struct lease_keys *ret, struct err *err)
{
	if (!ident_is_id(prefix, strlen(prefix)))
		return err_set(err, ERR_INPUT, 0,
			       "the prefix of Redis keys must be 1 to %d letters, digits, '.', '_' or '-'",
			       IDENT_ID_MAX);
	/* None can be cut: a prefix has at most IDENT_ID_MAX characters. */
	(void)snprintf(ret->deadlines, sizeof(ret->deadlines), "%s:{mayfly}:deadlines", prefix);
	(void)snprintf(ret->lease_prefix, sizeof(ret->lease_prefix), "%s:{mayfly}:lease:", prefix);
	(void)snprintf(ret->token, sizeof(ret->token), "%s:{mayfly}:token", prefix);
	(void)snprintf(ret->vms_prefix, sizeof(ret->vms_prefix), "%s:{mayfly}:vms:", prefix);
	return 0;
}

/* Ownership of what hiredis's blocking calls make: cleanup_(redisFreep), cleanup_(reply_freep). */
#pragma once

#include <hiredis/hiredis.h>

#include "base/own.h"

DEFINE_FREEP(redisContext, redisFree)

static inline void reply_freep(redisReply **reply)
{
	if (*reply)
		freeReplyObject(*reply);
}

#include "bus/redis_args.h"

#include <stddef.h>
#include <string.h>

#define REQUEST_MAX_BYTES (16 * 1024 * 1024) /* far beyond the largest batch; Redis itself takes 512 MiB */
#define DECIMAL_MAX 20 /* digits of a uint64_t */

/* Ends at `end`; answers where it begins. For the numbers of a claim snprintf() would take longer than for all the rest of it. */
static char *put_decimal(uint64_t number, char *end)
{
	do
		*--end = (char)('0' + number % 10);
	while (number /= 10);
	return end;
}

static void put_bytes(struct redis_args *args, const char *data, size_t len)
{
	args->text.max = REQUEST_MAX_BYTES;
	if (buf_append(&args->text, data, len) < 0)
		args->is_broken = true;
}

void redis_args_put(struct redis_args *args, const char *text)
{
	put_bytes(args, text, strlen(text));
}

void redis_args_put_number(struct redis_args *args, uint64_t number)
{
	char text[DECIMAL_MAX], *end = text + sizeof(text), *start = put_decimal(number, end);

	put_bytes(args, start, (size_t)(end - start));
}

void redis_args_end(struct redis_args *args)
{
	size_t len = args->text.len - args->ended;

	args->lens.max = REQUEST_MAX_BYTES;
	if (buf_append(&args->lens, &len, sizeof(len)) < 0)
		args->is_broken = true;
	args->ended += len;
	args->n++;
}

void redis_args_add(struct redis_args *args, const char *text)
{
	redis_args_put(args, text);
	redis_args_end(args);
}

void redis_args_add_number(struct redis_args *args, uint64_t number)
{
	redis_args_put_number(args, number);
	redis_args_end(args);
}

struct redis_args redis_args_copy(const struct redis_args *args)
{
	struct redis_args copy = { .ended = args->ended, .n = args->n, .is_broken = args->is_broken };

	copy.text.max = copy.lens.max = REQUEST_MAX_BYTES;
	if (buf_append(&copy.text, args->text.data, args->text.len) < 0 ||
	    buf_append(&copy.lens, args->lens.data, args->lens.len) < 0)
		copy.is_broken = true;
	return copy;
}

void redis_args_free(struct redis_args *args)
{
	buf_free(&args->text);
	buf_free(&args->lens);
	args->ended = 0;
	args->n = 0;
	args->is_broken = false;
}

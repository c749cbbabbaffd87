#include "worker/dead_letter.h"

#include <stdlib.h>
#include <string.h>

struct dead_letter *dead_letter_new(const struct consumer_record *record)
{
	bool has_key = record->key && record->key_len <= DEAD_LETTER_KEY_MAX;
	size_t key_len = has_key ? record->key_len : 0;
	struct dead_letter *letter = malloc(sizeof(*letter) + key_len + record->len);

	if (!letter)
		return NULL;
	*letter = (struct dead_letter){
		.has_key = has_key, .has_value = record->data, .key_len = key_len, .len = record->len
	};
	if (key_len)
		memcpy(letter->bytes, record->key, key_len);
	if (record->len)
		memcpy(letter->bytes + key_len, record->data, record->len);
	return letter;
}

struct dead_letter *dead_letter_copy(const struct dead_letter *letter)
{
	size_t size = sizeof(*letter) + dead_letter_size(letter);
	struct dead_letter *copy = malloc(size);

	if (copy)
		memcpy(copy, letter, size);
	return copy;
}

const void *dead_letter_key(const struct dead_letter *letter)
{
	return letter->has_key ? letter->bytes : NULL;
}

const void *dead_letter_value(const struct dead_letter *letter)
{
	return letter->has_value ? letter->bytes + letter->key_len : NULL;
}

size_t dead_letter_size(const struct dead_letter *letter)
{
	return letter->key_len + letter->len;
}

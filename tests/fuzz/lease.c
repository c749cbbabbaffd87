/* Redis's answers to the lease library's calls. hiredis has made a tree of them; here a tree is made from the input: a byte for
 * the number of leases, then per element its type (a byte, which picks a word, too) and an integer (8 bytes). */
#include <hiredis/hiredis.h>
#include <string.h>

#include "bus/lease_reply.h"
#include "tests/fuzz/target.h"

#define ELEMENTS_MAX 64

struct tree {
	redisReply root;
	redisReply elements[ELEMENTS_MAX];
	redisReply *pointers[ELEMENTS_MAX];
	char text[16];
};

static void grow(struct tree *tree, const uint8_t *data, size_t len)
{
	static char words[][12] = { "claimed", "exhausted", "running", "reaping", "ended",   "told", "duplicate",
				    "conflict", "foreign",  "done",    "gone",	  "unknown", "1 7",  "" };
	static const int types[] = { REDIS_REPLY_INTEGER, REDIS_REPLY_INTEGER, REDIS_REPLY_INTEGER, REDIS_REPLY_STRING,
				     REDIS_REPLY_NIL,	  REDIS_REPLY_ERROR,   REDIS_REPLY_ARRAY };

	memset(tree, 0, sizeof(*tree));
	memcpy(tree->text, "ERR no", 6);
	tree->root = (redisReply){ .type = REDIS_REPLY_ARRAY, .element = tree->pointers, .str = tree->text };
	if (len % 9 == 8) /* otherwise impossible lengths stand for other kinds of root */
		tree->root.type = REDIS_REPLY_ERROR;
	if (len % 9 == 7)
		tree->root.type = REDIS_REPLY_INTEGER;
	for (; len >= 9 && tree->root.elements < ELEMENTS_MAX; data += 9, len -= 9) {
		redisReply *element = &tree->elements[tree->root.elements];

		element->type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
		memcpy(&element->integer, data + 1, 8);
		element->str = words[data[0] % (sizeof(words) / sizeof(words[0]))];
		element->len = strlen(element->str);
		tree->pointers[tree->root.elements++] = data[0] == 0xff ? NULL : element;
	}
}

static void check_grants(const struct lease_grant *grants, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		FUZZ_CHECK((unsigned)grants[i].verdict < LEASE_VERDICT_UNKNOWN); /* only a lost answer is that */
		FUZZ_CHECK(grants[i].verdict == LEASE_VERDICT_CLAIMED || grants[i].verdict == LEASE_VERDICT_EXHAUSTED ||
			   (grants[i].token == 0 && grants[i].attempt == 0));
	}
}

static const char *const topics[] = { "t", "u" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lease_grant grants[ELEMENTS_MAX];
	struct err err = { .kind = ERR_NONE };
	struct tree tree;
	size_t n;

	if (len < 1)
		return 0;
	n = data[0] % ELEMENTS_MAX;
	grow(&tree, data + 1, len - 1);
	if (lease_reply_claims(&tree.root, n, topics, 2, grants, &err) == 0)
		check_grants(grants, n);
	else
		FUZZ_CHECK(err.kind != ERR_NONE && err.msg[0]);
	err.kind = ERR_NONE;
	if (lease_reply_verdicts(&tree.root, n, grants, &err) == 0)
		check_grants(grants, n);
	else
		FUZZ_CHECK(err.kind != ERR_NONE && err.msg[0]);
	return 0;
}

/* What a VMM says over QMP, one line at a time; it may have been taken over by its guest. */
#include "wire/qmp.h"

#include <string.h>

#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	while (len) {
		const uint8_t *newline = memchr(data, '\n', len);
		size_t line = newline ? (size_t)(newline - data) : len;
		struct qmp_message message;

		if (qmp_decode((const char *)data, line, &message) == 0) {
			FUZZ_CHECK((unsigned)message.kind < QMP_KIND_COUNT);
			FUZZ_CHECK(strnlen(message.text, sizeof(message.text)) < sizeof(message.text));
		}
		data += newline ? line + 1 : line;
		len -= newline ? line + 1 : line;
	}
	return 0;
}

/* A target with a planted bug: replay and run-all must notice it, or they would notice nothing else either. */
#include <string.h>

#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	FUZZ_CHECK(len < 4 || memcmp(data, "bug!", 4) != 0);
	return 0;
}

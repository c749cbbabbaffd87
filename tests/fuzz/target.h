/* What every fuzz target shares: the entry that libFuzzer and replay.c call, and a check that ends the process. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A property that holds for every input. */
#define FUZZ_CHECK(fact)                                                                                  \
	do {                                                                                              \
		if (!(fact)) {                                                                            \
			(void)fprintf(stderr, "%s:%d: broken property: %s\n", __FILE__, __LINE__, #fact); \
			abort();                                                                          \
		}                                                                                         \
	} while (0)

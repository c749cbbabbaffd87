/* The scripts of scripted_test.c, a table for each party that is not well-behaved. */
#pragma once

#include <stddef.h>

struct script_row {
	const char *name;
	const char *script;
	const char *outcomes; /* those it may end with */
	const char *message;  /* part of what the result says; "" for anything */
};

struct script_table {
	const char *party;
	const struct script_row *rows;
	size_t n_rows;
};

/* NULL: there is no such party. */
const struct script_table *scripts_find(const char *party);

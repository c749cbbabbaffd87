/* The scripts of scripted_test.c, a table for each party that is not well-behaved. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct script_row {
	const char *name;
	const char *script;
	const char *outcomes; /* those it may end with */
	const char *says;     /* part of the result's message, "" for anything; of a table with clones its isolation.start */
};

struct script_table {
	const char *party;
	const struct script_row *rows;
	size_t n_rows;
	bool has_clones; /* each row is of a task that comes after another one of its image */
};

/* NULL: there is no such party. */
const struct script_table *scripts_find(const char *party);

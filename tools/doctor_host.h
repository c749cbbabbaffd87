/* The part of `mayfly doctor` that is numbers: what this host has, and what a worker makes of it. */
#pragma once

#include "host/limits.h"

#define DOCTOR_TEXT_BYTES 256

enum doctor_mark { DOCTOR_GOOD, DOCTOR_WARN, DOCTOR_BAD };

struct doctor_line {
	enum doctor_mark mark;
	const char *what;
	char text[DOCTOR_TEXT_BYTES];
};

#define DOCTOR_HOST_LINES 6

/* DOCTOR_HOST_LINES of them, in the order in which they are read. */
void doctor_host(const struct host_limits *limits, const char *state_dir, struct doctor_line lines[DOCTOR_HOST_LINES]);

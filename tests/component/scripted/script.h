/* A script: what a party that is not well-behaved says, and when. One text, so that a table, a fuzzer and a person who replays what
 * the fuzzer found write the same:
 *
 *   POINT[@N][#N]=WORD[,WORD...] ...
 *
 * POINT is when: a party and what it was told, or "start" (fake_vm.c and fake_lanes.c have them). @N: only in the Nth microVM of the
 * task. #N: only the Nth time in that microVM. WORD is what is done then: PARTY:VERB[.NUMBER][*TIMES]; any party can be made to speak at any point.
 * "t:wait.MS" puts off the words behind it. A point that the script does not name has the answer of a well-behaved party.
 *
 * Parties: a the agent, q QMP, g the guard, d the disk lane, v the vmm lane. */
#pragma once

#include <stdbool.h>

#define SCRIPT_NAME_MAX 32
#define SCRIPT_POINTS_MAX 64 /* more than there are */

struct script_word {
	char party;
	char verb[SCRIPT_NAME_MAX];
	unsigned long number, times;
};

/* A script that is played. All zero but for these: none of its points was reached. */
struct script_play {
	const char *script; /* lives as long as this */
	unsigned nth;	    /* microVM of its task */
	struct {
		char point[SCRIPT_NAME_MAX + 2];
		unsigned n;
	} reached[SCRIPT_POINTS_MAX];
};

/* `point` is reached: the words for it, else those of a well-behaved party, else "". */
const char *script_reach(struct script_play *play, const char *point);

/* The first word of `*words`, which then begins behind it; false when there is none. Fails the test when it is no word. */
bool script_next(const char **words, struct script_word *ret);

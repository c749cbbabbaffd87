/* The program that a task names: found as a shell finds it, and when it cannot be executed, why, in words that say
 * more than the kernel's one number. All of it happens in the child that was to become the program, with the task's
 * rights in the task's root, so that nothing here is reached that the task could not reach itself. */
#pragma once

#include "wire/frame.h"

struct executable_failure {
	char why[224];	  /* the end of a sentence: "it is a directory" */
	/* the name of a program that the image lacks, "" when that is not the reason */
	char missing[FRAME_MISSING_MAX + 1];
};

/* Become argv[0], looked for in the environment's PATH as execvp(3) does. Returns only on failure, with a negative
 * errno. */
int executable_exec(char **argv, char **env, struct executable_failure *failure);

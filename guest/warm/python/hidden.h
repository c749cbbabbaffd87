/* Modules that the waiting interpreter imported ahead, and that a program does not see until it imports them. */
#pragma once

/* Import them and put them away; once, before hashes_find(). 0, or -1. */
int hidden_prepare(void);

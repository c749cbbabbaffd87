/* A new hash seed for an interpreter that is already running. */
#pragma once

/* Find everything that holds a hash of a str or bytes: once, with nothing else running. 0, or -1 when something is not as
 * this code knows it. */
int hashes_find(void);

/* Draw a new seed and rewrite all of it in place. Nothing else may have been made since hashes_find() that lives on.
 * 0, or -1: the interpreter is not to be used any more. */
int hashes_reseed(void);

/* Every dict and every set that was found finds each of its own keys. */
int hashes_check(void);

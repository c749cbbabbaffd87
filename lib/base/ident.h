/* Identifiers that senders choose and that end up in names of host objects, keys and messages. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENT_ID_MAX 64    /* characters of a task or workspace id: a UUID with room for a prefix */
#define IDENT_IMAGE_MAX 63 /* characters of an image name */

/* [A-Za-z0-9][A-Za-z0-9._-]{0,63}: no '/', cannot be "." or "..", needs no quoting anywhere. */
bool ident_is_id(const char *text, size_t len);

/* [a-z0-9][a-z0-9._-]{0,62} */
bool ident_is_image(const char *text, size_t len);

/* A random (version 4) UUID as text; `out` holds 37 bytes. */
void ident_uuid(char out[37]);

/* Where an id goes in a hash table. The seed is a secret of the process: who chooses ids must not choose buckets. */
uint64_t ident_hash_seed(void);
uint64_t ident_hash(const char *id, uint64_t seed);

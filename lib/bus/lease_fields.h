/* The fields of a lease's line, in their order: the one place that says which field is where. The decoder (bus/lease_line.c) and the
 * Lua library (lua/, where cmake/lua.cmake puts 1 for F_STATE, and so on) use this list; schemas/lease.md says what each field
 * means. A field is appended, never moved: lines of an older version stay readable. A newer one's are not: a reaper refuses a line with more fields
 * than it knows, so reapers are replaced before workers (docs/operations.md). */
#pragma once

#define LEASE_FIELDS(FIELD)             \
	FIELD(STATE, "state")           \
	FIELD(OWNER, "owner")           \
	FIELD(TOKEN, "token")           \
	FIELD(ATTEMPT, "attempt")       \
	FIELD(HOST, "host")             \
	FIELD(SLOT, "slot")             \
	FIELD(EXPIRES_MS, "expires_ms") \
	FIELD(TOPIC, "topic")           \
	FIELD(PARTITION, "partition")   \
	FIELD(OFFSET, "offset")         \
	FIELD(VICTIM, "victim")         \
	FIELD(KEY, "key")               \
	FIELD(CONTENT, "content")       \
	FIELD(VM_ID, "vm_id")           \
	FIELD(TENANT, "tenant")

#define LEASE_FIELD_VALUE(name, text) LEASE_FIELD_##name,
enum lease_field { LEASE_FIELDS(LEASE_FIELD_VALUE) LEASE_FIELD_COUNT };

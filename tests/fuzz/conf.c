/* Configuration files: what is accepted keeps its limits, what is refused names the file. */
#include "base/conf.h"

#include <stdbool.h>
#include <string.h>

#include "base/ident.h"
#include "base/log.h"
#include "base/own.h"
#include "tests/fuzz/target.h"

struct settings {
	char name[CONF_TEXT_MAX];
	uint64_t slots;
	uint64_t wide;
	uint64_t fitted;
	bool is_open;
	char id[CONF_TEXT_MAX], folder[CONF_TEXT_MAX];
	enum log_level level;
};

static const struct conf_key keys[] = {
	{ "name", CONF_TYPE_TEXT, offsetof(struct settings, name), 0, 0, "fleet" },
	{ "slots", CONF_TYPE_UINT, offsetof(struct settings, slots), 1, 64, NULL },
	{ "wide", CONF_TYPE_UINT, offsetof(struct settings, wide), 0, UINT64_MAX, "0" },
	CONF_AUTO_ROW(struct settings, "fitted", fitted, 2, 64),
	{ "open", CONF_TYPE_BOOL, offsetof(struct settings, is_open), 0, 0, "no" },
	CONF_ROW(struct settings, "id", CONF_TYPE_IDENT, id, ""),
	CONF_ROW(struct settings, "folder", CONF_TYPE_PATH, folder, "/"),
	CONF_ROW(struct settings, "level", CONF_TYPE_LOG_LEVEL, level, "info"),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct settings settings;
	struct err err = { .kind = ERR_NONE };

	if (conf_parse("fuzz.conf", (const char *)data, len, keys, ARRAY_SIZE(keys), &settings, &err) == 0) {
		FUZZ_CHECK(settings.slots >= 1 && settings.slots <= 64);
		FUZZ_CHECK(settings.fitted == CONF_AUTO || (settings.fitted >= 2 && settings.fitted <= 64));
		FUZZ_CHECK(!settings.id[0] || ident_is_id(settings.id, strlen(settings.id)));
		FUZZ_CHECK(settings.folder[0] == '/' && settings.level < LOG_LEVEL_COUNT);
		FUZZ_CHECK(strnlen(settings.name, sizeof(settings.name)) < sizeof(settings.name));
	} else {
		FUZZ_CHECK(err.kind == ERR_INPUT && strncmp(err.msg, "fuzz.conf", 9) == 0);
	}
	return 0;
}

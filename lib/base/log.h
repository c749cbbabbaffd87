/* One line of logfmt to stderr per event. Keys and other secrets are never arguments to it. */
#pragma once

#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_COUNT };

/* `process` names the process in every line ("engine", "disk-lane"); it must outlive the process. */
void log_init(const char *process, enum log_level least);

/* Answers -1 for an unknown name, else an enum log_level. */
int log_level_parse(const char *name);

/* `event` is a short constant. The rest is a printf format of logfmt fields, key=%d or key=\"%s of %s\": every value is quoted and
 * escaped here (base/logfmt.h), so that no text, whoever wrote it, can end its value, add a field or begin a line. */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A number that is equal for texts which differ in digits only, and never 0. Who tries again and again logs a fault
 * when this changes. */
uint64_t log_likeness(const char *text);

#define log_debug(event, ...) log_event(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_event(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_event(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_LEVEL_ERROR, event, __VA_ARGS__)

#include "tests/component/scripted/script.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every QMP command is answered, and every lane's request done. */
static const char well_behaved[] = "q:start=q:greeting a:start=a:hello a:mount=a:ready a:run=a:started,a:out,a:exit "
				   "a:collect=a:file,a:collected g:kill=g:killed,g:close a:warm=a:warmed.1 q:migrate=q:return,q:saved "
				   "q:migrate-incoming=q:return,q:resumed q:*=q:return d:*=d:ok v:*=v:ok";

static unsigned long number_after(const char **at, char mark, unsigned long otherwise)
{
	char *end;
	unsigned long number;

	if (**at != mark)
		return otherwise;
	number = strtoul(*at + 1, &end, 10);
	assert(end != *at + 1);
	*at = end;
	return number;
}

/* Of the reactions to `point` the first that is meant for this microVM and this time. */
static const char *find(const char *script, const char *point, unsigned nth, unsigned time)
{
	size_t len = strlen(point);

	for (const char *at = script; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
		const char *rest = at + len;

		if (strncmp(at, point, len) == 0 && number_after(&rest, '@', nth) == nth && number_after(&rest, '#', time) == time &&
		    *rest == '=')
			return rest + 1;
	}
	return NULL;
}

static unsigned count(struct script_play *play, const char *point)
{
	size_t i = 0;

	while (play->reached[i].n && strcmp(play->reached[i].point, point) != 0)
		i++;
	assert(i < SCRIPT_POINTS_MAX - 1);
	(void)snprintf(play->reached[i].point, sizeof(play->reached[i].point), "%s", point);
	return ++play->reached[i].n;
}

const char *script_reach(struct script_play *play, const char *point)
{
	const char any[] = { point[0], ':', '*', '\0' };
	const char *words = find(play->script, point, play->nth, count(play, point));

	if (!words)
		words = find(well_behaved, point, 0, 0);
	if (!words && strcmp(point + 1, ":start") != 0)
		words = find(well_behaved, any, 0, 0);
	return words ? words : "";
}

bool script_next(const char **words, struct script_word *ret)
{
	const char *at = *words;
	size_t len;

	if (!*at || *at == ' ')
		return false;
	assert(at[1] == ':');
	ret->party = *at;
	at += 2;
	len = strcspn(at, ".*, ");
	assert(len > 0 && len < sizeof(ret->verb));
	(void)snprintf(ret->verb, sizeof(ret->verb), "%.*s", (int)len, at);
	at += len;
	ret->number = number_after(&at, '.', 0);
	ret->times = number_after(&at, '*', 1);
	assert(!*at || *at == ',' || *at == ' ');
	*words = at + (*at == ',');
	return true;
}

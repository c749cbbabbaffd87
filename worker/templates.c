#include "worker/templates.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "host/sealed.h"
#include "worker/workspace/template.h"
#include "worker/workspace/workspace.h"

#define ENTRIES_MAX 64	      /* shapes that are known: senders choose them */
#define WANTED_MS 60000	      /* after it was asked for last: then it is not built any more */
#define RETRY_MS 5000	      /* after a failure, doubled with each in a row */
#define RETRY_MAX_MS 600000
#define BUILD_SLACK_MS 60000  /* beyond the boot: what an image wants to have running, and the saving */

/* image, cpus, memory_mib, disk_mib of a log line */
#define SHAPE_OF(entry) (entry)->shape.image, (entry)->shape.cpus, (entry)->shape.memory_mib, (entry)->shape.disk_mib

enum entry_state { ENTRY_WANTED, ENTRY_BUILDING, ENTRY_READY };

struct entry {
	TAILQ_ENTRY(entry) link;
	struct templates *of;
	char image[IDENT_IMAGE_MAX + 1];
	struct shape shape; /* its image is that one */
	enum entry_state state;
	uint64_t asked_mono_ms, not_before_mono_ms;
	unsigned n_asked, n_failures; /* failures in a row */
	struct template *template;    /* READY */
	struct workspace *workspace;  /* BUILDING, as the next three */
	struct workspace_plan plan;
	bool is_saved;
	struct err err;
};

TAILQ_HEAD(entries, entry);

struct templates {
	struct templates_config config;
	struct entries entries; /* the one that was asked for last comes first */
	size_t n_entries;
	struct entry *building;
	struct templates_count count;
	bool is_draining;
};

/* --- what it keeps --- */

static struct entry *find(struct templates *templates, const struct shape *shape)
{
	struct entry *entry;

	TAILQ_FOREACH(entry, &templates->entries, link)
		if (shape_is_same(&entry->shape, shape))
			return entry;
	return NULL;
}

const struct template *templates_ready(struct templates *templates, const struct shape *shape)
{
	const struct entry *entry = templates ? find(templates, shape) : NULL;

	return entry && entry->state == ENTRY_READY ? entry->template : NULL;
}

static void free_template(struct templates *templates, struct template *template)
{
	templates->count.kept_mib -= template->shape.memory_mib;
	close_fd(&template->memory_fd);
	close_fd(&template->state_fd);
	free(template);
}

/* Who has it goes on with it. */
static void give_up(struct templates *templates, struct entry *entry)
{
	struct template *template = TAKE_PTR(entry->template);

	assert(entry->state == ENTRY_READY);
	entry->state = ENTRY_WANTED;
	templates->count.ready--;
	if (template->n_users == 0)
		free_template(templates, template);
}

static void forget(struct templates *templates, struct entry *entry)
{
	if (entry->state == ENTRY_READY)
		give_up(templates, entry);
	TAILQ_REMOVE(&templates->entries, entry, link);
	templates->n_entries--;
	free(entry);
}

static struct entry *oldest_of(struct templates *templates, enum entry_state state)
{
	struct entry *entry;

	TAILQ_FOREACH_REVERSE(entry, &templates->entries, entries, link)
		if (entry->state == state && (state != ENTRY_READY || entry->template->n_users == 0))
			return entry;
	return NULL;
}

/* NULL: there is no place for another one, or no memory. */
static struct entry *add(struct templates *templates, const struct shape *shape)
{
	struct entry *entry = templates->n_entries < ENTRIES_MAX ? NULL : oldest_of(templates, ENTRY_WANTED);

	if (entry)
		forget(templates, entry);
	if (templates->n_entries == ENTRIES_MAX)
		return NULL;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->of = templates;
	(void)snprintf(entry->image, sizeof(entry->image), "%s", shape->image); /* an ident */
	entry->shape = *shape;
	entry->shape.image = entry->image;
	TAILQ_INSERT_HEAD(&templates->entries, entry, link);
	templates->n_entries++;
	return entry;
}

static struct entry *ask(struct templates *templates, const struct shape *shape)
{
	struct entry *entry = find(templates, shape);

	if (!entry)
		entry = add(templates, shape);
	if (!entry)
		return NULL;
	entry->asked_mono_ms = clock_mono_ms();
	TAILQ_REMOVE(&templates->entries, entry, link);
	TAILQ_INSERT_HEAD(&templates->entries, entry, link);
	return entry;
}

/* --- building one --- */

static void put_off(struct entry *entry)
{
	uint64_t pause_ms = RETRY_MS;

	for (unsigned i = 0; i < entry->n_failures && pause_ms < RETRY_MAX_MS; i++)
		pause_ms *= 2;
	entry->n_failures++;
	entry->not_before_mono_ms = clock_mono_ms() + (pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
}

static void end_build(struct entry *entry, const struct err *err)
{
	if (entry->err.kind == ERR_NONE)
		entry->err = *err;
	workspace_end(entry->workspace);
}

static void on_saved(void *ctx)
{
	struct entry *entry = ctx;

	entry->is_saved = true;
	workspace_end(entry->workspace);
}

static void on_fault(void *ctx, const char *field, const struct err *err)
{
	(void)field;
	end_build(ctx, err);
}

static void on_over(void *ctx, enum workspace_over over)
{
	struct err err;

	(void)over;
	(void)err_set(&err, ERR_BUSY, ETIME, "it was not saved in time");
	end_build(ctx, &err);
}

static void on_key_destroyed(void *ctx)
{
	(void)ctx; /* it never had one */
}

/* Its VM is dead: nobody else can write there. */
static int seal(struct entry *entry, struct template *template, struct err *err)
{
	struct workspace *workspace = entry->workspace;
	int r;

	memcpy(template->image, entry->image, sizeof(template->image));
	template->shape = entry->shape;
	template->shape.image = template->image;
	template->memory_fd = take_fd(&workspace->saved.memory_fd);
	template->state_fd = take_fd(&workspace->saved.state_fd);
	template->build_id = workspace->saved.build_id;
	template->boot_ms = workspace->took.boot_ms > 0 ? (uint64_t)workspace->took.boot_ms : 0;
	if (workspace->is_vm_left)
		return err_set(err, ERR_HOST, EBUSY, "its microVM could not be ended");
	r = sealed_memory_seal(template->memory_fd, err);
	return r < 0 ? r : sealed_memory_seal(template->state_fd, err);
}

static void take_template(struct entry *entry)
{
	struct templates *templates = entry->of;
	struct template *template = calloc(1, sizeof(*template));

	if (!template) {
		(void)err_set(&entry->err, ERR_HOST, ENOMEM, "a template");
		return;
	}
	templates->count.kept_mib += entry->shape.memory_mib;
	if (seal(entry, template, &entry->err) < 0) {
		free_template(templates, template);
		return;
	}
	entry->template = template;
	entry->state = ENTRY_READY;
	entry->n_failures = 0;
	templates->count.ready++;
	templates->count.built++;
	log_info("template.ready", "image=%s cpus=%u memory_mib=%u disk_mib=%u boot_ms=%llu kept_mib=%llu", SHAPE_OF(entry),
		 (unsigned long long)template->boot_ms, (unsigned long long)templates->count.kept_mib);
}

static void on_gone(void *ctx)
{
	struct entry *entry = ctx;
	struct templates *templates = entry->of;

	templates->building = NULL;
	templates->count.building = 0;
	templates->count.kept_mib -= entry->shape.memory_mib; /* of the build */
	entry->state = ENTRY_WANTED;
	if (entry->is_saved && !templates->is_draining)
		take_template(entry);
	workspace_free(TAKE_PTR(entry->workspace));
	if (entry->state == ENTRY_READY || templates->is_draining)
		return;
	templates->count.failed++;
	put_off(entry);
	log_warn("template.failed", "image=%s cpus=%u memory_mib=%u disk_mib=%u tries=%u message=\"%s\"", SHAPE_OF(entry),
		 entry->n_failures, entry->err.msg);
}

static const struct workspace_events events = { .on_ready = on_saved,
						.on_fault = on_fault,
						.on_over = on_over,
						.on_key_destroyed = on_key_destroyed,
						.on_gone = on_gone };

static void fill_plan(struct entry *entry)
{
	entry->plan = (struct workspace_plan){ .image = entry->shape.image,
					       .cpus = entry->shape.cpus,
					       .memory_mib = entry->shape.memory_mib,
					       .disk_mib = entry->shape.disk_mib,
					       .ttl_ms = entry->of->config.workspaces->boot_ms + BUILD_SLACK_MS,
					       .start = WORKSPACE_START_TEMPLATE,
					       .has_no_lease = true,
					       .owner_id = "template" };
}

/* False: not now. */
static bool begin(struct templates *templates, struct entry *entry)
{
	const struct workspace_host *host = templates->config.workspaces;
	struct reservation reservation;

	if (admission_ask_idle(host->admission, &entry->shape, &reservation) != ADMISSION_VERDICT_ADMITTED)
		return false;
	fill_plan(entry);
	entry->workspace = workspace_new(host, &entry->plan, &reservation, &events, entry);
	if (!entry->workspace) {
		admission_return(host->admission, &reservation);
		return false;
	}
	entry->is_saved = false;
	entry->err = (struct err){ .kind = ERR_NONE };
	entry->state = ENTRY_BUILDING;
	templates->building = entry;
	templates->count.building = 1;
	templates->count.kept_mib += entry->shape.memory_mib;
	workspace_begin(entry->workspace);
	return true;
}

/* For one that was asked for twice, those go that were not asked for as long. */
static bool make_room(struct templates *templates, const struct entry *entry)
{
	uint64_t budget_mib = templates->config.memory_mib, mib = entry->shape.memory_mib;
	struct entry *oldest;

	if (mib > budget_mib)
		return false;
	while (templates->count.kept_mib + mib > budget_mib) {
		oldest = entry->n_asked > 1 ? oldest_of(templates, ENTRY_READY) : NULL;
		if (!oldest || oldest->asked_mono_ms > entry->asked_mono_ms)
			return false;
		templates->count.evicted++;
		forget(templates, oldest);
	}
	return true;
}

static bool is_due(const struct entry *entry, uint64_t now_mono_ms)
{
	if (entry->state != ENTRY_WANTED || now_mono_ms < entry->not_before_mono_ms)
		return false;
	if (entry->n_asked == 0) /* only expected: when there is nothing else to do */
		return admission_count(entry->of->config.workspaces->admission).active == 0;
	return now_mono_ms - entry->asked_mono_ms < WANTED_MS;
}

static void build_next(struct templates *templates, uint64_t now_mono_ms)
{
	struct entry *entry;

	if (templates->building || templates->is_draining)
		return;
	for (entry = TAILQ_FIRST(&templates->entries); entry; entry = TAILQ_NEXT(entry, link)) {
		if (is_due(entry, now_mono_ms) && make_room(templates, entry)) {
			(void)begin(templates, entry); /* else at the next tick */
			return;
		}
	}
}

/* --- what others ask --- */

struct template *templates_take(struct templates *templates, const struct shape *shape)
{
	struct entry *entry = templates && !templates->is_draining ? ask(templates, shape) : NULL;

	if (!entry)
		return NULL;
	entry->n_asked++;
	if (entry->state != ENTRY_READY) {
		templates->count.missing++;
		return NULL;
	}
	templates->count.lent++;
	entry->template->n_users++;
	return entry->template;
}

void templates_put(struct templates *templates, struct template *template)
{
	const struct entry *entry;

	assert(template->n_users > 0);
	if (--template->n_users > 0)
		return;
	TAILQ_FOREACH(entry, &templates->entries, link)
		if (entry->template == template)
			return;
	free_template(templates, template);
}

void templates_expect(struct templates *templates, const struct shape *shape)
{
	if (templates && !templates->is_draining)
		(void)ask(templates, shape);
}

void templates_failed(struct templates *templates, struct template *template, const struct err *err)
{
	struct entry *entry;

	templates->count.fallbacks++;
	templates->count.stale += err->errnum == ESTALE;
	for (entry = TAILQ_FIRST(&templates->entries); entry; entry = TAILQ_NEXT(entry, link)) {
		if (entry->template != template)
			continue;
		give_up(templates, entry);
		if (err->errnum != ESTALE)
			put_off(entry);
		log_warn("template.dropped", "image=%s cpus=%u memory_mib=%u disk_mib=%u message=\"%s\"", SHAPE_OF(entry), err->msg);
		return;
	}
}

/* One at a time: the next look may be a better one. */
static void relieve(struct templates *templates)
{
	struct entry *oldest = oldest_of(templates, ENTRY_READY);

	if (!oldest || !admission_is_pressed(templates->config.workspaces->admission))
		return;
	templates->count.evicted++;
	forget(templates, oldest);
}

void templates_tick(struct templates *templates, uint64_t now_mono_ms)
{
	if (!templates)
		return;
	relieve(templates);
	build_next(templates, now_mono_ms);
	if (templates->building)
		workspace_tick(templates->building->workspace, now_mono_ms);
}

void templates_give_way(struct templates *templates, const struct shape *shape)
{
	const struct reservation *held;
	struct err err;

	if (!templates || !templates->building || templates->building->is_saved)
		return; /* or it is over in a moment */
	held = &templates->building->workspace->reservation;
	if (!admission_would_fit(templates->config.workspaces->admission, shape, held->memory_mib, held->disk_mib))
		return;
	(void)err_set(&err, ERR_BUSY, 0, "a task needs its memory");
	end_build(templates->building, &err);
}

void templates_drain(struct templates *templates)
{
	struct entry *entry, *next;

	if (!templates || templates->is_draining)
		return;
	templates->is_draining = true;
	log_info("template.count", "built=%llu failed=%llu evicted=%llu stale=%llu lent=%llu missing=%llu fallbacks=%llu",
		 (unsigned long long)templates->count.built, (unsigned long long)templates->count.failed,
		 (unsigned long long)templates->count.evicted, (unsigned long long)templates->count.stale,
		 (unsigned long long)templates->count.lent, (unsigned long long)templates->count.missing,
		 (unsigned long long)templates->count.fallbacks);
	if (templates->building)
		workspace_end(templates->building->workspace);
	for (entry = TAILQ_FIRST(&templates->entries); entry; entry = next) {
		next = TAILQ_NEXT(entry, link);
		if (entry->state != ENTRY_BUILDING)
			forget(templates, entry);
	}
}

struct templates_count templates_count(const struct templates *templates)
{
	return templates ? templates->count : (struct templates_count){ 0 };
}

struct templates *templates_new(const struct templates_config *config)
{
	struct templates *templates = calloc(1, sizeof(*templates));

	if (!templates)
		return NULL;
	templates->config = *config;
	TAILQ_INIT(&templates->entries);
	return templates;
}

void templates_free(struct templates *templates)
{
	if (!templates)
		return;
	assert(!templates->building);
	while (!TAILQ_EMPTY(&templates->entries))
		forget(templates, TAILQ_FIRST(&templates->entries));
	assert(templates->count.kept_mib == 0);
	free(templates);
}

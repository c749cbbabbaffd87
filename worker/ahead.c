#include "worker/ahead.h"

#include "host/disk/disk.h"
#include "host/images.h"
#include "worker/job.h"
#include "worker/pool.h"
#include "worker/settings.h"
#include "worker/templates.h"
#include "worker/workspace/backend.h"

#define EXPECTED_MAX 16 /* images for which a template is made before anybody asks */

static bool may_clone(const struct job_services *services, const struct settings *settings)
{
	return settings->clones && services->workspaces.backend->starts[WORKSPACE_START_CLONE].stages;
}

int ahead_open(struct job_services *services, const struct settings *settings, void (*on_room)(void *ctx), void *ctx, struct err *err)
{
	const struct templates_config templates = { .workspaces = &services->workspaces, .memory_mib = settings->template_memory_mib };
	struct pool_config pool = { .workspaces = &services->workspaces,
				    .max = (uint32_t)settings->pool_max,
				    .memory_mib = settings->pool_memory_mib,
				    .age_ms = settings->pool_age_ms,
				    .on_room = on_room,
				    .ctx = ctx };
	bool has_pool = settings->pool_max && services->workspaces.backend->control, has_templates = may_clone(services, settings);

	services->workspaces.held_vms = held_vms_new(settings->lease_ms);
	pool.templates = services->templates = has_templates ? templates_new(&templates) : NULL;
	services->pool = has_pool ? pool_new(&pool) : NULL;
	if (!services->workspaces.held_vms || (has_templates && !services->templates) || (has_pool && !services->pool))
		return err_set(err, ERR_HOST, ENOMEM, "what is made ahead of tasks");
	return 0;
}

/* What tasks most likely ask for: an image of this host, and nothing else. The first ones are built first. */
static void expect_templates(const struct job_services *services)
{
	static char images[EXPECTED_MAX][IDENT_IMAGE_MAX + 1];
	struct shape shape = { .cpus = TASK_DEFAULT_CPUS,
			       .memory_mib = shape_memory_class_mib(TASK_DEFAULT_MEMORY_MIB),
			       .disk_mib = disk_size_class_mib(TASK_DEFAULT_DISK_MIB) };
	size_t n = services->templates ? images_list(services->workspaces.place, images, EXPECTED_MAX) : 0;

	while (n-- > 0) {
		shape.image = images[n];
		templates_expect(services->templates, &shape);
	}
}

void ahead_join(struct job_services *services)
{
	held_vms_set_leases(services->workspaces.held_vms, services->leases);
	expect_templates(services);
}

void ahead_tick(struct job_services *services, uint64_t now_mono_ms)
{
	held_vms_tick(services->workspaces.held_vms, now_mono_ms);
	templates_tick(services->templates, now_mono_ms);
	pool_tick(services->pool, now_mono_ms);
}

void ahead_drain(struct job_services *services)
{
	pool_drain(services->pool);
	templates_drain(services->templates);
}

bool ahead_is_idle(const struct job_services *services)
{
	const struct pool_count pool = pool_count(services->pool);

	return pool.making + pool.ready + pool.lent + pool.ending + templates_count(services->templates).building == 0;
}

void ahead_close(struct job_services *services)
{
	pool_free(services->pool);
	templates_free(services->templates);
	held_vms_free(services->workspaces.held_vms);
}

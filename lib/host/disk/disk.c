#include "host/disk/disk.h"

#include <assert.h>

#include "base/own.h"
#include "host/disk/form.h"

static const struct disk_form_ops *const forms[] = { [DISK_FORM_LUKS1] = &disk_form_luks1 };
static_assert(ARRAY_SIZE(forms) == DISK_FORM_COUNT, "a row for every form");

unsigned disk_file_mib(enum disk_form form, unsigned disk_mib)
{
	unsigned overhead = forms[form]->overhead_mib;

	return overhead ? disk_size_class_mib(disk_mib) + overhead : 0;
}

int disk_format(const struct host_place *place, enum disk_form form, const char *vm_id, unsigned disk_mib, struct drive *ret,
		struct err *err)
{
	unsigned mib = disk_size_class_mib(disk_mib);

	if (!mib)
		return err_set(err, ERR_INPUT, 0, "disk_mib: %u MiB is more than the largest disk, %d", disk_mib, DISK_LARGEST_MIB);
	return forms[form]->format(place, vm_id, mib, ret, err);
}

int disk_destroy_key(const struct host_place *place, const char *vm_id, bool *ret_is_gone, struct err *err)
{
	int result = 0;

	*ret_is_gone = false;
	for (size_t i = DISK_FORM_NONE + 1; i < ARRAY_SIZE(forms); i++) {
		bool is_gone = false;
		int r = forms[i]->destroy_key(place, vm_id, &is_gone, err);

		result = r < 0 ? r : result;
		*ret_is_gone |= is_gone;
	}
	*ret_is_gone &= result == 0;
	return result;
}

int disk_erase(const struct host_place *place, const char *vm_id, struct err *err)
{
	int result = 0;

	for (size_t i = DISK_FORM_NONE + 1; i < ARRAY_SIZE(forms); i++) {
		int r = forms[i]->erase(place, vm_id, err);

		result = r < 0 ? r : result;
	}
	return result;
}

int disk_each(const struct host_place *place, int (*visit)(void *ctx, const char *vm_id), void *ctx, struct err *err)
{
	int r = 0;

	for (size_t i = DISK_FORM_NONE + 1; i < ARRAY_SIZE(forms) && r == 0; i++)
		r = forms[i]->each(place, visit, ctx, err);
	return r;
}

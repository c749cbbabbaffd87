#include "base/caps.h"

#include <errno.h>
#include <sys/prctl.h>

int caps_drop_bounding(void)
{
	int cap = 0;

	for (; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	return errno == EINVAL && cap > 0 ? 0 : -EPERM; /* EINVAL: past this kernel's last one, which is not our headers' */
}

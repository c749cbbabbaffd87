#!/usr/bin/python3
"""A hundred boots on a busy host: none hangs. MAYFLY_BOOTS sets another count."""
import os
import re
import subprocess
import unittest

from case import EndToEnd

BOOTS = int(os.environ.get("MAYFLY_BOOTS", "100"))


class Boots(EndToEnd):
    def test_none_hangs_under_load(self):
        fleet = self.fleet(slots=3, boot_ms=60000)
        fleet.start_worker()
        load = subprocess.Popen(["stress-ng", "--cpu", "2", "--vm", "1", "--vm-bytes", "64M", "--quiet"], stdin=subprocess.DEVNULL)
        try:
            ids = [fleet.submit(argv=["/bin/true"], disk_mib=16, memory_mib=128) for _ in range(BOOTS)]
            found = self.assert_each_told_once(fleet, ids, 900)
            self.assertIsNone(load.poll(), "the load ended before the last boot did")
        finally:
            load.terminate()
            load.wait()
        outcomes = [r[0]["outcome"] for r in found.values()]
        self.assertEqual(outcomes, ["succeeded"] * BOOTS)
        # A boot that hung would have been ended by the watchdog and tried again: that is in the log, and counts as a hang.
        self.assertEqual(re.findall(r"job\.fault .*", fleet.log()), [])
        boots = sorted(r[0]["timings_ms"]["boot"] for r in found.values())
        restarts = fleet.log().count("vm.restart")
        print(f"{BOOTS} boots under load: median {boots[BOOTS // 2]} ms, longest {boots[-1]} ms, 0 hung, "
              f"{restarts} kernels started over")


if __name__ == "__main__":
    unittest.main(verbosity=2)

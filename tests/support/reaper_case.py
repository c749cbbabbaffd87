"""What tests of the reaper start from: leases as a worker leaves them, a disk's file, a control group with a process in it."""
import atexit
import functools
import os
import subprocess
import time
import unittest
import uuid

from confluent_kafka.admin import AdminClient, NewTopic
from stack import BUILD, Fleet, Services, tell_story_of, wait_until

LEASE_MS = 2000
GRACE_MS = 500
HOUR_MS = 3600 * 1000
CONTROLLERS = ("memory", "pids", "cpu")


@functools.cache
def shared_services():
    services = Services()
    atexit.register(services.__exit__)
    services.__enter__()
    # Nothing is reaped within lease + grace of Redis's start; wait that out once for all tests.
    wait_until("Redis is up for a while", lambda: uptime_ms(services) > LEASE_MS + GRACE_MS)
    return services


def uptime_ms(of):
    text = subprocess.run(["redis-cli", "-p", str(of.redis_port), "INFO", "server"], capture_output=True, text=True, check=True)
    return int(text.stdout.split("uptime_in_seconds:")[1].split()[0]) * 1000


def cgroup_roots():
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return ["/sys/fs/cgroup"]
    return [f"/sys/fs/cgroup/{controller}" for controller in CONTROLLERS]


class ReaperCase(unittest.TestCase):
    """A fleet of its own for each test, with no worker; Kafka and Redis are shared by all tests of the process."""

    @classmethod
    def setUpClass(cls):
        cls.services = shared_services()

    def setUp(self):
        self.fleet = Fleet(self.services, lease_ms=LEASE_MS, grace_ms=GRACE_MS)
        self.sleepers = []
        self.offset = 0
        self.vm_ids = {}  # task -> what its objects are named by
        for kind in ("tasks", "results"):
            self.make_topic(kind)

    def tearDown(self):
        tell_story_of(self, self.fleet)
        self.fleet.close()
        for sleeper in self.sleepers:
            sleeper.kill()
            sleeper.wait()
        for root in cgroup_roots():
            parent = os.path.join(root, "mayfly." + self.fleet.name)
            for name in os.listdir(parent) if os.path.isdir(parent) else ():
                if os.path.isdir(os.path.join(parent, name)):
                    os.rmdir(os.path.join(parent, name))
            if os.path.isdir(parent):
                os.rmdir(parent)

    def make_topic(self, kind):
        admin = AdminClient({"bootstrap.servers": self.services.brokers})
        for future in admin.create_topics([NewTopic(self.fleet.topic(kind), 2, 1)]).values():
            future.result(30)

    def redis(self, *args):
        return self.services.redis_command(*args)

    def key(self, task_id):
        return f"{self.fleet.name}:{{mayfly}}:lease:{task_id}"

    @property
    def deadlines(self):
        return f"{self.fleet.name}:{{mayfly}}:deadlines"

    def now_ms(self):
        seconds, micros = self.redis("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def new_id(self):
        return "task-" + uuid.uuid4().hex[:12]

    def vm_id(self, task_id):
        return self.vm_ids.setdefault(task_id, str(uuid.uuid4()))

    def vm_table(self, host=None):
        return f"{self.fleet.name}:{{mayfly}}:vms:{host or self.fleet.name}"

    def entry(self, task_id, host=None):
        """In the VM table, as a renewal writes it."""
        self.redis("HSET", self.vm_table(host), self.vm_id(task_id), task_id)

    def lease(self, task_id=None, state="running", owner="w1.dead", attempt=1, host=None, due_in_ms=None,
              expires_in_ms=HOUR_MS, partition=0, offset=None):
        """A lease as a worker or reaper writes it, with its entry in the VM table; by default it ends one lease from now."""
        task_id = task_id or self.new_id()
        if offset is None:
            offset, self.offset = self.offset, self.offset + 1
        now = self.now_ms()
        due = now + (LEASE_MS if due_in_ms is None else due_in_ms)
        self.redis("SET", self.key(task_id),
                   f"{state} {owner} {now * 1000} {attempt} {host or self.fleet.name} 0 {now + expires_in_ms} "
                   f"{self.fleet.topic('tasks')} {partition} {offset} - - {'0' * 32} {self.vm_id(task_id)} -")
        self.redis("ZADD", self.deadlines, due, task_id)
        self.entry(task_id, host)
        return task_id

    def state(self, task_id):
        line = self.redis("GET", self.key(task_id))
        return line.split(" ")[0] if line else None

    def states(self, ids):
        """At one moment."""
        return [line.split(" ")[0] if line else None for line in self.redis("MGET", *map(self.key, ids))]

    def until_ms(self, end_ms, look):
        """Look again and again, and answer all that was seen before `end_ms` of Redis's clock."""
        seen = []
        while True:
            sight = look()
            if self.now_ms() >= end_ms:
                return seen
            seen.append(sight)
            time.sleep(0.05)

    def wait_state(self, task_id, *states):
        wait_until(f"{task_id} is {states} (it is {self.state(task_id)})\n{self.fleet.log()[-1500:]}",
                   lambda: self.state(task_id) in states)

    def make_objects(self, task_id):
        with open(self.disk(task_id), "wb") as f:
            f.write(os.urandom(1 << 20))
        sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        self.sleepers.append(sleeper)
        for group in self.group_paths(task_id):
            os.makedirs(group)
            with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write(str(sleeper.pid))
        return sleeper

    def disk(self, task_id):
        return os.path.join(self.fleet.state, "scratch", self.vm_id(task_id) + ".luks")

    def group_paths(self, task_id):
        return [os.path.join(root, "mayfly." + self.fleet.name, "vm-" + self.vm_id(task_id)) for root in cgroup_roots()]

    def groups(self, task_id):
        return [path for path in self.group_paths(task_id) if os.path.isdir(path)]

    def objects(self, task_id, sleeper):
        return os.path.exists(self.disk(task_id)), bool(self.groups(task_id)), sleeper.poll() is None

    def assert_objects(self, task_id, sleeper, are_there):
        self.assertEqual(self.objects(task_id, sleeper), (are_there,) * 3)

    def one_result(self, task_id, outcome):
        wait_until(f"{task_id} is told\n{self.fleet.log()[-1500:]}", lambda: self.state(task_id) == "told")
        result, = self.fleet.told()[task_id]
        self.assertEqual((result["outcome"], result["ran"]), (outcome, "unknown"))
        return result

    def commit(self, partition, next_offset, metadata=None):
        """What workers commit in their transactions."""
        subprocess.run([os.path.join(BUILD, "tests", "component", "commit_position"), self.services.brokers, self.fleet.name,
                        self.fleet.topic("tasks"), str(partition), str(next_offset), *([metadata] if metadata else [])],
                       check=True, timeout=60)

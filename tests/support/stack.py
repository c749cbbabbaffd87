#!/usr/bin/python3
"""A private stack for tests: real Kafka, real redis-server, our worker and reaper, on free loopback ports.

Broker and Redis are started once and shared (class Services, a context manager); every test makes its own Fleet on them:
its own topic prefix, group, host name and state folder, so that nothing of one test is seen by another. Whatever is started
is ended by its pid.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import audit
import msgpack
import processes
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition, OFFSET_BEGINNING
from daemon_logs import DaemonLogs
from ports import claim_ports, is_listening

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARTIFACTS = os.environ.get("MAYFLY_STATE", os.path.join(REPO, ".mayfly"))
BUILD = os.path.abspath(os.environ.get("MAYFLY_BUILD", os.path.join(REPO, "build", "dev")))
ENGINE_UID = 64200
SANITIZERS = ("ERROR: AddressSanitizer", "LeakSanitizer", "runtime error:")


def wait_until(what, check, seconds=60, step=0.05):
    """Poll `check` until it answers something true; the limit is a safety net, never a measure of speed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = check()
        if answer:
            return answer
        time.sleep(step)
    raise AssertionError(f"did not happen in {seconds} s: {what}")


KAFKA_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=3000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""


class Services:
    """Kafka and Redis. `directory` keeps their data and logs and is removed at the end."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="mayfly-services.")
        self.kafka_port = claim_ports(3)
        self.controller_port, self.redis_port = self.kafka_port + 1, self.kafka_port + 2
        self.kafka = self.redis = None
        self.data = os.path.join(self.directory, "kafka")

    @property
    def brokers(self):
        return f"127.0.0.1:{self.kafka_port}"

    def _java(self, *args, log):
        libs = os.path.join(ARTIFACTS, "kafka", "libs")
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        here = ["-XX:-UsePerfData", f"-Djava.io.tmpdir={self.directory}"]  # no files in /tmp
        return subprocess.Popen(["java", "-Xmx512m", quiet, *here, "-cp", f"{libs}/*", *args], stdin=subprocess.DEVNULL,
                                stdout=log, stderr=log, cwd=self.directory)

    def properties(self):
        return KAFKA_PROPERTIES.format(port=self.kafka_port, controller=self.controller_port, data=self.data)

    def format_args(self):
        """What Kafka's storage is to hold from the beginning."""
        return []

    def start_kafka(self):
        properties = os.path.join(self.directory, "server.properties")
        with open(os.path.join(self.directory, "kafka.log"), "ab") as log:
            if not os.path.exists(properties):
                with open(properties, "w", encoding="ascii") as f:
                    f.write(self.properties())
                made = self._java("kafka.tools.StorageTool", "format", "-t", "bWF5Zmx5LXRlc3QtMDAwMQ", "-c", properties,
                                  *self.format_args(), log=log)
                assert made.wait(60) == 0, "formatting Kafka's storage failed: " + self.kafka_log()
            self.kafka = self._java("kafka.Kafka", properties, log=log)
        wait_until("Kafka listens", lambda: is_listening(self.kafka_port) or self._fail_if_dead())

    def _fail_if_dead(self):
        assert self.kafka.poll() is None, "Kafka ended: " + self.kafka_log()

    def kafka_log(self):
        with open(os.path.join(self.directory, "kafka.log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def start_redis(self):
        self.redis = subprocess.Popen(
            ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--maxmemory-policy", "noeviction", "--dir", self.directory],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("Redis listens", lambda: is_listening(self.redis_port))

    def redis_command(self, *args):
        out = subprocess.run(["redis-cli", "-p", str(self.redis_port), "--json", *map(str, args)], capture_output=True,
                             check=True, text=True, timeout=30)
        return json.loads(out.stdout)

    def __enter__(self):
        try:
            self.start_redis()
            self.start_kafka()
        except BaseException:  # an interrupt, too: nothing is left running
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in (self.kafka, self.redis):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Fleet:
    """Our own processes and a client's view of their topics."""

    def __init__(self, services, **settings):
        self.services = services
        self.name = "t" + uuid.uuid4().hex[:10]
        self.state = tempfile.mkdtemp(prefix="mayfly-state.")
        os.chmod(self.state, 0o755)
        for part in ("images", "kernel", "jail", "blank", "accel"):
            source = os.path.join(ARTIFACTS, part)
            if part == "blank":
                os.makedirs(source, exist_ok=True)
            os.symlink(source, os.path.join(self.state, part))
        os.makedirs(os.path.join(self.state, "scratch"))
        self.lease_ms = settings.pop("lease_ms", 4000)
        self.grace_ms = settings.pop("grace_ms", 2000)
        self.settings = settings
        self.processes = []
        self.logs = DaemonLogs()
        self.producer = Producer({"bootstrap.servers": services.brokers, "enable.idempotence": True, "linger.ms": 0})

    def topic(self, kind):
        return f"{self.name}.{kind}"

    def _common(self):
        return {"brokers": self.services.brokers, "topic_prefix": self.name, "group": self.name,
                "redis_host": "127.0.0.1", "redis_port": self.services.redis_port, "host": self.name,
                "state_dir": self.state, "libexec_dir": os.path.join(BUILD, "jail"), "lease_ms": self.lease_ms,
                "engine_uid": ENGINE_UID, "log_level": "debug", "max_attempts": 3}

    def _start(self, kind, values):
        path = os.path.join(self.state, f"{kind}-{len(self.processes)}.conf")
        with open(path, "w", encoding="ascii") as f:
            f.writelines(f"{key} = {value}\n" for key, value in values.items())
        return self.launch(kind, os.path.join(BUILD, kind, "mayfly-" + kind), "--config", path)

    def launch(self, kind, *command):
        """A daemon: it leads a session of its own, and `process.log` is what it says."""
        path = os.path.join(self.state, f"{kind}-{len(self.processes)}.log")
        with open(path, "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        process.log = self.logs.add(path)
        self.processes.append(process)
        return process

    def _await_sign(self, process, sign):
        """Of a daemon that is up: it says so itself."""
        wait_until(f"{process.log.path} has{sign}", lambda: sign in process.log.text() or self._fail_if_dead(process))

    def start_worker(self, name="w1", wait=True, **settings):
        """`wait`: until it owns partitions."""
        values = {**self._common(), "worker": f"{self.name}-{name}", "allow_emulation": "yes", "slots": 2, "memory_mib": 4096,
                  "disk_mib": 8192, "partitions": 2, "clones": "no", **self.settings, **settings}
        process = self._start("worker", values)
        if wait:
            self._await_sign(process, " intake.assigned ")
        return process

    @contextlib.contextmanager
    def kept_running(self, name, process):
        """A worker that ends is started again, as its service manager would."""
        over = threading.Event()

        def keep():
            nonlocal process
            while not over.wait(0.2):
                if process.poll() is not None:
                    process = self.start_worker(name, wait=False)

        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()

    def start_reaper(self, wait=True, **settings):
        """`wait`: until it scans leases, if Redis is there."""
        values = {**self._common(), "grace_ms": self.grace_ms, "scan_ms": 250, "lost_after_ms": 15000, **settings}
        process = self._start("reaper", values)
        if wait:
            self._await_sign(process, " reaper.start owner=")
        return process

    def _fail_if_dead(self, process):
        assert process.poll() is None, f"{process.log.path}: it ended with {process.returncode}:\n" + process.log.text()[-3000:]

    def log(self):
        return self.logs.text()

    @property
    def accel(self):
        """What its worker found microVMs to run on here."""
        return re.search(r" engine\.start .*accel=(\w+)", self.log()).group(1)

    def children(self, process):
        """{'engine': pid, 'disk-lane': pid, 'vmm-lane': pid} of a running worker, by start order."""
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as f:
            pids = sorted(int(p) for p in f.read().split())
        return pids

    def submit(self, raw=None, key=None, **task):
        """One task (its defaults filled in), or raw bytes; answers the id."""
        if raw is None:
            task = {"v": 1, "kind": "run", "id": f"{self.name}-{uuid.uuid4().hex[:8]}", "image": "base", **task}
            task = {k: v for k, v in task.items() if v is not None}
            raw, key = msgpack.packb(task), task.get("id")
        self.producer.produce(self.topic("tasks"), raw, key=key)
        self.producer.poll(0)
        return task.get("id") if task else None

    def flush(self):
        assert self.producer.flush(30) == 0

    def cancel(self, task_id):
        self.producer.produce(self.topic("control"), msgpack.packb(
            {"v": 1, "kind": "cancel", "id": task_id, "created_ms": int(time.time() * 1000)}))
        self.flush()

    def reader(self, kind):
        return Reader(self.services.brokers, self.topic(kind))

    def results(self, ids, seconds=120):
        """{id: [terminal results]} as soon as every id has one; told() counts."""
        self.flush()
        ids = set(ids)
        found = {}
        with self.reader("results") as reader:
            try:
                wait_until(f"results of {len(ids)} tasks", lambda: reader.collect(found) or ids <= found.keys(), seconds)
            except AssertionError as error:
                raise AssertionError(f"{error}\nwithout one: {sorted(ids - found.keys())[:5]} and others, "
                                     f"{len(ids - found.keys())} in all\n{self.story()}") from None
        return found

    def result(self, task_id, seconds=120):
        found = self.results([task_id], seconds)[task_id]
        assert len(found) == 1, f"{len(found)} terminal results for {task_id}: {found}"
        return found[0]

    def told(self):
        """{id: [terminal results]}: all there are. A second one may still come while a lease is left."""
        found = {}
        with self.reader("results") as reader:
            reader.collect(found, reader.to_the_end())
        return found

    def story(self):
        """What became of each process and what it said last, then what all of them said that is not routine, and the last of all."""
        lines = self.log().splitlines(True)
        plain = [line for line in lines if " debug " not in line]
        loud = [line for line in plain if " info " not in line]
        ends = "".join(self._end_of(process) for process in self.processes)
        return ends + "...\n".join("".join(part) for part in (loud[-40:], plain[-60:], lines[-80:]))

    def _end_of(self, process):
        end = process.poll()
        what = f"ended with {end}" if end is not None else f"runs {processes.states(process.pid)}"
        said = process.log.text().splitlines()
        tail = [line for line in said if " debug " not in line][-3:]
        told = f"the last of its lines ({len(said)}):" if said else "it said nothing"
        name = os.path.basename(process.log.path)
        return f"{name}, pid {process.pid}, {what}; {told}\n" + "".join(f"    {line[:200]}\n" for line in tail)

    def disk(self, task_id):
        """Where the disk of its workspace is: named by the workspace's id, which its lease says."""
        line = self.services.redis_command("GET", f"{self.name}:{{mayfly}}:lease:{task_id}")
        return os.path.join(self.state, "scratch", line.split(" ")[13] + ".luks")

    def leftovers(self):
        """What carries this fleet's name on the host or in Redis."""
        return audit.leftovers(self)

    def kill_group(self, *daemons):
        """SIGKILL to daemons and everything in their sessions."""
        for process in daemons:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in daemons:
            process.wait()

    @staticmethod
    def has_stopped_well(process):
        """After SIGTERM: with status 0, or of that signal while it had no engine yet, and so nothing in hand."""
        return process.returncode == 0 or (process.returncode == -signal.SIGTERM and " engine " not in process.log.text())

    def close(self):
        """End what still runs, in order; a leak, a memory error or an end that is none is a failure."""
        running = [process for process in reversed(self.processes) if process.poll() is None]
        for process in running:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill_group(process)
        try:
            self._check_reports()
            failed = [process for process in running if not self.has_stopped_well(process)]
            assert not failed, f"{len(failed)} did not end well after SIGTERM:\n{self.story()}"
        finally:
            self._remove()

    def _check_reports(self):
        """Also of processes that a test has killed."""
        for log in (one.text() for one in self.logs.logs):
            found = [log.index(sign) for sign in SANITIZERS if sign in log]
            assert not found, "a sanitizer's report:\n" + log[max(min(found) - 200, 0):][:5000]

    def _remove(self):
        if os.environ.get("MAYFLY_KEEP"):
            print("kept", self.state)
            return
        shutil.rmtree(self.state, ignore_errors=True)
        for root in audit.CGROUP_ROOTS:
            try:
                os.rmdir(os.path.join(root, "mayfly." + self.name))
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def tell_story_of(test, fleet):
    """If that test has failed: what its fleet did."""
    result = test._outcome.result
    if any(getattr(failed, "test_case", failed) is test for failed, _ in result.failures + result.errors):
        print(f"\n{test.id()} failed; its fleet's story:\n{fleet.story()}", file=sys.stderr)


class Reader:
    """Reads a topic from its beginning, read_committed, outside any group."""

    def __init__(self, brokers, topic):
        self.brokers, self.topic = brokers, topic
        self.consumer = self._consumer("read_committed")
        self.partitions = wait_until(f"topic {topic}", self._partitions)
        self.consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in self.partitions])

    def _consumer(self, isolation):
        return Consumer({"bootstrap.servers": self.brokers, "group.id": "reader-" + uuid.uuid4().hex, "isolation.level": isolation,
                         "enable.auto.commit": False, "enable.partition.eof": True, "fetch.wait.max.ms": 50})

    def _partitions(self):
        found = self.consumer.list_topics(self.topic, timeout=10).topics[self.topic]
        return list(found.partitions) if found.error is None else None

    def messages(self, seconds=0.2):
        """What is there, until there is nothing for so long."""
        while batch := [message for message in self.consumer.consume(500, seconds) if message.error() is None]:
            yield from batch

    def _ends(self):
        """{partition: where it ends}, with what is not committed yet."""
        consumer = self._consumer("read_uncommitted")
        try:
            return {p: consumer.get_watermark_offsets(TopicPartition(self.topic, p), 30)[1] for p in self.partitions}
        finally:
            consumer.close()

    def to_the_end(self, seconds=60):
        """For a fresh reader: all there is, also what is behind a transaction that is still open."""
        ends, limit = self._ends(), time.monotonic() + seconds
        while ends:
            assert time.monotonic() < limit, f"{self.topic}: not read to its end in {seconds} s: {ends}"
            for message in self.consumer.consume(500, 0.2):
                if message.error() is None:
                    yield message
                elif message.error().code() == KafkaError._PARTITION_EOF and message.offset() >= ends.get(message.partition(), 0):
                    ends.pop(message.partition(), None)

    def collect(self, found, messages=None):
        for message in messages or self.messages():
            result = msgpack.unpackb(message.value())
            if result["event"] == "finished":
                found.setdefault(result["id"], []).append(result)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.consumer.close()

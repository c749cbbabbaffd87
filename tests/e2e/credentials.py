#!/usr/bin/python3
"""A cluster with TLS, SASL and ACLs, and a Redis with users: docs/operations.md is what each part is given there, nothing more."""
import collections
import contextlib
import hashlib
import os
import re
import subprocess
import time
import unittest
import unittest.mock

from confluent_kafka.admin import AdminClient, NewTopic

from case import REPO, EndToEnd, wait_until  # first: it says where the next ones are
import kafka_acl
import librdkafka
import processes
from cli import mayfly
from ports import claim_ports, is_listening
from stack import KAFKA_PROPERTIES, Services

REFUSED = 4
TOPICS = {"tasks": 2, "results": 2, "output": 2, "dead": 2, "control": 1}
USERS = ("worker", "reaper", "submitter")
PASSWORD = "correct-horse-battery"
WRONG = "incorrect-horse"
PAGE = os.path.join(REPO, "docs", "operations.md")


def openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True)


class Certificates:
    """An authority, servers and clients that it vouches for, some of them in the past; and another authority."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        for authority in ("ca", "other-ca"):
            openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}", "-keyout",
                    authority + ".key", "-out", authority + ".pem", cwd=folder)
        for name in ("server", "worker", "reaper", "submitter", "stale"):
            self.issue(name, "ca")
        self.issue("stranger", "other-ca")

    def issue(self, name, authority):
        """`stale` ended long ago."""
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", name + ".key", "-out", name + ".csr",
                cwd=self.folder)
        with open(self.path(name + ".ext"), "w", encoding="ascii") as f:
            f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        with open(self.path(authority + ".txt"), "w", encoding="ascii"):
            pass
        with open(self.path("ca.cnf"), "w", encoding="ascii") as f:
            f.write(f"[ca]\ndefault_ca=a\n[a]\ndatabase={authority}.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n"
                    "policy=p\nunique_subject=no\nemail_in_dn=no\n[p]\ncommonName=supplied\n")
        times = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"] if name == "stale" else ["-days", "2"]
        openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", authority + ".pem", "-keyfile", authority + ".key", "-in",
                name + ".csr", "-out", name + ".pem", "-extfile", name + ".ext", *times, cwd=self.folder)
        os.chmod(self.path(name + ".key"), 0o600)
        with open(self.path(name + ".both"), "w", encoding="ascii") as both:
            for part in (".key", ".pem"):
                with open(self.path(name + part), encoding="ascii") as f:
                    both.write(f.read())

    def path(self, name):
        return os.path.join(self.folder, name)


class Guarded(Services):
    """The same broker and Redis behind several doors: plain for the test itself, who may do everything."""

    def __init__(self):
        super().__init__()
        self.scram_port = claim_ports(4)
        self.mutual_port, self.stale_port, self.guarded_redis_port = (self.scram_port + i for i in (1, 2, 3))
        self.certificates = Certificates(os.path.join(self.directory, "certificates"))
        self.guarded_redis = None
        self.socket = os.path.join(self.directory, "redis.sock")

    def properties(self):
        path = self.certificates.path
        ports = {"SCRAM": self.scram_port, "MUTUAL": self.mutual_port, "STALE": self.stale_port}
        text = KAFKA_PROPERTIES.format(port=self.kafka_port, controller=self.controller_port, data=self.data)
        listeners = "".join(f",{name}://127.0.0.1:{port}" for name, port in ports.items())
        text = re.sub(r"(?m)^((?:advertised\.)?listeners=.*)$", lambda m: m.group(1) + listeners, text)
        text = text.replace("CONTROLLER:PLAINTEXT,", "CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,STALE:SSL,")
        text += "inter.broker.listener.name=PLAINTEXT\nsuper.users=User:ANONYMOUS\n" \
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n" \
            "sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN\nssl.principal.mapping.rules=RULE:^CN=([^,]*).*$/$1/\n" \
            "listener.name.mutual.ssl.client.auth=required\n" \
            "listener.name.scram.scram-sha-512.sasl.jaas.config=" \
            "org.apache.kafka.common.security.scram.ScramLoginModule required;\n" \
            "listener.name.scram.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required " + \
            " ".join(f'user_{user}="{PASSWORD}"' for user in USERS) + ";\n"
        for name in ports:
            server = "stale" if name == "STALE" else "server"
            prefix = f"listener.name.{name.lower()}.ssl."
            text += f"{prefix}keystore.type=PEM\n{prefix}keystore.location={path(server + '.both')}\n" \
                f"{prefix}truststore.type=PEM\n{prefix}truststore.location={path('ca.pem')}\n"
        return text

    def format_args(self):
        return [arg for user in USERS for arg in
                ("--add-scram", f"SCRAM-SHA-512=[name={user},password={PASSWORD}]")]

    def start_redis(self):
        super().start_redis()
        with open(os.path.join(self.directory, "users.acl"), "w", encoding="ascii") as f:
            f.write("user default off\nuser test on nopass ~* &* +@all\n")
        os.chmod(self.directory, 0o755)
        self.guarded_redis = subprocess.Popen(
            ["redis-server", "--port", str(self.guarded_redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--maxmemory-policy", "noeviction", "--dir", self.directory, "--aclfile", os.path.join(self.directory, "users.acl"),
             "--unixsocket", self.socket, "--unixsocketperm", "770"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, group=65534)
        wait_until("the guarded Redis listens", lambda: is_listening(self.guarded_redis_port) and os.path.exists(self.socket))

    def acl(self, *args):
        out = subprocess.run(["redis-cli", "-p", str(self.guarded_redis_port), "--user", "test", "--pass", "x", "ACL", *args],
                             capture_output=True, check=True, text=True, timeout=30)
        assert out.stdout.strip() == "OK" or args[0] != "SETUSER", out.stdout + out.stderr

    def __exit__(self, *args):
        if self.guarded_redis and self.guarded_redis.poll() is None:
            self.guarded_redis.kill()
            self.guarded_redis.wait()
        super().__exit__(*args)


def page_rules(role, fleet, worker):
    """The rows of the page's table for one role, with the names of this fleet."""
    with open(PAGE, encoding="utf-8") as f:
        rows = re.findall(r"(?m)^\| (\w+) \| (\w+) \| (\S+) \| (\w+) \| (\w+) \|", f.read())
    names = [("host-1-a.", worker + "."), ("mayfly", fleet.name)]
    rules = []
    for who, resource, name, pattern, operation in rows:
        if who == role:
            for old, new in names:
                if name.startswith(old):
                    name = new + name[len(old):]
                    break
            rules.append((f"User:{role}", resource, name, pattern, operation))
    assert rules, f"{PAGE} has no rows for {role}"
    return rules


def page_redis(role, fleet):
    """The words of the page's ACL rule for one role, but its password."""
    with open(PAGE, encoding="utf-8") as f:
        words = re.search(rf"(?m)^user {role} on #<[^>]*> (.*)$", f.read()).group(1)
    return words.replace("~mayfly:", f"~{fleet.name}:").split()


class Credentials(EndToEnd):
    settings = {"vmm": "null", "allow_null_vmm": "yes", "lease_ms": 3000, "grace_ms": 500}

    @classmethod
    def setUpClass(cls):
        cls.services = Guarded()
        cls.services.__enter__()

    def secret(self, name, text=PASSWORD):
        """A file that root alone may read."""
        path = os.path.join(self.services.directory, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as f:
            f.write(text + "\n")
        return path

    def guarded(self, **settings):
        """A fleet whose topics are made, and which has no right at all yet."""
        rights = []  # taken back when the fleet is closed
        self.addCleanup(lambda: kafka_acl.remove(self.services.kafka_port, rights))
        fleet = self.fleet(**settings)
        fleet.rights = rights
        admin = AdminClient({"bootstrap.servers": self.services.brokers})
        made = admin.create_topics([NewTopic(fleet.topic(kind), n, 1) for kind, n in TOPICS.items()])
        for future in made.values():
            future.result(30)
        return fleet

    def grant(self, fleet, role, but=()):
        """All that the page lists, but those."""
        rules = [rule for rule in page_rules(role, fleet, f"{fleet.name}-w1") if rule not in but]
        return self.allow(fleet, rules)

    def allow(self, fleet, rules):
        kafka_acl.add(self.services.kafka_port, rules)
        fleet.rights += rules
        return rules

    def grant_redis(self, fleet, role, without=None, password=PASSWORD):
        words = page_redis(role, fleet)
        if without:
            words.remove(without)
        self.services.acl("SETUSER", f"{role}-{fleet.name}", "reset", "on", "#" + hashlib.sha256(password.encode()).hexdigest(), *words)

    def scram(self, role, password=PASSWORD, mechanism="SCRAM-SHA-512"):
        return {"brokers": f"127.0.0.1:{self.services.scram_port}", "kafka.security.protocol": "SASL_SSL",
                "kafka.ssl.ca.location": self.services.certificates.path("ca.pem"), "kafka.sasl.mechanism": mechanism,
                "kafka.sasl.username": role, "kafka.sasl.password_file": self.secret(f"{role}.{password}", password)}

    def plain(self, role, password=PASSWORD):
        return self.scram(role, password, "PLAIN")

    def mutual(self, name, ca="ca.pem", port=None):
        path = self.services.certificates.path
        return {"brokers": f"127.0.0.1:{port or self.services.mutual_port}", "kafka.security.protocol": "SSL",
                "kafka.ssl.ca.location": path(ca), "kafka.ssl.certificate.location": path(name + ".pem"),
                "kafka.ssl.key.location": path(name + ".key")}

    def redis(self, fleet, role, password=PASSWORD):
        return {"redis_host": "127.0.0.1", "redis_port": self.services.guarded_redis_port, "redis_user": f"{role}-{fleet.name}",
                "redis_password_file": self.secret(f"redis.{password}", password)}

    def options(self, settings, argv=()):
        """The same for a command."""
        words = []
        for key, value in settings.items():
            words += ["-X", f"{key[6:]}={value}"] if key.startswith("kafka.") else ["--brokers", value] if key == "brokers" else []
        return [*words, *argv]

    def loud(self, fleet, before=0):
        return [line for line in fleet.log()[before:].splitlines() if " error " in line or " warn " in line]

    def assert_told_once(self, fleet, before):
        """Though it goes on to try; librdkafka's own words are its own."""
        time.sleep(4)
        ours = [line for line in self.loud(fleet, before) if " kafka facility=" not in line]
        told = collections.Counter(re.sub(r"\d+", "", line[24:]) for line in ours)
        self.assertNotEqual(told, {})
        self.assertEqual(set(told.values()), {1}, told)

    def assert_refused(self, fleet, kind, settings, *words):
        """It ends with the status for that, and one line of its log says what to mend."""
        before = len(fleet.log())
        process = fleet.start_worker(wait=False, **settings) if kind == "worker" else fleet.start_reaper(wait=False, **settings)
        self.assertEqual(process.wait(60), REFUSED, fleet.log()[before:])
        loud = self.loud(fleet, before)
        self.assertEqual(len(loud), 1, "\n".join(loud))
        self.assert_says(loud[0], words)

    def assert_says(self, line, words):
        """Each word, or what is like each pattern."""
        for word in words:
            self.assertRegex(line, word if isinstance(word, re.Pattern) else re.escape(word))
        for secret in (PASSWORD, WRONG):
            self.assertNotIn(secret, line)

    def assert_command_refused(self, fleet, settings, args, *words):
        out = mayfly(fleet, args[0], *self.options(settings, args[1:]))
        self.assertIn(out.returncode, (1, 2), out)
        self.assertEqual(len(out.stderr.splitlines()), 1, out.stderr.decode())
        self.assert_says(out.stderr.decode(), words)

    def daemon(self, fleet, role, doors, **settings):
        return {**doors(role), **self.redis(fleet, role), **settings}

    def granted(self, *roles, **settings):
        fleet = self.guarded(partitions=2, **settings)
        for role in roles:
            self.grant(fleet, role)
            if role in ("worker", "reaper"):
                self.grant_redis(fleet, role)
        return fleet

    def test_a_guarded_fleet_works_with_what_the_page_lists(self):
        for doors in (self.mutual, self.plain):
            with self.subTest(doors=doors.__name__):
                self.work_behind(doors)

    def test_scram(self):
        """Debian 12's librdkafka cannot do it with Kafka 4; then one that can is put in its place, and this one says so."""
        fleet = self.granted("worker")
        newer = librdkafka.newer()
        if newer:
            self.assert_refused(fleet, "worker", self.daemon(fleet, "worker", self.scram), "SCRAM fails", "(2.6.1 can)")
        with unittest.mock.patch.dict(os.environ, {"LD_LIBRARY_PATH": newer} if newer else {}):
            self.work_behind(self.scram)
            self.assert_refused(fleet, "worker", {**self.redis(fleet, "worker"), **self.scram("worker", WRONG)}, "invalid credentials")

    def work_behind(self, doors):
        fleet = self.granted("worker", "reaper", "submitter", null_run_ms=300)
        self.allow(fleet, [("User:submitter", *rule[1:]) for rule in page_rules("reader", fleet, "")])
        fleet.start_reaper(**self.daemon(fleet, "reaper", doors, lost_after_ms=2000))
        worker = fleet.start_worker(**self.daemon(fleet, "worker", doors, redis_socket=self.services.socket))
        out = mayfly(fleet, "submit", *self.options(doors("submitter"), ["--wait", "--json", "--", "true"]))
        self.assertEqual((out.returncode, out.stderr), (0, b""))
        self.assertIn(b'"succeeded"', out.stdout)
        self.assert_no_secret(fleet, worker)
        task = fleet.submit(argv=["true"])
        fleet.flush()
        wait_until("it runs", lambda: f"id={task} state=running" in fleet.log())
        fleet.kill_group(worker)
        self.assertEqual(fleet.result(task)["outcome"], "lost")
        self.assertNotRegex(fleet.log(), "(?i)authoriz|NOPERM|not let us")

    def assert_no_secret(self, fleet, worker):
        self.assertEqual(self.where_is(PASSWORD, fleet, worker), [])
        self.assertNotEqual(self.where_is(fleet.state, fleet, worker), [])  # what is there is found

    def where_is(self, secret, fleet, worker):
        found = ["log"] if secret in fleet.log() else []
        for pid in [worker.pid, *processes.children(worker.pid)]:
            with open(f"/proc/{pid}/environ", "rb") as f:
                found += [pid for text in (processes.command_line(pid), f.read()) if secret.encode() in text]
        return found

    @contextlib.contextmanager
    def without(self, rule):
        """Until it is given back."""
        kafka_acl.remove(self.services.kafka_port, [rule])
        try:
            yield
        finally:
            kafka_acl.add(self.services.kafka_port, [rule])

    def test_each_right_of_a_daemon_is_needed(self):
        """At its start, but for the one that is about other processes' names. With all of them it starts: see above."""
        for role in ("worker", "reaper"):
            fleet = self.granted(role)
            settings = self.daemon(fleet, role, self.mutual)
            for rule in page_rules(role, fleet, f"{fleet.name}-w1"):
                if role == "reaper" and rule[3] == "prefixed":
                    continue
                with self.subTest(rule=rule), self.without(rule):
                    self.assert_refused(fleet, role, settings, f"'{rule[2]}", "docs/operations.md")

    def test_redis_refuses(self):
        fleet = self.granted("reaper", "worker")
        for role in ("worker", "reaper"):
            kafka = self.mutual(role)
            with self.subTest("password", role=role):
                self.assert_refused(fleet, role, {**kafka, **self.redis(fleet, role, WRONG)}, "Redis", f"{role}-{fleet.name}",
                                    "password")
            with self.subTest("keys", role=role):
                self.grant_redis(fleet, role, without=f"~{fleet.name}:{{mayfly}}:*")
                self.assert_refused(fleet, role, {**kafka, **self.redis(fleet, role)}, "Redis", f"{role}-{fleet.name}", "key")
            # They ask alike, and need the same: every command is taken from one of them. AUTH is for all.
            self.assertEqual(page_redis("worker", fleet), page_redis("reaper", fleet))
            for word in page_redis(role, fleet) if role == "reaper" else ["+zadd"]:
                if word.startswith("+") and word != "+auth":
                    command = re.split(r"[+|]", word)[1]
                    with self.subTest(word, role=role):
                        self.grant_redis(fleet, role, without=word)
                        self.assert_refused(fleet, role, {**kafka, **self.redis(fleet, role)}, "Redis", f"{role}-{fleet.name}",
                                            re.compile(rf"(?i)\b{command}\b"))

    def test_a_right_that_is_taken_away_is_told_once_and_may_come_back(self):
        fleet = self.granted("worker", "reaper", null_run_ms=300)
        reaper_fence = next(rule for rule in page_rules("reaper", fleet, f"{fleet.name}-w1") if rule[3] == "prefixed")
        fleet.start_reaper(**self.daemon(fleet, "reaper", self.mutual, lost_after_ms=2000))
        worker = fleet.start_worker(**self.daemon(fleet, "worker", self.mutual))
        for rule in page_rules("worker", fleet, f"{fleet.name}-w1"):
            if rule[4] == "Write" and not rule[2].endswith((".output", ".dead")):
                with self.subTest(rule=rule):
                    before = len(fleet.log())
                    with self.without(rule):
                        task = fleet.submit(argv=["true"])
                        fleet.flush()
                        wait_until("it is told", lambda: self.loud(fleet, before))
                        self.assert_told_once(fleet, before)
                    self.assertEqual(fleet.result(task)["outcome"], "succeeded")
        task = fleet.submit(argv=["true"])
        fleet.flush()
        with self.without(reaper_fence):
            wait_until("it runs", lambda: f"id={task} state=running" in fleet.log())
            before = len(fleet.log())
            fleet.kill_group(worker)
            wait_until("it is told", lambda: [line for line in self.loud(fleet, before) if fleet.name + "-w1." in line])
            self.assert_told_once(fleet, before)
        self.assertEqual(fleet.result(task)["outcome"], "lost")

    def test_who_is_not_known_is_told_so_once(self):
        fleet = self.granted("worker", "reaper", "submitter")
        refused = {
            "a wrong password": (self.plain("worker", WRONG), "uthentication failed"),
            "an unknown user": ({**self.plain("worker"), "kafka.sasl.username": "nobody"}, "uthentication failed"),
            "a server's certificate that expired": (self.mutual("worker", port=self.services.stale_port), "certificate is not one we trust: it expired"),
            "an authority that we do not trust": (self.mutual("worker", ca="other-ca.pem"), "authority that ssl.ca.location"),
            "our certificate, expired": (self.mutual("stale"), "our certificate: it expired"),
            "our certificate, of another authority": (self.mutual("stranger"), "authority that is not known there"),
        }
        for what, (door, word) in refused.items():
            for role in ("worker", "reaper"):
                with self.subTest(what, role=role):
                    self.assert_refused(fleet, role, {**self.redis(fleet, role), **door}, "Kafka does not let us in", word)
            with self.subTest(what, role="submitter"):
                self.assert_command_refused(fleet, door, ["submit", "--", "true"], "Kafka does not let us in", word)


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/python3
"""docker-compose.yml, its Dockerfile, settings and the systemd units: what tests/e2e/compose.py cannot see, because podman-compose
passes over keys that it does not know, or because the test brings settings of its own. With --self-test:
is each planted mistake caught?"""
import configparser
import os
import re
import sys

import yaml

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVICES = {"kafka", "redis", "worker", "reaper"}
SERVICE_KEYS = {"image", "build", "command", "environment", "volumes", "network_mode", "healthcheck", "restart",
                "privileged", "pid", "cgroup", "stop_grace_period", "ulimits", "pull_policy"}


def read(path):
    with open(os.path.join(REPO, path), encoding="utf-8") as f:
        return f.read()


def with_defaults(text):
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def check_service(name, service, services):
    for key in set(service) - SERVICE_KEYS:
        yield f"{name}: unknown key {key}"
    if service.get("network_mode") != "host":
        yield f"{name}: is not on the host's network, where the others look for it"
    if service.get("pull_policy") == "never":
        if not any("build" in other and other["image"] == service["image"] for other in services.values()):
            yield f"{name}: nobody builds {service['image']}"
    elif "build" not in service and not re.fullmatch(r"docker\.io/[\w./-]+:[\w.-]+", service.get("image", "")):
        yield f"{name}: its image has no registry (podman asks none by itself) or no version"
    if service.get("restart") != "unless-stopped" or not service.get("healthcheck", {}).get("test"):
        yield f"{name}: is not restarted, or has no health check"


def check_host(name, service):
    """What worker and reaper need of the host; podman-compose drops one of these keys, and Docker none."""
    for key, value in (("privileged", True), ("pid", "host"), ("cgroup", "host")):
        if service.get(key) != value:
            yield f"{name}: {key} is not {value}"


def check_compose(text):
    services = yaml.safe_load(with_defaults(text))["services"]
    if set(services) != SERVICES:
        yield f"services are {sorted(services)}"
    if sum("build" in service for service in services.values()) != 1:
        yield "mayfly:local is not built by one service"
    for name, service in services.items():
        yield from check_service(name, service, services)
    for name in {"worker", "reaper"} & set(services):
        yield from check_host(name, services[name])


def check_ports(text):
    """The default ports are those of the mounted settings and of the command's own defaults."""
    kafka, redis = (set(re.findall(r"\$\{MAYFLY_%s_PORT:-(\d+)\}" % what, text)) for what in ("KAFKA", "REDIS"))
    target = read("tools/target.c")
    for ports, setting in ((kafka, "brokers = 127.0.0.1:"), (redis, "redis_port = ")):
        port = "".join(ports)
        if len(ports) != 1 or f"127.0.0.1:{port}" not in target:
            yield f"the ports {sorted(ports)} are not the one that tools/target.c has"
        for path in ("deploy/compose/worker.conf", "deploy/compose/reaper.conf"):
            if f"{setting}{port}\n" not in read(path):
                yield f"{path}: its {setting.split(' ', maxsplit=1)[0]} is not on the port {port} of docker-compose.yml"


def keys_of(path):
    return {line.split("=")[0].strip(" #") for line in read(path).splitlines() if re.match(r"#?[a-z_]+ = ", line)}


def check_conf(path, settings):
    known = set(re.findall(r"^\s*(?:ROW\(\w+, |UINT\(|AUTO\()(\w+),", read(settings), flags=re.M))
    for shared in ("lib/bus/fleet.h", "lib/bus/redis_endpoint.h"):
        known |= set(re.findall(r'CONF_(?:UINT_)?ROW\(of, "(\w+)"', read(shared)))
    for key in keys_of(path) - known:
        yield f"{path}: {key} is no key of {settings}"


def check_unit(path):
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read_string(read(path))
    name = os.path.splitext(os.path.basename(path))[0]
    if not unit["Service"]["ExecStart"].startswith(f"/usr/libexec/mayfly/{name} --config /etc/mayfly/"):
        yield f"{path}: starts {unit['Service']['ExecStart']}"


def check_images(text):
    for image in re.findall(r"^FROM (\S+)", text, flags=re.M):
        if not image.startswith("docker.io/"):
            yield f"deploy/Dockerfile: {image} has no registry, and podman asks none by itself"


def flaws(compose, dockerfile):
    yield from check_compose(compose)
    yield from check_ports(compose)
    yield from check_images(dockerfile)
    for conf, settings in (("deploy/worker.conf", "worker/settings.c"), ("deploy/compose/worker.conf", "worker/settings.c"),
                           ("deploy/reaper.conf", "reaper/settings.c"), ("deploy/compose/reaper.conf", "reaper/settings.c")):
        yield from check_conf(conf, settings)
    for unit in ("deploy/mayfly-worker.service", "deploy/mayfly-reaper.service"):
        yield from check_unit(unit)


def self_test(compose, dockerfile):
    planted = [(compose.replace("healthcheck:", "healthchek:", 1), dockerfile),
               (compose.replace("    restart:", "    depends_on: [redis]\n    restart:", 1), dockerfile),
               (compose.replace("docker.io/apache/kafka:4.1.0", "docker.io/apache/kafka"), dockerfile),
               (compose.replace("docker.io/apache/", "apache/"), dockerfile),
               (compose.replace("network_mode: host", "network_mode: bridge", 1), dockerfile),
               (compose.replace("    cgroup: host\n", "    cgroup: private\n", 1), dockerfile),
               (compose.replace("MAYFLY_REDIS_PORT:-26379", "MAYFLY_REDIS_PORT:-6379"), dockerfile),
               (compose.replace("MAYFLY_KAFKA_PORT:-29092", "MAYFLY_KAFKA_PORT:-9092", 1), dockerfile),
               (compose.replace("pull_policy: never", "build: { context: ., dockerfile: deploy/Dockerfile }", 1), dockerfile),
               (compose, dockerfile.replace("FROM docker.io/library/", "FROM ", 1))]
    missed = [i for i, (a, b) in enumerate(planted) if (a, b) == (compose, dockerfile) or not list(flaws(a, b))]
    print(f"{len(planted)} planted, missed: {missed}")
    return 1 if missed else 0


def main():
    compose, dockerfile = read("docker-compose.yml"), read("deploy/Dockerfile")
    if sys.argv[1:] == ["--self-test"]:
        return self_test(compose, dockerfile)
    found = list(flaws(compose, dockerfile))
    print("\n".join(found) or "sound")
    return 1 if found else 0


sys.exit(main())

#!/usr/bin/python3
"""docker-compose.yml, its Dockerfile and the systemd units: is the syntax sound, and does everything they name exist? With
--self-test: is each planted mistake caught?"""
import configparser
import os
import re
import sys

import yaml

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVICES = {"kafka", "redis", "guest", "worker", "reaper"}
SERVICE_KEYS = {"image", "build", "command", "environment", "ports", "volumes", "healthcheck", "depends_on", "restart",
                "privileged", "pid", "cgroup", "stop_grace_period", "ulimits"}


def read(path):
    with open(os.path.join(REPO, path), encoding="utf-8") as f:
        return f.read()


def exists(path):
    return os.path.exists(os.path.join(REPO, path))


def check_volumes(name, service, volumes):
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith(".") and not exists(source):
            yield f"{name}: {source} does not exist"
        elif source.startswith("/") and not source.startswith("/sys/"):
            yield f"{name}: mounts {source} of the host"
        elif re.fullmatch(r"\w+", source) and source not in volumes:
            yield f"{name}: the volume {source} is not declared"


def check_service(name, service, services, volumes):
    for key in set(service) - SERVICE_KEYS:
        yield f"{name}: unknown key {key}"
    if "build" in service and not exists(service["build"]["dockerfile"]):
        yield f"{name}: {service['build']['dockerfile']} does not exist"
    if "build" not in service and not re.fullmatch(r"[\w./-]+:[\w.-]+", service.get("image", "")):
        yield f"{name}: its image has no version"
    if service.get("restart") != "no" and not service.get("healthcheck", {}).get("test"):
        yield f"{name}: no health check"
    for other, how in service.get("depends_on", {}).items():
        wanted = how.get("condition")
        if other not in services:
            yield f"{name}: depends on {other}, which is no service"
        elif wanted == "service_healthy" and "healthcheck" not in services[other]:
            yield f"{name}: waits for the health of {other}, which has no health check"
    yield from check_volumes(name, service, volumes)


def check_compose(text):
    compose = yaml.safe_load(text)
    services = compose["services"]
    if set(services) != SERVICES:
        yield f"services are {sorted(services)}"
    for name, service in services.items():
        yield from check_service(name, service, services, compose.get("volumes", {}))


def check_dockerfile(text):
    """Every COPY from the tree, and that the build stage gets every room that the top-level CMakeLists.txt enters."""
    copied = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            copied += words[1:-1]
    for path in copied:
        if not exists(path):
            yield f"COPY {path}: does not exist"
    built = re.sub(r"if\(MAYFLY_TESTS\).*?endif\(\)", "", read("CMakeLists.txt"), flags=re.S)
    for room in re.findall(r"add_subdirectory\((\S+)\)", built) + ["cmake"]:
        if not any(room == path or room.startswith(path + "/") for path in copied):
            yield f"the Dockerfile does not copy {room}, which the build enters"


def keys_of(path):
    return {line.split("=")[0].strip(" #") for line in read(path).splitlines() if re.match(r"#?[a-z_]+ = ", line)}


def check_conf(path, settings):
    known = set(re.findall(r"^\s*(?:TEXT|UINT|BOOL)\((\w+),", read(settings), flags=re.M))
    for key in keys_of(path) - known:
        yield f"{path}: {key} is no key of {settings}"


def check_unit(path):
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read_string(read(path))
    name = os.path.splitext(os.path.basename(path))[0]
    if not unit["Service"]["ExecStart"].startswith(f"/usr/libexec/mayfly/{name} --config /etc/mayfly/"):
        yield f"{path}: starts {unit['Service']['ExecStart']}"


def flaws(compose, dockerfile):
    yield from check_compose(compose)
    yield from check_dockerfile(dockerfile)
    for conf, settings in (("deploy/worker.conf", "worker/settings.c"), ("deploy/compose/worker.conf", "worker/settings.c"),
                           ("deploy/reaper.conf", "reaper/settings.c"), ("deploy/compose/reaper.conf", "reaper/settings.c")):
        yield from check_conf(conf, settings)
    for unit in ("deploy/mayfly-worker.service", "deploy/mayfly-reaper.service"):
        yield from check_unit(unit)


def self_test(compose, dockerfile):
    planted = [(compose.replace("./deploy/compose/worker.conf", "./deploy/compose/nothing.conf"), dockerfile),
               (compose.replace("dockerfile: deploy/Dockerfile", "dockerfile: deploy/Nothing"), dockerfile),
               (compose.replace("healthcheck:", "healthchek:", 1), dockerfile),
               (compose.replace("redis: { condition", "rediss: { condition", 1), dockerfile),
               (compose.replace("\n  state:", "\n  stat:"), dockerfile),
               (compose.replace("apache/kafka:4.1.0", "apache/kafka"), dockerfile),
               (compose, dockerfile.replace("COPY jail jail\n", "")),
               (compose, dockerfile.replace("COPY cmake cmake", "COPY cmakes cmake"))]
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

#!/usr/bin/python3
"""docker-compose.yml, its Dockerfile and the systemd units: is the syntax sound, and does everything they name exist? With
--self-test: is each planted mistake caught?"""
import configparser
import glob
import os
import re
import sys

import yaml

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVICES = {"kafka", "redis", "guest", "worker", "reaper"}
SERVICE_KEYS = {"image", "build", "command", "environment", "ports", "volumes", "healthcheck", "depends_on", "restart",
                "privileged", "pid", "cgroup", "stop_grace_period", "ulimits", "pull_policy"}


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


def installed():
    """What the install() rules put below /usr: files, and folders that are put there whole."""
    rule = re.compile(r"install\((TARGETS|FILES|DIRECTORY)\s+(.*?)\s+DESTINATION\s+([\w/]+)", flags=re.S)
    for kind, what, destination in rule.findall(read("tools/CMakeLists.txt")):
        for path in what.split():
            yield f"/usr/{destination}" + ("" if kind == "DIRECTORY" else "/" + os.path.basename(path))


def in_image(path, dockerfile):
    """Is a path below /usr in the image: installed in the build stage, and copied from it?"""
    copied = re.findall(r"^COPY --from=build (\S+) (\S+)$", dockerfile, flags=re.M)
    return path in set(installed()) and any(to == path or path.startswith(to + "/") for _, to in copied)


def words_of(command):
    """The words of a command or a health check, those of a shell's line too."""
    return [word for part in command for word in part.split()]


def check_words(name, service, words, dockerfile):
    targets = {volume.split(":")[1] for volume in service.get("volumes", [])}
    for word in words:
        if word == "mayfly" or word.startswith("/usr/"):
            path = "/usr/bin/mayfly" if word == "mayfly" else word
            if not in_image(path, dockerfile):
                yield f"{name}: {path} is not in the image"
        elif word.startswith("/etc/") and word not in targets:
            yield f"{name}: nothing is mounted at {word}"
    for option, path in zip(words, words[1:]):
        if option == "--config" and path not in targets:
            yield f"{name}: its configuration {path} is not mounted"


def check_readiness(name, service, words):
    """A health check asks after the worker and the group that the mounted configuration names."""
    mounted = [volume.split(":")[0] for volume in service.get("volumes", []) if volume.endswith(".conf:ro")]
    settings = {"group": "mayfly"}
    for path in filter(exists, mounted):
        settings.update(line.strip().split(" = ", 1) for line in read(path).splitlines() if re.match(r"\w+ = ", line))
    for option, value in zip(words, words[1:]):
        key = option.removeprefix("--")
        if key in ("worker", "group") and value != settings.get(key):
            yield f"{name}: its health check asks after the {key} {value}, its configuration says {settings.get(key)}"


def check_commands(services, dockerfile):
    for name, service in services.items():
        if service.get("image") != "mayfly:local":
            continue
        health = words_of(service.get("healthcheck", {}).get("test", []))
        yield from check_words(name, service, words_of(service.get("command", [])) + health, dockerfile)
        yield from check_readiness(name, service, health)
    if sum("build" in service for service in services.values()) != 1:
        yield "mayfly:local is not built by one service"


def check_service(name, service, services, volumes):
    for key in set(service) - SERVICE_KEYS:
        yield f"{name}: unknown key {key}"
    if "build" in service and not exists(service["build"]["dockerfile"]):
        yield f"{name}: {service['build']['dockerfile']} does not exist"
    if service.get("pull_policy") == "never":
        if not any("build" in other and other["image"] == service["image"] for other in services.values()):
            yield f"{name}: nobody builds {service['image']}"
    elif "build" not in service and not re.fullmatch(r"[\w./-]+:[\w.-]+", service.get("image", "")):
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


def check_compose(text, dockerfile):
    compose = yaml.safe_load(text)
    services = compose["services"]
    if set(services) != SERVICES:
        yield f"services are {sorted(services)}"
    for name, service in services.items():
        yield from check_service(name, service, services, compose.get("volumes", {}))
    yield from check_commands(services, dockerfile)
    kafka = services["kafka"]
    if kafka["environment"].get("KAFKA_LOG_DIRS") not in [volume.split(":")[1] for volume in kafka["volumes"]]:
        yield "kafka: its data is not in its volume"


def check_dockerfile(text):
    """Every COPY from the tree, and that the build stage gets every room that the top-level CMakeLists.txt enters."""
    copied = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            copied += words[1:-1]
    for path in re.findall(r"^COPY --from=build (\S+) ", text, flags=re.M):
        if not any(there == path or there.startswith(path + "/") for there in installed()):
            yield f"COPY --from=build {path}: is not installed"
    for path in copied:
        if not glob.glob(os.path.join(REPO, path)):
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
    yield from check_compose(compose, dockerfile)
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
               (compose.replace('"/usr/libexec/mayfly/mayfly-reaper"', '"/usr/libexec/mayfly-reaper"'), dockerfile),
               (compose.replace('"/etc/mayfly/worker.conf"]', '"/etc/mayfly/workers.conf"]'), dockerfile),
               (compose.replace(":/etc/mayfly/reaper.conf:ro", ":/etc/reaper.conf:ro"), dockerfile),
               (compose.replace('"compose-a"', '"compose-b"'), dockerfile),
               (compose.replace('"--group", "mayfly"', '"--group", "others"'), dockerfile),
               (compose.replace("KAFKA_LOG_DIRS", "KAFKA_LOGS"), dockerfile),
               (compose.replace("pull_policy: never", "build: { context: ., dockerfile: deploy/Dockerfile }", 1), dockerfile),
               (compose, dockerfile.replace("COPY --from=build /usr/bin/mayfly /usr/bin/mayfly\n", "")),
               (compose, dockerfile.replace("--from=build /usr/share/mayfly ", "--from=build /usr/share/mayflies ")),
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

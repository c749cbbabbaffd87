#!/usr/bin/python3
"""docker-compose.yml and the Dockerfiles it builds: the syntax, every service's health check, every path that they name. With
--self-test: are planted breaches caught?"""
import os
import re
import sys

import yaml

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVICES = {"kafka", "redis", "worker", "reaper"}


def dockerfile_flaws(path, context, exists):
    with open(path, encoding="utf-8") as f:
        text = f.read().replace("\\\n", " ")
    if not re.search(r"^FROM \S+", text, re.M):
        yield f"{path}: no FROM"
    for line in re.findall(r"^(?:COPY|ADD) (.+)$", text, re.M):
        words = [w for w in line.split() if not w.startswith("--")]
        if "--from=" in line:
            continue
        for source in words[:-1]:
            if not exists(os.path.join(context, source)):
                yield f"{path}: copies '{source}', which is not there"


def compose_flaws(document, exists):
    services = document.get("services", {})
    if not SERVICES <= set(services):
        yield f"services are {sorted(services)}, without {sorted(SERVICES - set(services))}"
    for name, service in services.items():
        is_step = service.get("restart") == "no"  # runs once and ends: its exit status is its health
        if not is_step and not service.get("healthcheck", {}).get("test"):
            yield f"{name}: no health check"
        if not ("image" in service or "build" in service):
            yield f"{name}: neither image nor build"
        for other in service.get("depends_on", {}):
            if other not in services:
                yield f"{name}: depends on '{other}', which is no service"
        build = service.get("build")
        if build:
            context = build if isinstance(build, str) else build.get("context", ".")
            dockerfile = "Dockerfile" if isinstance(build, str) else build.get("dockerfile", "Dockerfile")
            if not exists(os.path.join(context, dockerfile)):
                yield f"{name}: builds '{dockerfile}', which is not there"
            else:
                yield from dockerfile_flaws(os.path.join(REPO, context, dockerfile), context, exists)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0] if isinstance(volume, str) else volume.get("source", "")
            if source.startswith(".") and not exists(source):
                yield f"{name}: mounts '{source}', which is not there"


def in_repo(path):
    return os.path.exists(os.path.join(REPO, path))


def main():
    with open(os.path.join(REPO, "docker-compose.yml"), encoding="utf-8") as f:
        document = yaml.safe_load(f)
    if sys.argv[1:] == ["--self-test"]:
        del document["services"]["kafka"]["healthcheck"]
        document["services"]["worker"].setdefault("volumes", []).append("./no/such/file:/x")
        del document["services"]["redis"]
        return 0 if len(list(compose_flaws(document, in_repo))) >= 3 else 1
    found = list(compose_flaws(document, in_repo))
    print("\n".join(found) or "compose and Dockerfile name what is there")
    return 1 if found else 0


sys.exit(main())

# What docker-compose.yml wants of redis, from Debian's package: for tests only, where no registry of images can be had.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update -q && apt-get install -q -y --no-install-recommends redis-server redis-tools && rm -rf /var/lib/apt/lists/*
USER redis

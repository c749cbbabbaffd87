# What docker-compose.yml wants of apache/kafka, from the jars of tools/kafka/fetch and Debian's Java: for tests only, where no
# registry of images can be had.
FROM docker.io/library/debian:bookworm-slim
# A slim base has no manuals, and Java's package makes links among them.
RUN mkdir -p /usr/share/man/man1 && apt-get update -q && \
	apt-get install -q -y --no-install-recommends openjdk-17-jre-headless && rm -rf /var/lib/apt/lists/*
COPY libs /opt/kafka/libs
COPY run kafka-broker-api-versions.sh /opt/kafka/bin/
RUN install -d -o 1000 -g 1000 /var/lib/kafka/data
USER 1000
VOLUME /var/lib/kafka/data
CMD ["/opt/kafka/bin/run"]

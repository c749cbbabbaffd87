#!/bin/sh
# The jars that are pinned have no BrokerApiVersionsCommand; this one asks a broker, too.
exec java -Xmx128m -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
	-cp '/opt/kafka/libs/*' kafka.admin.ConfigCommand "$@" --describe --entity-type brokers --entity-name 1

#!/usr/bin/python3
"""Submit one task and print its result. usage: submit.py [BROKERS]   (apt: python3-confluent-kafka python3-msgpack)"""
import os
import sys
import time
import uuid

import msgpack
from confluent_kafka import Consumer, Producer, TopicPartition

brokers = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:29092"
prefix = os.environ.get("MAYFLY_PREFIX", "mayfly")  # of the topics' names
results = prefix + ".results"
task = {"v": 1, "kind": "run", "id": str(uuid.uuid4()), "image": "python", "created_ms": int(time.time() * 1000),
        "argv": ["python3", "-c", "import platform; print('hello from', platform.node(), 6 * 7)"],
        "queue_ms": 600_000,    # start within ten minutes or not at all; without it, whenever there is room
        "timeout_ms": 30_000}  # of the program; "ttl_ms" is the life of its whole workspace

# Look at where the results end before submitting, so that ours cannot be missed.
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "unused", "enable.auto.commit": False,
                     "isolation.level": "read_committed"})
partitions = consumer.list_topics(results, 10).topics[results].partitions
consumer.assign([TopicPartition(results, p, consumer.get_watermark_offsets(TopicPartition(results, p))[1])
                 for p in partitions])

producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
producer.produce(prefix + ".tasks", key=task["id"], value=msgpack.packb(task))
if producer.flush(30):
    sys.exit(f"Kafka at {brokers} did not take the task; is it running?")

while True:
    message = consumer.poll(1)
    if message is None or message.error():
        continue
    result = msgpack.unpackb(message.value())
    if result["id"] == task["id"] and result["event"] == "finished":
        break
print(f"{result['outcome']}, exit code {result['exit_code']}, {result['timings_ms'].get('total')} ms")
sys.stdout.buffer.write(result["stdout"]["head"] + result["stdout"]["tail"])  # bytes, as the program wrote them

// Submit one task and print its result. usage: node submit.mjs [BROKERS]   (npm ci installs what it imports)
import { randomUUID } from "node:crypto";
import { decode, encode } from "@msgpack/msgpack";
import { Kafka, logLevel } from "kafkajs";

const brokers = (process.argv[2] ?? "127.0.0.1:29092").split(",");
const prefix = process.env.MAYFLY_PREFIX ?? "mayfly"; // of the topics' names
const kafka = new Kafka({ brokers, clientId: "mayfly-example", logLevel: logLevel.ERROR });
const task = {
  v: 1, kind: "run", id: randomUUID(), image: "python", created_ms: Date.now(),
  argv: ["python3", "-c", "import platform; print('hello from', platform.node(), 6 * 7)"],
  queue_ms: 600_000, // start within ten minutes or not at all; without it, whenever there is room
  timeout_ms: 30_000, // of the program; ttl_ms is the life of its whole workspace
};

// Look at where the results end before submitting, so that ours cannot be missed.
const topic = prefix + ".results";
const [admin, producer] = [kafka.admin(), kafka.producer({ idempotent: true })];
const consumer = kafka.consumer({ groupId: `mayfly-example-${task.id}` }); // reads read_committed by default
await Promise.all([admin.connect(), producer.connect(), consumer.connect()]);
const ends = await admin.fetchTopicOffsets(topic);
await consumer.subscribe({ topic });
const finished = new Promise((resolve, reject) => {
  consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error));
  consumer.run({
    autoCommit: false,
    eachMessage: async ({ message }) => {
      const result = decode(message.value);
      if (result.id === task.id && result.event === "finished") resolve(result);
    },
  });
});
for (const { partition, high } of ends) consumer.seek({ topic, partition, offset: high });

await producer.send({ topic: prefix + ".tasks", messages: [{ key: task.id, value: Buffer.from(encode(task)) }] });
const result = await finished;
console.log(`${result.outcome}, exit code ${result.exit_code}, ${result.timings_ms.total} ms`);
process.stdout.write(Buffer.concat([result.stdout.head, result.stdout.tail])); // bytes, as the program wrote them
await Promise.all([admin.disconnect(), producer.disconnect(), consumer.disconnect()]);

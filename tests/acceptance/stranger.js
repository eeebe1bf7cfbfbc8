// A service of somebody else's, written with Node's `redis` package: does what it is told by lines of JSON on its
// standard input, and answers in lines of JSON. Run as `node stranger.js SOCKET`, with NODE_PATH where the package is.
const { createClient } = require("redis");
const { createInterface } = require("node:readline");

const deeds = {
  add: (client, { stream, fields }) => client.xAdd(stream, "*", fields),
  join: (client, { stream, group }) => client.xGroupCreate(stream, group, "0", { MKSTREAM: true }),
  async read(client, { stream, group, who, count }) {
    const found = await client.xReadGroup(group, who, { key: stream, id: ">" }, { COUNT: count });
    return (found ?? []).flatMap(({ messages }) => messages.map(({ id, message }) => [id, { ...message }]));
  },
  acknowledge: (client, { stream, group, ids }) => client.xAck(stream, group, ids),
};

async function main(path) {
  const client = createClient({ socket: { path, reconnectStrategy: false } });
  await client.connect();
  for await (const line of createInterface({ input: process.stdin })) {
    const { deed, ...words } = JSON.parse(line);
    console.log(JSON.stringify(await deeds[deed](client, words)));
  }
  await client.quit();
}

main(process.argv[2]);

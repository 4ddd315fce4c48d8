// The running stack of the tests: users, the control of its processes, and a link that breaks.

import { randomUUID } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { ChatClient, MemoryStorage } from '../src/index.js';

const { GATEWAY_URL, STACK_CONTROL } = process.env;

/** The reason for which a test is skipped, false if it runs. */
export const withoutStack = !GATEWAY_URL && 'no running stack: eval "$(cargo stack env)"';
export const withoutControl = withoutStack || (!STACK_CONTROL && 'only `cargo stack test` can kill replicas');

export const PASSWORD = 'Test1234!@';
export const api = `${GATEWAY_URL}/api`;

/** A new user who is logged in. `storage` holds the session. */
export async function signUp(name) {
  const storage = new MemoryStorage();
  const chat = new ChatClient({ baseUrl: api, storage });
  const username = `${name}_${randomUUID().slice(0, 8)}`;
  const email = `${username}@example.com`;
  await chat.register({ email, username, password: PASSWORD });
  await chat.login(email, PASSWORD);
  return { chat, storage, username, email };
}

/** Two users and the id of their direct room. */
export async function twoInARoom() {
  const [ann, bob] = await Promise.all([signUp('ann'), signUp('bob')]);
  return { ann, bob, room: (await ann.chat.roomWith(bob.chat.userId)).id };
}

/** The contents of a room's messages, oldest first. */
export const contentsIn = async (chat, room) =>
  (await collect(chat.messages(room))).map(({ content }) => content).reverse();

/** Node 20 has no `Array.fromAsync`. */
export async function collect(items) {
  const collected = [];
  for await (const item of items) collected.push(item);
  return collected;
}

/** An act of the stack's supervisor on one of its processes. */
export async function control(act, name) {
  const socket = connect(STACK_CONTROL);
  socket.write(`${JSON.stringify({ do: act, name })}\n`);
  for await (const line of createInterface(socket)) {
    socket.destroy();
    return JSON.parse(line);
  }
}

/** Waits until each replica of chat-service answers again. */
export async function chatServiceIsReady() {
  for (const url of process.env.CHAT_URLS.split(',')) {
    while (!(await fetch(`${url}/health/ready`).then(({ ok }) => ok, () => false))) await pause(200);
  }
}

/** A TCP proxy to the gateway that can cut connections, lose answers and fall silent. */
export class Link {
  losesAnswers = false;
  isSilent = false;
  #open = new Set();
  #server = createServer((client) => this.#join(client));

  static async open() {
    const link = new Link();
    await new Promise((resolve) => link.#server.listen(0, '127.0.0.1', resolve));
    return link;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}/api`;
  }

  /** Resets all connections. */
  cut() {
    for (const socket of this.#open) socket.resetAndDestroy();
    this.#open.clear();
  }

  close() {
    this.#server.close();
    this.cut();
  }

  #join(client) {
    const { hostname, port } = new URL(GATEWAY_URL);
    const server = connect(Number(port), hostname);
    const end = () => {
      for (const socket of [client, server]) {
        socket.destroy();
        this.#open.delete(socket);
      }
    };
    for (const socket of [client, server]) {
      this.#open.add(socket);
      socket.on('error', end).on('close', end);
    }
    client.on('data', (chunk) => server.write(chunk));
    server.on('data', (chunk) => {
      if (this.losesAnswers) end();
      else if (!this.isSilent) client.write(chunk);
    });
  }
}

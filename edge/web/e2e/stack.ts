// A private stack on free ports, as `simple-im up` runs it, and a small balancer before its edges.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type Server, type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** How long the stack has to become ready, in milliseconds; a first start makes a database. */
const PATIENCE = 60_000;

export interface Edge {
  name: string;
  pid: number;
  port: number;
}

export class Stack {
  private constructor(
    private readonly data: string,
    private readonly process: ChildProcess,
    readonly output: string[],
  ) {}

  static async start(binary: string): Promise<Stack> {
    const data = mkdtempSync(join(tmpdir(), "im-web-"));
    const process = spawn(binary, ["up", "--data", data, "--edges", "2", "--workers", "1"], {
      env: { PATH: globalThis.process.env.PATH, HOME: globalThis.process.env.HOME },
    });
    const stack = new Stack(data, process, []);
    try {
      await stack.ready();
    } catch (error) {
      await stack.stop();
      throw error;
    }
    return stack;
  }

  private ready(): Promise<void> {
    return new Promise((done, fail) => {
      const late = setTimeout(() => fail(new Error(`expected a stack within ${PATIENCE} ms\n${this.output.join("")}`)), PATIENCE);
      const heard = (data: Buffer) => {
        this.output.push(String(data));
        if (!this.output.join("").includes("ready after")) return;
        clearTimeout(late);
        done();
      };
      this.process.stdout?.on("data", heard);
      this.process.stderr?.on("data", heard);
      this.process.on("exit", (code) => fail(new Error(`the stack ended with ${code}\n${this.output.join("")}`)));
    });
  }

  /** The edges that run now, by `stack.toml`. */
  edges(): Edge[] {
    const tables = readFileSync(join(this.data, "stack.toml"), "utf8").split("[[process]]");
    const value = (table: string, key: string) => new RegExp(`^${key} = "?([^"\\n]*)`, "m").exec(table)?.[1] ?? "";
    return tables
      .filter((table) => value(table, "kind") === "edge")
      .map((table) => ({
        name: value(table, "name"),
        pid: Number(value(table, "pid")),
        port: Number(value(table, "http").split(":")[1]),
      }));
  }

  edge(name: string): Edge {
    const found = this.edges().find((edge) => edge.name === name);
    if (!found) throw new Error(`expected an edge ${name} in stack.toml`);
    return found;
  }

  async stop(): Promise<void> {
    if (this.process.exitCode === null) {
      const ended = new Promise((done) => this.process.once("exit", done));
      this.process.kill("SIGTERM");
      await ended;
    }
    rmSync(this.data, { recursive: true, force: true });
  }
}

/** What stands before edges in real life: connections go to the first that answers, and end with it. */
export class Front {
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly ports: () => number[],
  ) {}

  static start(ports: () => number[]): Promise<Front> {
    return new Promise((done) => {
      const server = createServer((client) => front.serve(client));
      const front = new Front(server, ports);
      server.listen(0, "127.0.0.1", () => done(front));
    });
  }

  get url(): string {
    const address = this.server.address();
    if (!address || typeof address === "string") throw new Error("expected a listening front");
    return `http://127.0.0.1:${address.port}`;
  }

  stop(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private serve(client: Socket, skip = 0): void {
    const port = this.ports()[skip];
    if (port === undefined) return void client.destroy();
    const edge = connect(port, "127.0.0.1");
    edge.once("connect", () => {
      for (const [from, to] of [[client, edge], [edge, client]] as const) {
        this.sockets.add(from);
        from.pipe(to);
        from.on("close", () => (to.destroy(), this.sockets.delete(from)));
      }
    });
    client.on("error", () => client.destroy());
    // One that cannot be reached: the next. One that dies later takes its connections with it.
    edge.once("error", () => (this.sockets.has(edge) ? edge.destroy() : this.serve(client, skip + 1)));
  }
}

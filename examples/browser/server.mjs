#!/usr/bin/env node
// Serves the page index.html, and passes its requests on to hearken.
//
//     HEARKEN_API_KEY=sk-... node server.mjs
//
// Then open http://127.0.0.1:8000/. HEARKEN_URL is hearken's address (default: http://127.0.0.1:8080), PORT is the port
// of this server (default: 8000). Needs Node 18 and no package.
//
// A page that holds the API key shows it to every visitor. So the key stays in this server, which adds it to each
// request. Everyone that reaches this server uses the key, so it listens on this machine only. A real service puts its
// own sign-in here. With this server, the page and hearken also share one origin. Browsers require that, because
// hearken sends no CORS headers.

import { readFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";

const HEARKEN = new URL(process.env.HEARKEN_URL ?? "http://127.0.0.1:8080");
const KEY = process.env.HEARKEN_API_KEY;
const PORT = Number(process.env.PORT ?? 8000);

/** All that the page needs of hearken. Everything else, such as the list of all tasks, is not passed on. */
const ALLOWED = [
  /^POST \/v1\/llm\/generations$/,
  /^GET \/v1\/llm\/generations\/task-[a-z0-9-]+\/stream(\?offset=\d+)?$/,
  /^GET \/v1\/tasks\/task-[a-z0-9-]+(\?wait=\d+)?$/,
  /^POST \/v1\/tasks\/task-[a-z0-9-]+\/cancel$/,
];
/** The headers that are passed on. Last-Event-ID says where a browser continues to read a stream. */
const HEADERS = ["accept", "content-length", "content-type", "idempotency-key", "last-event-id", "transfer-encoding"];

function passOn(request, response) {
  const headers = { authorization: `Bearer ${KEY}` };
  for (const name of HEADERS) if (name in request.headers) headers[name] = request.headers[name];
  const { request: send } = HEARKEN.protocol === "https:" ? https : http;
  const onward = send(new URL(request.url, HEARKEN), { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
    // A cut on one side is a cut on the other side. So the browser notices it, and connects again.
    answer.on("error", () => response.destroy());
  });
  onward.on("error", () => response.destroy());
  response.on("close", () => onward.destroy());
  request.pipe(onward);
}

const server = http.createServer(async (request, response) => {
  if (ALLOWED.some((allowed) => allowed.test(`${request.method} ${request.url}`))) {
    passOn(request, response);
  } else if (request.method === "GET" && request.url === "/") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    response.end(await readFile(new URL("index.html", import.meta.url)));
  } else {
    response.writeHead(404, { "content-type": "text/plain; charset=utf-8" });
    response.end("not found\n");
  }
});

if (!KEY) {
  console.error("usage: HEARKEN_API_KEY=sk-... node server.mjs");
  process.exit(1);
}
server.on("error", (error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
server.listen(PORT, "127.0.0.1", () => console.log(`open http://127.0.0.1:${server.address().port}/`));

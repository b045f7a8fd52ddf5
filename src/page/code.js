// Code for the same request as a task's, for a shell and for Python. It never contains the key.

const REQUEST_FIELDS = ["model", "prompt", "system_prompt", "max_tokens", "temperature", "reasoning"];

/** Returns an example of a name for the audio file, which the user replaces. */
const fileOf = (request) => request.name ?? `audio.${request.audio?.format ?? "wav"}`;

function fields(request) {
  const wanted = {};
  for (const name of REQUEST_FIELDS) {
    const value = request[name];
    if (value !== null && value !== undefined && value !== false) wanted[name] = value;
  }
  return { ...wanted, sync: true, stream: true };
}

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const HEADERS = `-H "Authorization: Bearer $HEARKEN_API_KEY" \\\n     -H 'Content-Type: application/json'`;

/** Returns one command that prints the frames as they come. It runs in every shell, on Linux and macOS. */
export function curl(request, origin) {
  const url = `${origin}/v1/llm/generations`;
  if (request.audio?.source === "url") {
    const body = JSON.stringify({ ...fields(request), audio_url: request.audio.url });
    // The body is sent through a pipe, because a long prompt is longer than an argument may be.
    return `printf '%s' ${shell(body)} |\ncurl -sN ${shell(url)} ${HEADERS} -d @-`;
  }
  const media = `audio/${request.audio?.format ?? "wav"}`;
  const head = JSON.stringify(fields(request)).slice(0, -1) + `,"audio_url":"data:${media};base64,`;
  return `(printf %s ${shell(head)}\n base64 < ${shell(fileOf(request))} | tr -d '\\n'; printf '"}') |\n`
    + `curl -sN ${shell(url)} ${HEADERS} -d @-`;
}

/** Returns a JSON value in Python, which has three other words. */
const literal = (value) =>
  value === true ? "True" : value === false ? "False" : value === null ? "None" : JSON.stringify(value);

/** Returns a program without packages that prints the answer as it comes. Requested reasoning goes to standard error. */
export function python(request, origin) {
  const isUrl = request.audio?.source === "url";
  const media = `audio/${request.audio?.format ?? "wav"}`;
  const lines = Object.entries(fields(request)).map(([name, value]) => `    "${name}": ${literal(value)},`);
  return [
    `import ${isUrl ? "" : "base64, "}json, os, ${request.reasoning ? "sys, " : ""}urllib.error, urllib.request`,
    "",
    ...(isUrl ? [] : [`audio = base64.b64encode(open(${literal(fileOf(request))}, "rb").read()).decode()`]),
    "request = {",
    ...lines,
    isUrl ? `    "audio_url": ${literal(request.audio.url)},` : `    "audio_url": "data:${media};base64," + audio,`,
    "}",
    "call = urllib.request.Request(",
    `    ${literal(`${origin}/v1/llm/generations`)},`,
    "    json.dumps(request).encode(),",
    "    {\"Authorization\": \"Bearer \" + os.environ[\"HEARKEN_API_KEY\"], \"Content-Type\": \"application/json\"},",
    ")",
    "try:",
    "    frames = urllib.request.urlopen(call)",
    "except urllib.error.HTTPError as refused:",
    "    raise SystemExit(refused.read().decode())",
    "for line in frames:",
    "    if line.startswith(b\"data: {\"):",
    "        chunk = json.loads(line[6:])",
    "        if \"error\" in chunk:",
    "            raise SystemExit(chunk[\"error\"][\"message\"])",
    "        delta = chunk[\"choices\"][0][\"delta\"]",
    ...(request.reasoning
      ? ["        print(delta.get(\"reasoning_content\", \"\"), end=\"\", file=sys.stderr, flush=True)"] : []),
    "        print(delta.get(\"content\", \"\"), end=\"\", flush=True)",
  ].join("\n");
}

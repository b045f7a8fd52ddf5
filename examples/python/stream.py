#!/usr/bin/env python3
"""Submits audio to hearken as a task, and prints the answer while it arrives.

    HEARKEN_API_KEY=sk-... python3 stream.py AUDIO [MODEL] [PROMPT]

AUDIO is a file or an http(s) URL. HEARKEN_URL is the server (default: http://127.0.0.1:8080). The answer goes to
standard output; reasoning and messages go to standard error. The exit status is 0 if the task completes, else 1.
Ctrl-C cancels the task. Needs Python 3.9 and no package.
"""

import base64
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

SERVER = os.environ.get("HEARKEN_URL", "http://127.0.0.1:8080").rstrip("/")
KEY = os.environ.get("HEARKEN_API_KEY", "")
# A stream that is silent for this many seconds is lost: hearken sends a keep-alive every 15 seconds.
SILENCE = 60
# How often one request is repeated before the program gives up.
MAX_RETRIES = 8
# How the standard library reports that a connection is lost, or that there is none.
LOST = (OSError, http.client.HTTPException)
# The codes of failures that end by themselves. CONNECTION is this program's own code: there was no answer.
CONNECTION = "connection"
TEMPORARY = {
    CONNECTION, "idempotency_conflict", "queue_full", "rate_limit_exceeded", "shutting_down", "storage_full",
    "storage_unavailable",
}


class Refused(Exception):
    """A request that was refused or got no answer, with its error code."""

    def __init__(self, code, message, retry_after=None):
        super().__init__(f"{code}: {message}")
        self.code, self.retry_after = code, retry_after


class TaskFailed(Exception):
    """The task has failed. `retryable` says whether a new submit may succeed."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code, self.retryable = error["code"], error["retryable"]


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def request(method, path, body=None, **headers):
    """Sends one request. Returns the response, whose body is not read yet."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers["Authorization"] = f"Bearer {KEY}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        asked = urllib.request.Request(SERVER + path, body, headers, method=method)
        return urllib.request.urlopen(asked, timeout=SILENCE + 30)
    except urllib.error.HTTPError as response:
        try:
            error = json.load(response)["error"]
        except (*LOST, ValueError, KeyError, TypeError):
            # This is not hearken's answer: a proxy in front of it could not reach it.
            raise Refused(CONNECTION, f"HTTP status {response.status}") from None
        retry_after = response.headers.get("Retry-After", "")
        raise Refused(error["code"], error["message"], int(retry_after) if retry_after.isdigit() else None) from None
    except LOST as error:
        raise Refused(CONNECTION, f"no answer from {SERVER} ({error})") from None


def pause(refused, retries):
    """Waits before the next attempt. Raises the error again if another attempt is useless."""
    if refused.code not in TEMPORARY or retries == MAX_RETRIES:
        raise refused
    seconds = refused.retry_after or min(2**retries, 30)
    say(f"{refused}; trying again in {seconds} s")
    time.sleep(seconds)


def persist(method, path, body=None, **headers):
    """Sends a request until it has an answer. Returns the answer."""
    retries = 0
    while True:
        try:
            with request(method, path, body, **headers) as response:
                return json.load(response)
        except (*LOST, ValueError):
            refused = Refused(CONNECTION, "the connection was lost")
        except Refused as error:
            refused = error
        pause(refused, retries)
        retries += 1


def submit(audio, model, prompt):
    """Submits the task. However often the request is sent, the key makes it one task."""
    body = {"model": model, "audio_url": audio, "prompt": prompt, "stream": True, "reasoning": True}
    body = json.dumps(body).encode()
    return persist("POST", "/v1/llm/generations", body, Idempotency_Key=str(uuid.uuid4()))


def events(response):
    """Reads hearken's server-sent events, which have one line of data each. Yields id, name and data of each event."""
    event = {}
    for line in response:
        line = line.decode().rstrip("\r\n")
        if line:
            field, _, value = line.partition(":")
            # The field of a comment (a keep-alive) is empty.
            event[field] = value.removeprefix(" ")
        elif "data" in event:
            yield event.get("id"), event.get("event"), event["data"]
            event = {}


def chunks(task):
    """Yields every chunk of the task's answer once, over as many connections as it takes."""
    retries, last_id = 0, {}
    while True:
        try:
            with request("GET", task["stream"]["url"], **last_id) as response:
                for number, name, data in events(response):
                    if name == "chunk":
                        retries, last_id = 0, {"Last_Event_ID": number}
                        yield json.loads(data)
                    elif name == "done":
                        return
                    elif name == "error":
                        raise TaskFailed(json.loads(data)["error"])
            refused = Refused(CONNECTION, "the connection was lost")
        except LOST as error:
            refused = Refused(CONNECTION, f"the connection was lost ({error})")
        except Refused as error:
            # The chunks are no longer kept, but the result is.
            if error.code == "stream_expired":
                return
            refused = error
        pause(refused, retries)
        retries += 1


def result(task):
    """Waits until the task ends. Returns its result, a ChatCompletion."""
    while task["status"] not in ("completed", "failed"):
        task = persist("GET", f"/v1/tasks/{task['id']}?wait=60")
    if task["status"] == "failed":
        raise TaskFailed(task["error"])
    return task["results"][0]


def run(audio, model="local-inspect", prompt="Please transcribe this audio file"):
    if not audio.startswith(("http://", "https://")):
        with open(audio, "rb") as file:
            # hearken recognises the format by the bytes.
            audio = "data:application/octet-stream;base64," + base64.b64encode(file.read()).decode()
    task = submit(audio, model, prompt)
    say("task", task["id"])
    try:
        text, is_thinking = "", False
        for chunk in chunks(task):
            delta = chunk["choices"][0]["delta"]
            if delta.get("reasoning_content"):
                is_thinking = True
                print(delta["reasoning_content"], end="", file=sys.stderr, flush=True)
            # A model that refuses to answer says so in `refusal`.
            if piece := delta.get("content") or delta.get("refusal"):
                if is_thinking:
                    say()
                is_thinking, text = False, text + piece
                print(piece, end="", flush=True)
        completion = result(task)
        message = completion["choices"][0]["message"]
        whole = message["content"] or message.get("refusal") or ""
        print(whole.removeprefix(text))
        say(f"completed ({completion['choices'][0]['finish_reason']}), {completion['usage']['total_tokens']} tokens")
    except KeyboardInterrupt:
        persist("POST", f"/v1/tasks/{task['id']}/cancel")
        raise


if __name__ == "__main__":
    if not KEY or not 2 <= len(sys.argv) <= 4:
        sys.exit("usage: HEARKEN_API_KEY=sk-... python3 stream.py AUDIO [MODEL] [PROMPT]")
    try:
        run(*sys.argv[1:])
    except (Refused, TaskFailed, OSError) as error:
        sys.exit(f"\nerror: {error}")
    except KeyboardInterrupt:
        sys.exit("\nerror: cancelled")

#!/usr/bin/env python3
"""Submits audio to hearken with OpenAI's package, and prints the answer while it arrives.

    HEARKEN_API_KEY=sk-... python3 openai_stream.py AUDIO [MODEL] [PROMPT]

One call submits the task and streams its answer. If the connection is lost, the program continues at the task's stream,
at the chunk where it stopped. AUDIO is a file or an http(s) URL. HEARKEN_URL is the server (default:
http://127.0.0.1:8080). The answer goes to standard output; reasoning and messages go to standard error. The exit status
is 0 if the task completes, else 1. Ctrl-C cancels the task. Needs `pip install openai` (tested with 3.54).
"""

import base64
import os
import sys
import time
import uuid

import openai
from openai import OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk

SERVER = os.environ.get("HEARKEN_URL", "http://127.0.0.1:8080").rstrip("/")
KEY = os.environ.get("HEARKEN_API_KEY", "")
# How often one request is repeated before the program gives up.
MAX_RETRIES = 8
# The package repeats requests without an answer, and waits for `Retry-After`. After 90 seconds of silence it treats the
# connection as lost: a stream has a keep-alive every 15 seconds. Before the first chunk there is none, but then the
# repeated request waits for the same task, thanks to its Idempotency-Key.
CLIENT = OpenAI(base_url=f"{SERVER}/v1", api_key=KEY or "none", timeout=90, max_retries=MAX_RETRIES)
CHUNKS = {"cast_to": ChatCompletionChunk, "stream": True, "stream_cls": Stream[ChatCompletionChunk]}


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def submit(audio, model, prompt):
    """Submits the task. Returns its stream. However often the request is sent, the key makes it one task."""
    body = {"model": model, "audio_url": audio, "prompt": prompt, "sync": True, "stream": True, "reasoning": True}
    options = {"headers": {"Idempotency-Key": str(uuid.uuid4())}}
    return CLIENT.post("/llm/generations", body=body, options=options, **CHUNKS)


def chunks(task, stream):
    """Yields every chunk of the task's answer once, over as many connections as it takes."""
    received, retries = 0, 0
    while True:
        try:
            for chunk in stream:
                received, retries = received + 1, 0
                yield chunk
                # Only the last chunk of an answer has a finish reason. A stream that ends without one was cut.
                if chunk.choices[0].finish_reason:
                    return
        except openai.APIConnectionError:
            pass
        if retries == MAX_RETRIES:
            raise ConnectionError("the connection was lost")
        say("the connection was lost; trying again")
        time.sleep(min(2**retries, 30))
        retries += 1
        try:
            stream = CLIENT.get(f"/llm/generations/{task}/stream", options={"params": {"offset": received}}, **CHUNKS)
        except openai.APIStatusError as error:
            # The chunks are no longer kept, but the result is.
            if error.code == "stream_expired":
                return
            raise


def result(task):
    """Waits until the task ends. Returns its result."""
    while True:
        state = CLIENT.get(f"/tasks/{task}", options={"params": {"wait": 60}}, cast_to=object)
        if state["status"] == "completed":
            return ChatCompletion.model_validate(state["results"][0])
        if state["status"] == "failed":
            sys.exit(f"\nerror: {state['error']['code']}: {state['error']['message']}")


def run(audio, model="local-inspect", prompt="Please transcribe this audio file"):
    if not audio.startswith(("http://", "https://")):
        with open(audio, "rb") as file:
            # hearken recognises the format by the bytes.
            audio = "data:application/octet-stream;base64," + base64.b64encode(file.read()).decode()
    stream = submit(audio, model, prompt)
    task = stream.response.headers["X-Task-Id"]
    say("task", task)
    try:
        text, is_thinking = "", False
        for chunk in chunks(task, stream):
            delta = chunk.choices[0].delta
            # OpenAI's own chunks have no such field.
            if reasoning := getattr(delta, "reasoning_content", None):
                is_thinking = True
                print(reasoning, end="", file=sys.stderr, flush=True)
            # A model that refuses to answer says so in `refusal`.
            if piece := delta.content or delta.refusal:
                if is_thinking:
                    say()
                is_thinking, text = False, text + piece
                print(piece, end="", flush=True)
        completion = result(task)
        message = completion.choices[0].message
        print((message.content or message.refusal or "").removeprefix(text))
        say(f"completed ({completion.choices[0].finish_reason}), {completion.usage.total_tokens} tokens")
    except KeyboardInterrupt:
        CLIENT.post(f"/tasks/{task}/cancel", cast_to=object)
        raise


if __name__ == "__main__":
    if not KEY or not 2 <= len(sys.argv) <= 4:
        sys.exit("usage: HEARKEN_API_KEY=sk-... python3 openai_stream.py AUDIO [MODEL] [PROMPT]")
    try:
        run(*sys.argv[1:])
    except openai.APIError as error:
        # An error of hearken has a code. It is the same in a response and in a stream.
        sys.exit(f"\nerror: {error.code or 'connection'}: {error.message}")
    except OSError as error:
        sys.exit(f"\nerror: {error}")
    except KeyboardInterrupt:
        sys.exit("\nerror: cancelled")

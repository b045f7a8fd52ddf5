"""OpenAI's own Python package as a client of hearken: how it lists models, submits, streams and fails.

`tests/clients.rs` starts the program and the fake upstream and passes their addresses. The prompt of each case says
what the upstream does (see `gemini.rs`).
"""

import asyncio
import base64
import json
import os
import pathlib
import unittest
import urllib.request

import openai
from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk

BASE = os.environ["HEARKEN_TEST_URL"] + "/v1"
KEY = os.environ["HEARKEN_TEST_KEY"]
UPSTREAM = os.environ["HEARKEN_TEST_UPSTREAM"]
SPEECH = pathlib.Path(__file__).parent.parent / "fixtures" / "audio" / "speech.mp3"
AUDIO_URL = "data:audio/mpeg;base64," + base64.b64encode(SPEECH.read_bytes()).decode()

SUBMIT = "/llm/generations"
KEEP_ALIVE = b": keep-alive\n"
# The number of keep-alives before a gate is opened.
SILENCE = 3
# The longest wait of a case, in seconds.
PATIENCE = 30

CLIENT = OpenAI(base_url=BASE, api_key=KEY, timeout=PATIENCE)


def submission(script, **fields):
    return {"model": "gemini-2.5-pro", "audio_url": AUDIO_URL, "prompt": json.dumps(script), **fields}


def submit(script, **fields):
    return CLIENT.post(SUBMIT, body=submission(script, **fields), cast_to=object)


def chunks_of(task):
    """A subscription to the task's stream."""
    return CLIENT.get(
        task["stream"]["url"].removeprefix("/v1"),
        cast_to=object,
        stream=True,
        stream_cls=Stream[ChatCompletionChunk],
    )


def stream_of(script):
    """A call that submits and streams in one."""
    return CLIENT.post(
        SUBMIT,
        body=submission(script, sync=True, stream=True),
        cast_to=object,
        stream=True,
        stream_cls=Stream[ChatCompletionChunk],
    )


def completion_of(script, client=CLIENT):
    """A call that blocks until the answer is whole."""
    return client.post(SUBMIT, body=submission(script, sync=True), cast_to=ChatCompletion)


def upstream(method, path):
    request = urllib.request.Request(UPSTREAM + path, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=PATIENCE) as response:
        return json.load(response)


def upstream_calls(case):
    return upstream("GET", f"/calls/{case}")


class Silences:
    """Opens one gate after the other, each when enough keep-alives have come since the previous one."""

    def __init__(self, *gates):
        self.closed = list(gates)
        self.keep_alives = 0

    def see(self, received):
        self.keep_alives += received.count(KEEP_ALIVE)
        if self.closed and self.keep_alives >= SILENCE:
            upstream("POST", f"/open/{self.closed.pop(0)}")
            self.keep_alives = 0

    def watch(self, stream):
        """Sees the stream's bytes before the package does."""
        read = stream.response.iter_bytes

        def watched():
            for received in read():
                self.see(received)
                yield received

        stream.response.iter_bytes = watched
        return stream

    def watch_async(self, stream):
        read = stream.response.aiter_bytes

        async def watched():
            async for received in read():
                self.see(received)
                yield received

        stream.response.aiter_bytes = watched
        return stream


class Case(unittest.TestCase):
    def assert_whole_answer(self, chunks, *pieces):
        """Asserts that the role, the pieces and a last chunk with finish reason and usage came."""
        first, *middle, last = chunks
        self.assertEqual(first.choices[0].delta.role, "assistant")
        self.assertEqual([chunk.choices[0].delta.content for chunk in middle], list(pieces))
        self.assertEqual(last.choices[0].finish_reason, "stop")
        self.assertIsNone(last.choices[0].delta.content)
        self.assertEqual(last.usage.total_tokens, 50)
        self.assertEqual(last.usage.prompt_tokens_details.audio_tokens, 32)
        self.assertEqual({chunk.object for chunk in chunks}, {"chat.completion.chunk"})
        self.assertEqual({chunk.model for chunk in chunks}, {"gemini-2.5-pro"})
        self.assertEqual(len({(chunk.id, chunk.created) for chunk in chunks}), 1)

    def assert_broken_off(self, stream, *pieces):
        """Asserts that the pieces came, and then hearken's error."""
        received = []
        with self.assertRaises(openai.APIError) as raised:
            for chunk in stream:
                received.append(chunk.choices[0].delta.content)
        self.assertEqual(received, ["", *pieces])
        # The class of an error within a stream. The classes of HTTP errors are derived from it.
        self.assertIs(type(raised.exception), openai.APIError)
        self.assertEqual(raised.exception.code, "upstream_disconnected")
        self.assertEqual(raised.exception.type, "upstream_error")
        self.assertEqual(raised.exception.message, raised.exception.body["message"])
        return raised.exception

    def assert_refused(self, error, status, code, call):
        with self.assertRaises(error) as raised:
            call()
        self.assertIs(type(raised.exception), error)
        self.assertEqual((raised.exception.status_code, raised.exception.code), (status, code))
        return raised.exception


class Streams(Case):
    SLOW_ANSWER = ["One", " two", " three"]

    def slow(self, case):
        say = [{"say": piece} for piece in self.SLOW_ANSWER]
        gates = [f"{case}-1", f"{case}-2"]
        wait = [{"wait_for": gate} for gate in gates]
        return {"case": case, "steps": [say[0], wait[0], say[1], wait[1], say[2]]}, Silences(*gates)

    def test_a_slow_task_is_streamed_whole_with_keep_alives_between_its_frames(self):
        script, silences = self.slow("python-slow-task")
        stream = silences.watch(chunks_of(submit(script, stream=True)))
        self.assert_whole_answer(list(stream), *self.SLOW_ANSWER)
        self.assertEqual(silences.closed, [])

    def test_keep_alives_before_the_first_frame_are_no_frames(self):
        case = "python-slow-start"
        script = {"case": case, "steps": [{"wait_for": case}, {"say": "At last"}]}
        silences = Silences(case)
        stream = silences.watch(chunks_of(submit(script, stream=True)))
        self.assert_whole_answer(list(stream), "At last")
        self.assertEqual(silences.closed, [])

    def test_a_slow_task_is_streamed_whole_to_the_asynchronous_reader(self):
        script, silences = self.slow("python-slow-async")
        task = submit(script, stream=True)

        async def read():
            async with AsyncOpenAI(base_url=BASE, api_key=KEY, timeout=PATIENCE) as client:
                stream = await client.get(
                    task["stream"]["url"].removeprefix("/v1"),
                    cast_to=object,
                    stream=True,
                    stream_cls=AsyncStream[ChatCompletionChunk],
                )
                return [chunk async for chunk in silences.watch_async(stream)]

        self.assert_whole_answer(asyncio.run(read()), *self.SLOW_ANSWER)
        self.assertEqual(silences.closed, [])

    def test_a_slow_synchronous_stream_is_read_whole_and_its_task_can_be_queried(self):
        script, silences = self.slow("python-slow-synchronous")
        stream = silences.watch(stream_of(script))
        chunks = list(stream)
        self.assert_whole_answer(chunks, *self.SLOW_ANSWER)
        self.assertEqual(silences.closed, [])
        task = CLIENT.get("/tasks/" + stream.response.headers["x-task-id"], cast_to=object)
        completion = ChatCompletion.model_validate(task["results"][0])
        self.assertEqual(completion.choices[0].message.content, "".join(self.SLOW_ANSWER))
        self.assertEqual(completion.id, chunks[0].id)

    def test_a_task_that_has_ended_is_streamed_to_any_number_of_readers(self):
        task = submit({"case": "python-replay", "steps": [{"say": "Again"}]}, stream=True)
        for _ in range(3):
            self.assert_whole_answer(list(chunks_of(task)), "Again")

    def test_reasoning_is_a_field_of_the_delta_and_of_the_message(self):
        script = {"case": "python-reasoning", "steps": [{"think": "Hm."}, {"say": "Yes"}]}
        task = submit(script, stream=True, reasoning=True)
        thoughts = [getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in chunks_of(task)]
        self.assertEqual([thought for thought in thoughts if thought], ["Hm."])
        ended = CLIENT.get("/tasks/" + task["id"], cast_to=object)
        self.assertEqual(ended["results"][0]["choices"][0]["message"]["reasoning_content"], "Hm.")


class FailuresInMidStream(Case):
    def test_an_error_frame_of_a_task_raises_its_message(self):
        task = submit({"case": "python-cut-task", "steps": [{"say": "Half"}, "cut"]}, stream=True)
        error = self.assert_broken_off(chunks_of(task), "Half")
        ended = CLIENT.get("/tasks/" + task["id"], cast_to=object)
        self.assertEqual(error.message, ended["error"]["message"])

    def test_an_error_frame_of_a_synchronous_stream_raises_and_is_not_repeated(self):
        case = "python-cut-synchronous"
        script = {"case": case, "steps": [{"say": "Half"}, {"wait_for": case}, "cut"]}
        stream = stream_of(script)
        upstream("POST", f"/open/{case}")
        self.assert_broken_off(stream, "Half")
        self.assertEqual(upstream_calls(case), 1)

    def test_an_error_frame_after_keep_alives_raises(self):
        case = "python-cut-late"
        script = {"case": case, "steps": [{"say": "Half"}, {"wait_for": case}, "cut"]}
        silences = Silences(case)
        self.assert_broken_off(silences.watch(stream_of(script)), "Half")
        self.assertEqual(silences.closed, [])


class FailuresBeforeTheFirstChunk(Case):
    # The upstream would succeed the second time: a client that repeated the call would not fail.

    def test_a_failed_synchronous_stream_raises_by_status_and_is_not_repeated(self):
        script = {"case": "python-500-stream", "refusals": [500], "steps": [{"say": "Too late"}]}
        error = self.assert_refused(
            openai.InternalServerError, 502, "upstream_error", lambda: stream_of(script)
        )
        self.assertEqual(error.response.headers["x-should-retry"], "false")
        self.assertEqual(upstream_calls("python-500-stream"), 1)

    def test_a_failed_blocking_call_raises_by_status_and_is_not_repeated(self):
        script = {"case": "python-500-blocking", "refusals": [500], "steps": [{"say": "Too late"}]}
        error = self.assert_refused(
            openai.InternalServerError, 502, "upstream_error", lambda: completion_of(script)
        )
        self.assertEqual(error.response.headers["x-should-retry"], "false")
        self.assertEqual(upstream_calls("python-500-blocking"), 1)

    def test_a_blocking_call_that_broke_off_is_not_repeated(self):
        script = {"case": "python-cut-blocking", "steps": [{"say": "Half"}, "cut"]}
        self.assert_refused(
            openai.InternalServerError, 502, "upstream_disconnected", lambda: completion_of(script)
        )
        self.assertEqual(upstream_calls("python-cut-blocking"), 1)

    def test_a_call_that_was_refused_without_cost_is_repeated_and_succeeds(self):
        script = {"case": "python-429", "refusals": [429], "steps": [{"say": "Now"}]}
        self.assertEqual(completion_of(script).choices[0].message.content, "Now")
        self.assertEqual(upstream_calls("python-429"), 2)

    def test_an_invalid_key_is_an_authentication_error(self):
        stranger = OpenAI(base_url=BASE, api_key="sk-unknown", timeout=PATIENCE)
        script = {"case": "python-401"}
        self.assert_refused(
            openai.AuthenticationError, 401, "invalid_api_key", lambda: completion_of(script, stranger)
        )
        self.assert_refused(openai.AuthenticationError, 401, "invalid_api_key", stranger.models.list)
        self.assertEqual(upstream_calls("python-401"), 0)

    def test_a_parameter_that_breaks_its_rule_is_unprocessable_and_named(self):
        error = self.assert_refused(
            openai.UnprocessableEntityError,
            422,
            "invalid_param",
            lambda: submit({"case": "python-422"}, temperature=7),
        )
        self.assertEqual((error.param, error.type), ("temperature", "invalid_request_error"))

    def test_an_unknown_task_is_not_found(self):
        task = {"stream": {"url": "/v1/llm/generations/task-llm-1-aaaaaaaa/stream"}}
        self.assert_refused(openai.NotFoundError, 404, "task_not_found", lambda: chunks_of(task))

    def test_a_task_without_a_stream_is_a_conflict(self):
        task = submit({"case": "python-409", "steps": [{"say": "Quiet"}]})
        self.assertIsNone(task["stream"])
        task["stream"] = {"url": f"/v1/llm/generations/{task['id']}/stream"}
        self.assert_refused(openai.ConflictError, 409, "stream_not_enabled", lambda: chunks_of(task))


class Answers(Case):
    def test_a_blocking_call_returns_a_chat_completion(self):
        completion = completion_of({"case": "python-blocking", "steps": [{"say": "One"}, {"say": " two"}]})
        self.assertEqual(completion.object, "chat.completion")
        self.assertEqual(completion.choices[0].message.content, "One two")
        self.assertEqual(completion.choices[0].message.role, "assistant")
        self.assertEqual(completion.choices[0].finish_reason, "stop")
        # As in OpenAI's sum, reasoning tokens are part of the completion.
        usage = completion.usage
        self.assertEqual((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (40, 10, 50))
        self.assertEqual(usage.completion_tokens_details.reasoning_tokens, 3)

    def test_the_models_are_listed(self):
        models = list(CLIENT.models.list())
        self.assertEqual({model.id for model in models}, {"gemini-2.5-pro", "gemini-2.5-flash"})
        for model in models:
            self.assertEqual((model.object, model.owned_by), ("model", "fake"))
            self.assertGreater(model.created, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

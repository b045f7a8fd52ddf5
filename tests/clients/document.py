"""Checks that the OpenAPI document is valid, and that the server behaves as it says.

`tests/clients.rs` starts the program with the embedded channel and passes its address. schemathesis generates requests
from the document, valid and invalid ones, alone and in sequence along the document's links, and checks each response:
no 5xx; no status, header, type or body that the document does not describe; no invalid request is accepted, and no
valid one is refused.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

DOCUMENT = os.environ["HEARKEN_TEST_URL"] + "/openapi.json"
HERE = pathlib.Path(__file__).parent
# schemathesis takes ten seconds, and several minutes on a busy machine.
PATIENCE = 800


class TheDocument(unittest.TestCase):
    def test_is_valid(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(DOCUMENT, timeout=PATIENCE) as response:
            document = json.load(response)
        self.assertEqual(document["openapi"], "3.1.0")
        OpenAPIV31SpecValidator(document).validate()

    def test_is_what_the_server_does(self):
        command = [sys.executable, "-B", "-m", "schemathesis.cli", "--no-color"]
        command += ["--config-file", HERE / "schemathesis.toml", "run", DOCUMENT]
        environment = {**os.environ, "HEARKEN_TEST_HOOKS": str(HERE / "schemathesis_hooks.py")}
        sys.stdout.flush()
        # The files that the tool keeps for its next run must not remain.
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(command, cwd=directory, env=environment, timeout=PATIENCE, check=True)


if __name__ == "__main__":
    unittest.main()

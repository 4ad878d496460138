"""The example and the README's program do what they say, run from their own text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest

from .support import LIMIT, PACKAGE, echo, run, serving


class Examples(unittest.TestCase):
    def test_async_client(self) -> None:
        with serving(echo) as (host, port):
            done = subprocess.run(
                [sys.executable, str(PACKAGE / "examples" / "async_client.py"), host, str(port)],
                env={**os.environ, "PYTHONPATH": str(PACKAGE)},
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(
            done.stdout,
            f"Socket connected to {host}:{port}\n"
            "Sent 19 bytes to server.\n"
            "Response received : This is a test<EOF>\n",
        )

    def test_the_readme(self) -> None:
        text = (PACKAGE / "README.md").read_text(encoding="utf-8")
        program = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
        self.assertIn("11000", program)
        with serving(echo) as (_, port):
            done = run(program.replace("11000", str(port)))
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", "b'This is a test<EOF>'\n"))


if __name__ == "__main__":
    unittest.main()

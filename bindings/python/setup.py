"""Builds the library with cargo and puts it into the package. Everything else is in pyproject.toml.

The library knows nothing of Python, so one wheel serves every Python 3: its tag is py3-none-<platform>. That is why this
is no extension module, whose file would be named after one version of CPython, and why no build tool beyond setuptools
is needed.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

CRATE = pathlib.Path(__file__).resolve().parents[2]


def file_name():
    return {"win32": "asock.dll", "darwin": "libasock.dylib"}.get(sys.platform, "libasock.so")


def build_library():
    """The path of the library that cargo has built."""
    if not (CRATE / "Cargo.toml").is_file():
        raise SystemExit(f"asock: {CRATE} has no Cargo.toml; install from a checkout: pip install ./bindings/python")
    command = [os.environ.get("CARGO", "cargo"), "build", "--release", "--lib", "--locked"]
    command += ["--manifest-path", str(CRATE / "Cargo.toml"), "--message-format=json-render-diagnostics"]
    command += ["--config", 'profile.release.strip="symbols"']  # Most of the file would be for debuggers.
    try:
        built = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    except FileNotFoundError:
        raise SystemExit("asock: cargo was not found; install Rust from https://rustup.rs and try again") from None
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == "asock":
            for path in message["filenames"]:
                if pathlib.Path(path).name == file_name():
                    return path
    raise SystemExit(f"asock: cargo has built no {file_name()}")


class BuildLibrary(build_ext):
    """Takes the place of compiling an extension module, so that in-place and editable installations work as well."""

    def get_ext_filename(self, fullname):
        # Asked for the whole name, and for its last part only.
        return os.path.join(*fullname.split(".")[:-1], file_name())

    def build_extension(self, ext):
        target = self.get_ext_fullpath(ext.name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(build_library(), target)


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("asock.libasock", [])],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": PlatformWheel},
)

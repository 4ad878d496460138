"""The mirror of the C surface is compared with include/asock.h: every constant, struct, and function, both ways.

Names and numbers are read from the header's text; the layouts come from a C compiler, where the machine has one.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, List

from asock import Status, _abi

HEADER = Path(__file__).resolve().parents[3] / "include" / "asock.h"

PLAIN: Dict[str, Any] = {
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint16_t": ctypes.c_uint16,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "asock_status": ctypes.c_int32,
    "asock_runtime": ctypes.c_uint64,
    "asock_socket": ctypes.c_uint64,
    "asock_op": ctypes.c_uint64,
    "asock_callback": ctypes.c_void_p,
    "asock_log_callback": ctypes.c_void_p,
    "char *": ctypes.c_char_p,
    "void *": ctypes.c_void_p,
}


def header() -> str:
    """The header without its comments."""
    text = HEADER.read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"//[^\n]*", "", text)


def type_of(text: str) -> Any:
    """The type of ctypes for a declaration such as `const struct asock_result *result` without its name."""
    text = " ".join(text.replace("const ", "").replace("struct ", "").replace("*", " *").split())
    if text in PLAIN:
        return PLAIN[text]
    assert text.endswith(" *"), text
    inner = text[:-2]
    return ctypes.POINTER(PLAIN[inner] if inner in PLAIN else getattr(_abi, inner))


def declared(text: str) -> Any:
    match = re.fullmatch(r"(.*?)(\w+)", text.strip(), re.DOTALL)
    assert match, text
    return type_of(match[1])


@unittest.skipUnless(HEADER.is_file(), "include/asock.h is not there: this is no checkout")
class TheMirror(unittest.TestCase):
    def test_constants(self) -> None:
        found = {name: int(value) for name, value in re.findall(r"#define (ASOCK_\w+) \(?(-?\d+)\)?\s", header())}
        self.assertGreater(len(found), 80)
        mirrored = {name: value for name, value in vars(_abi).items() if name.startswith("ASOCK_")}
        self.assertEqual(mirrored, found)

    def test_every_status_is_known_to_the_library_and_to_the_exceptions(self) -> None:
        for status in Status:
            self.assertEqual(_abi.library.asock_status_name(status), f"ASOCK_{status.name}".encode())
        names = {name for name, value in vars(_abi).items() if name.startswith("ASOCK_") and type(value) is int}
        negative = {name for name in names if getattr(_abi, name) < 0}
        self.assertEqual(negative, {f"ASOCK_{status.name}" for status in Status} - {"ASOCK_OK"})

    def test_functions(self) -> None:
        found = {}
        for result, name, parameters in re.findall(r"^([\w ]+[ *]+)(asock_\w+)\(([^)]*)\);", header(), re.MULTILINE):
            if "typedef" in result:
                continue
            pieces = [] if parameters.strip() == "void" else parameters.split(",")
            found[name] = (type_of(result), tuple(declared(piece) for piece in pieces))
        self.assertGreater(len(found), 40)
        self.assertEqual(set(_abi.SIGNATURES), set(found))
        for name, signature in found.items():
            self.assertEqual(_abi.SIGNATURES[name], signature, name)

    def test_structs_field_by_field(self) -> None:
        structs = re.findall(r"typedef struct (asock_\w+) \{(.*?)\}", header(), re.DOTALL)
        self.assertEqual(len(structs), 5)
        for name, body in structs:
            fields = []
            for line in filter(None, (piece.strip() for piece in body.split(";"))):
                array = re.fullmatch(r"(\w+) (\w+)\[(\d+)\]", line)
                if array:
                    fields.append((array[2], PLAIN[array[1]] * int(array[3])))
                else:
                    fields.append((line.split()[-1].lstrip("*"), declared(line)))
            self.assertEqual(getattr(_abi, name)._fields_, fields, name)

    @unittest.skipUnless(shutil.which("cc"), "no C compiler")
    def test_layouts_as_the_compiler_has_them(self) -> None:
        structs = [name for name in dir(_abi) if isinstance(getattr(_abi, name), type(ctypes.Structure))]
        structs = [name for name in structs if name.startswith("asock_")]
        lines: List[str] = []
        expected: List[int] = []
        for name in structs:
            struct = getattr(_abi, name)
            lines.append(f"sizeof({name})")
            expected.append(ctypes.sizeof(struct))
            for field, *_ in struct._fields_:
                lines.append(f"offsetof({name}, {field})")
                expected.append(getattr(struct, field).offset)
        prints = "".join(f'  printf("%zu\\n", {line});\n' for line in lines)
        source = f'#include <stdio.h>\n#include "asock.h"\nint main(void) {{\n{prints}  return 0;\n}}\n'
        with tempfile.TemporaryDirectory() as directory:
            program = Path(directory, "layout")
            Path(directory, "layout.c").write_text(source, encoding="ascii")
            subprocess.run(
                ["cc", f"-I{HEADER.parent}", str(program.with_suffix(".c")), "-o", str(program)], check=True
            )
            output = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
        self.assertEqual(dict(zip(lines, map(int, output.split()))), dict(zip(lines, expected)))

    def test_the_record_for_the_struct_module(self) -> None:
        result = _abi.asock_result(1, 2, 3, 4, 5, 6, 7, -8, 9, 10)
        self.assertEqual(_abi.RESULT_RECORD.size, ctypes.sizeof(result))
        self.assertEqual(_abi.RESULT_RECORD.unpack(bytes(result)), (1, 2, 3, 4, 5, 6, 7, -8, 9, 10))


if __name__ == "__main__":
    unittest.main()

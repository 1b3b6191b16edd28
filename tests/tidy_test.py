#!/usr/bin/env python3
"""tidy_test.py -- each rule of tidy.py finds what it is there to find.

A small tree that breaks no rule is written, then one with a single breach after another; the rule
meant, and no other, must complain.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

CLEAN = {
    "ARCHITECTURE.md": "# Tree\n\ninclude/    weir.h\nsrc/base/   list.h\n"
                       "src/fiber/  stack.c\nsrc/io/     backend.h op.c\nsrc/net/    conn.c\n"
                       "src/        meson.build\ntool/       main.c meson.build own.h\n",
    "include/weir.h": "/* weir.h -- the interface. */\nint weir_x(void);\n",
    "src/meson.build": "base = []\nfiber = ['stack.c']\nio = ['op.c']\nnet = ['conn.c']\n",
    "src/base/list.h": "/* list.h -- a list. */\n",
    "src/fiber/stack.c": "/* stack.c -- stacks. */\nvoid *map(void)\n{\n"
                         "    return mmap(0, 1, 0, 0, -1, 0);\n}\n",
    "src/io/backend.h": "/* backend.h -- the interface of backends. */\n",
    "src/io/op.c": "/* op.c -- operations. */\n#include \"backend.h\"\n"
                   "#include \"../base/list.h\"\nint try(int fd)\n{\n"
                   "    return recv(fd, 0, 0, 0) ? getenv(\"WEIR_BACKEND\") != 0 : 0;\n}\n",
    "src/net/conn.c": "/* conn.c -- conns: recv(2) \"on\" them. */\nint conn(struct io *io)\n{\n"
                      "    if (io) {\n        for (;;)\n            if (io->send(0)) {\n"
                      "                return sock_recv(io);\n            } else if (!io) {\n"
                      "                return op.bind(0);\n            }\n    }\n"
                      "    return 0;\n}\n",
    "tool/meson.build": "['main.c']\n",
    "tool/main.c": "/* main.c -- the command. */\n#include <weir.h>\n#include \"own.h\"\n",
    "tool/own.h": "/* own.h -- its own header. */\n",
}

CONN = CLEAN["src/net/conn.c"]


def body(statements):
    return f"/* conn.c -- conns. */\nint conn(void)\n{{\n{statements}}}\n"


# The promise that must fail, and the files that break it.
BREACHES = [
    ("includes point down", {"src/base/list.h": '/* list.h -- a. */\n#include "../io/op.c"\n'}),
    ("includes point down", {"src/fiber/stack.c": CLEAN["src/fiber/stack.c"]
                             + '#include "io/op.c"\n'}),
    ("backend.h is seen", {"src/net/conn.c": CONN + '#include "../io/backend.h"\n'}),
    ("the command and the examples", {"tool/main.c": '/* main.c -- c. */\n#include "io/op.h"\n'}),
    ("the command and the examples", {"tool/main.c": "/* main.c -- c. */\n"
                                                     '#include "../src/base/list.h"\n'}),
    ("only io makes socket", {"src/net/conn.c": body("    return recv(0, 0, 0, 0);\n")}),
    ("only io makes socket", {"src/net/conn.c": body("    return syscall (SYS_recvfrom, 1);\n")}),
    ("only fiber/stack.c maps", {"src/net/conn.c": body("    return madvise(0, 0, 0);\n")}),
    ("the library neither prints", {"src/net/conn.c": body("    fprintf(stderr, 0);\n")}),
    ("the library neither prints", {"src/net/conn.c": body("    exit(1);\n")}),
    ("the library reads one", {"src/net/conn.c": body('    return getenv("HOME") != 0;\n')}),
    ("the library reads one", {"src/net/conn.c": body('    getenv("WEIR_BACKEND");\n')}),
    ("types inside", {"src/net/conn.c": CONN + "typedef int number;\n"}),
    ("a function has at most", {"src/net/conn.c": body("    x = 1;\n" * 69)}),
    ("statements nest", {"src/net/conn.c": body("    if (a)\n" * 4 + "        b();\n")}),
    ("statements nest", {"src/net/conn.c": body("    list_for_each(a, b) {\n" * 4 + "}\n" * 4)}),
    ("a file has at most", {"src/net/conn.c": CONN + "\n" * 600}),
    ("lines have at most", {"src/net/conn.c": CONN + "/* " + "x" * 100 + " */\n"}),
    ("lines have at most", {"src/net/conn.c": CONN + "int x; \n"}),
    ("lines have at most", {"src/net/conn.c": CONN + "\tint x;\n"}),
    ("a file opens", {"src/net/conn.c": CONN.replace("conn.c", "sock.c")}),
    ("nothing is left", {"src/net/conn.c": CONN + "/* TO" + "DO */\n"}),
    ("ARCHITECTURE.md draws", {"src/base/spin.h": "/* spin.h -- a lock. */\n"}),
    ("ARCHITECTURE.md draws", {"tool/lab/list.h": "/* list.h -- a list. */\n"}),
    ("ARCHITECTURE.md draws", {"ARCHITECTURE.md": CLEAN["ARCHITECTURE.md"].replace(
        "list.h", "list.h spin.h")}),
    ("every source file is built", {"src/meson.build": "io = ['op.c', 'stack.c']\n"}),
]


def complaints(files):
    """The promises that tidy.py finds broken in a tree of these files."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "tidy.py"), root, "--no-exceptions"],
            capture_output=True, text=True, check=False)
    broken = {line[5:].split(":")[0] for line in done.stdout.splitlines()
              if line.startswith("FAIL ")}
    return sorted(broken) + done.stderr.splitlines()


def main():
    passed = failed = 0
    cases = [("a clean tree", None, {})] + [(b[0], b[0], b[1]) for b in BREACHES]
    for number, (name, promise, files) in enumerate(cases):
        found = complaints({**CLEAN, **files})
        right = (len(found) == 1 and found[0].startswith(promise)) if promise else not found
        passed += right
        failed += not right
        words = f"the style check judges rightly of: {name} ({number})"
        print(f"ok - {words}" if right else f"FAIL {words}: it found {found}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""tidy.py -- the rules of STYLE.md and ARCHITECTURE.md that a machine can check.

usage: tidy.py [TREE [--no-exceptions]]
Each rule is a promise, kept by every file it is about. An exception stands in one of the tables
below with its reason, and one that is no longer needed is a failure too.
"""
import os
import re
import shutil
import subprocess
import sys

LINES_PER_FUNCTION = 70
LINES_PER_FILE = 600
COLUMNS = 100
NESTING = 3

# The layers from the bottom up. A file may include its own layer's headers and some lower ones':
# fiber/ for one knows nothing of I/O, and io/ nothing of fibers.
SEES = {
    "base": [],
    "observe": ["base"],
    "fiber": ["base", "observe"],
    "io": ["base", "observe"],
    "runtime": ["base", "observe", "fiber", "io"],
    "net": ["base", "observe", "io", "runtime"],
    "serve": ["base", "observe", "io", "runtime", "net"],
}
BACKEND_SEEN_BY = ["io", "sim", "runtime"]

SOCKET_CALLS = """
    socket socketpair bind listen accept accept4 connect shutdown
    recv recvfrom recvmsg recvmmsg send sendto sendmsg sendmmsg sendfile splice
    getsockopt setsockopt getsockname getpeername
    poll ppoll select pselect epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    epoll_pwait2 io_uring_setup io_uring_enter io_uring_register
""".split()
MAP_CALLS = "mmap munmap mremap mprotect madvise".split()
LOUD_CALLS = """
    printf fprintf vprintf vfprintf dprintf vdprintf puts fputs putchar fputc perror psignal
    exit _exit _Exit quick_exit syslog
""".split()
ENVIRONMENT_CALLS = "getenv secure_getenv setenv putenv".split()

# (rule, file, word): why this one is right.
EXCEPTIONS = {
    ("no_typedefs_inside", "src/base/base.h", "weir_time"):
        "the public type, said again below the public header",
    ("library_is_silent", "src/runtime/dump.c", "fprintf"):
        "weir_dump writes where its caller says",
    ("library_is_silent", "src/runtime/dump.c", "fputs"): "weir_dump writes where its caller says",
    ("library_is_silent", "src/runtime/error.c", "fprintf"): "weir_perror is perror(3)",
    ("library_is_silent", "src/serve/process.c", "_exit"):
        "a forked child ends without running what its parent registered",
    ("only_io_calls_sockets", "src/runtime/steward.c", "ppoll"):
        "no socket: signals and a wake-up, on a thread that has no backend",
    ("only_stack_maps", "src/io/readiness.c", "mremap"): "a table that grows without a copy",
    ("only_stack_maps", "src/io/readiness.c", "mmap"): "a table that grows without a copy",
    ("only_stack_maps", "src/io/readiness.c", "munmap"): "a table that grows without a copy",
    ("only_stack_maps", "src/base/slab.c", "mmap"): "aligned blocks, of which malloc wastes pages",
    ("only_stack_maps", "src/base/slab.c", "munmap"): "aligned blocks",
    ("only_stack_maps", "src/io/ring.c", "mmap"): "the queues shared with the kernel",
    ("only_stack_maps", "src/io/ring.c", "munmap"): "the queues shared with the kernel",
}


class Tree:
    """The files of the project, read once."""

    def __init__(self, root):
        self.root = root
        self.names = sorted(n for n in listed(root) if os.path.isfile(os.path.join(root, n)))
        self.texts = {}
        for name in self.names:
            with open(os.path.join(root, name), "rb") as file:
                data = file.read()
            if b"\0" not in data:
                self.texts[name] = data.decode("utf-8", errors="replace")
        self.code = {n: strip(t) for n, t in self.texts.items() if n.endswith((".c", ".h", ".S"))}

    def under(self, *folders, ends=(".c", ".h")):
        return [n for n in self.code if n.split("/")[0] in folders and n.endswith(ends)]


def listed(root):
    """What git would keep; without git or outside a repository, all but the build directory."""
    if os.path.exists(os.path.join(root, ".git")) and shutil.which("git"):
        return subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others",
             "--exclude-standard", "-z"],
            cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    names = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in ("build", "__pycache__", ".git")]
        names += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return names


def strip(text):
    """C without its comments and the contents of its strings; the lines stay where they are."""
    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] + " " * (len(found) - 2) + found[0]
        return re.sub(r"[^\n]", " ", found)
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.DOTALL)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


# ---- the shape of C --------------------------------------------------------------------------

def functions(code):
    """Yields (first line, last line, text of the body) of each function.

    A body opens with a brace of its own in the first column and closes with the next one there.
    """
    lines = code.split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            start = number
        elif line.startswith("}") and start is not None:
            yield start, number, "\n".join(lines[start - 1:number])
            start = None


TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|->|.", re.DOTALL)


class Nesting:
    """Measures how deep the statements of one function nest, braces or not."""

    def __init__(self, body):
        self.tokens = []
        preprocessor = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
        body = preprocessor.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), body)
        line = 0
        for match in TOKEN.finditer(body):
            if match.group(0) == "\n":
                line += 1
            elif not match.group(0).isspace():
                self.tokens.append((match.group(0), line))
        self.at = 0
        self.deepest = 0
        self.line = 0
        self.block(0)

    def peek(self):
        return self.tokens[self.at][0] if self.at < len(self.tokens) else None

    def balanced(self):
        """Steps over one bracketed group."""
        depth = 0
        while self.at < len(self.tokens):
            depth += self.peek() in ("(", "[", "{")
            depth -= self.peek() in (")", "]", "}")
            self.at += 1
            if depth == 0:
                return

    def block(self, depth):
        self.at += 1
        while self.peek() not in ("}", None):
            self.statement(depth)
        self.at += 1

    def nested(self, depth):
        depth += 1
        if depth > self.deepest:
            self.deepest = depth
            self.line = self.tokens[min(self.at, len(self.tokens) - 1)][1]
        if self.peek() == "{":
            self.block(depth)
        else:
            self.statement(depth)

    def statement(self, depth):
        word = self.peek()
        if word == "{":
            self.block(depth)
        elif word in ("if", "for", "while", "switch"):
            self.at += 1
            self.balanced()
            self.nested(depth)
            if word == "if" and self.peek() == "else":
                self.alternative(depth)
        elif word == "do":
            self.at += 1
            self.nested(depth)
            self.plain(depth)
        else:
            self.plain(depth)

    def alternative(self, depth):
        self.at += 1
        if self.peek() == "if":
            self.statement(depth)
        else:
            self.nested(depth)

    def plain(self, depth):
        """An expression, a declaration, a label, or a macro that heads a loop."""
        first = self.at
        while self.peek() not in (";", "}", None):
            if self.peek() == ":" and self.tokens[first][0] in ("case", "default"):
                self.at += 1
                return
            if self.peek() == ":" and self.at == first + 1:
                self.at += 1
                return
            if self.peek() in ("(", "[", "{"):
                call = self.peek() == "(" and self.at == first + 1
                self.balanced()
                if call and self.peek() and re.match(r"[A-Za-z_{]", self.peek()):
                    self.nested(depth)
                    return
            else:
                self.at += 1
        if self.peek() == ";":
            self.at += 1


# ---- the rules -------------------------------------------------------------------------------
# Each yields (file, line, what is wrong, word that an exception may name).

def includes(tree, name):
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"\n]+)', tree.texts[name],
                             re.MULTILINE):
        yield line_of(tree.texts[name], match.start()), match.group(1), match.group(2)


def resolve(tree, name, path):
    """The file of the tree that an include means, or None for a system header."""
    beside = os.path.normpath(os.path.join(os.path.dirname(name), path))
    for candidate in (beside, os.path.join("src", path), os.path.join("include", path)):
        if candidate in tree.texts:
            return candidate
    return None


def layer_of(name):
    parts = name.split("/")
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def includes_point_down(tree):
    for name in tree.under("src", ends=(".c", ".h", ".S")):
        layer = layer_of(name)
        if layer not in SEES:
            yield name, 1, f"src/{layer} is not a layer", layer
            continue
        for line, _, path in includes(tree, name):
            target = resolve(tree, name, path)
            below = layer_of(target) if target else None
            if below and below != layer and below not in SEES[layer]:
                yield name, line, f"{layer} may not include {path}", path


def backend_is_private(tree):
    for name in tree.under("src"):
        for line, _, path in includes(tree, name):
            if path.endswith("backend.h") and layer_of(name) not in BACKEND_SEEN_BY:
                yield name, line, "backend.h is for io, sim and runtime", path


def programs_use_the_public_header(tree):
    for name in tree.under("tool", "examples"):
        for line, quote, path in includes(tree, name):
            target = resolve(tree, name, path)
            inside = target and target.split("/")[0] not in ("tool", "examples", "include")
            missing = quote == '"' and not target
            if inside or missing or (path.endswith("weir.h") and path != "weir.h"):
                yield name, line, f"{path} is not a public header", path


def calls(tree, name, words):
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(words) + r")\s*\(")
    code = tree.code[name]
    for match in pattern.finditer(code):
        if code[:match.start()].endswith(("->", ".")):
            continue
        yield line_of(code, match.start()), match.group(1)


def only_io_calls_sockets(tree):
    for name in tree.under("src"):
        if layer_of(name) != "io":
            for line, word in calls(tree, name, SOCKET_CALLS):
                yield name, line, f"{word}() belongs to io", word
            # By number too; a call whose number is not in sight is taken for one of them.
            for match in re.finditer(r"\bsyscall\s*\(\s*(?:(?:SYS_|__NR_)(\w+))?", tree.code[name]):
                if match.group(1) in SOCKET_CALLS or not match.group(1):
                    yield name, line_of(tree.code[name], match.start()), \
                        "a socket system call by its number belongs to io", "syscall"


def only_stack_maps(tree):
    for name in tree.under("src"):
        if name != "src/fiber/stack.c":
            for line, word in calls(tree, name, MAP_CALLS):
                yield name, line, f"{word}() belongs to fiber/stack.c", word


def library_is_silent(tree):
    for name in tree.under("src"):
        for line, word in calls(tree, name, LOUD_CALLS):
            yield name, line, f"the library does not call {word}()", word


def one_environment_variable(tree):
    found = []
    for name in tree.under("src"):
        for line, word in calls(tree, name, ENVIRONMENT_CALLS):
            text = tree.texts[name].split("\n")[line - 1]
            found.append((name, line, text))
            if f'{word}("WEIR_BACKEND")' not in text:
                yield name, line, "the only environment variable is WEIR_BACKEND", word
    for name, line, _ in found[1:]:
        yield name, line, "WEIR_BACKEND is read in one place", "getenv"


def no_typedefs_inside(tree):
    for name in tree.under("src"):
        for match in re.finditer(r"^[ \t]*typedef\b[^\n]*?(\w+)\)?[^\w\n]*(?:;|$)",
                                 tree.code[name], re.MULTILINE):
            yield name, line_of(tree.code[name], match.start()), \
                "typedefs are for the public header", match.group(1)


C_FOLDERS = ("src", "include", "tool", "examples", "tests", "bench", "lab")


def functions_fit_a_screen(tree):
    for name in tree.under(*C_FOLDERS):
        for start, end, _ in functions(tree.code[name]):
            if end - start + 1 > LINES_PER_FUNCTION:
                yield name, start, f"a function of {end - start + 1} lines", str(start)


def statements_nest_three_deep(tree):
    for name in tree.under(*C_FOLDERS):
        for start, _, body in functions(tree.code[name]):
            nesting = Nesting(body)
            if nesting.deepest > NESTING:
                yield name, start + nesting.line, f"nesting of {nesting.deepest}", str(start)


def files_are_short(tree):
    for name, text in tree.texts.items():
        code = name.endswith((".c", ".h", ".S", ".py", ".sh", ".build"))
        if code and text.count("\n") > LINES_PER_FILE:
            yield name, LINES_PER_FILE, f"a file of {text.count(chr(10))} lines", name


TEXT = (".c", ".h", ".S", ".py", ".sh", ".build", ".md", ".map", ".txt", ".1", ".3", ".7")


def lines_are_clean(tree):
    for name, text in tree.texts.items():
        if not name.endswith(TEXT) and name not in ("dev", ".ci/run"):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > COLUMNS and not name.endswith((".md", ".txt")):
                yield name, number, f"{len(line)} columns", name
            if line.endswith((" ", "\t")):
                yield name, number, "blanks at the end of the line", name
            if "\t" in line and name.endswith((".c", ".h", ".py", ".build")):
                yield name, number, "a tab", name
        if text and not text.endswith("\n"):
            yield name, text.count("\n") + 1, "no newline at the end", name


def files_open_with_their_name(tree):
    for name in tree.under(*C_FOLDERS, ends=(".c", ".h", ".S")):
        base = re.escape(os.path.basename(name))
        if not re.match(r"/\* " + base + r" -- \S", tree.texts[name]):
            yield name, 1, f"does not open with '/* {os.path.basename(name)} -- ...'", name


def nothing_is_left_undone(tree):
    word = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    for name, text in tree.texts.items():
        if name in ("tests/tidy.py", "STYLE.md"):
            continue
        for match in word.finditer(text):
            yield name, line_of(text, match.start()), f"says {match.group(1)}", match.group(1)


def drawn_tree(tree):
    """The files that ARCHITECTURE.md draws: lines of a folder and its names, perhaps continued."""
    folder = None
    for line in tree.texts.get("ARCHITECTURE.md", "").split("\n"):
        match = re.match(r"^((?:src|tool)/\w*/?|include/)\s+(.*)$", line)
        if match:
            folder, line = match.group(1).rstrip("/"), match.group(2)
        elif not line.startswith("    ") or folder is None:
            folder = None
            continue
        for word in line.split():
            yield os.path.join(folder, word)


def every_file_is_drawn(tree):
    drawn = set(drawn_tree(tree))
    there = {n for n in tree.names if n.startswith(("src/", "tool/", "include/"))}
    for name in sorted(there - drawn):
        yield "ARCHITECTURE.md", 1, f"does not name {name}", name
    for name in sorted(drawn - there):
        yield "ARCHITECTURE.md", 1, f"names {name}, which is not there", name


def every_file_is_built(tree):
    for folder in ("src", "tests", "tool", "examples"):
        listed = tree.texts.get(folder + "/meson.build", "")
        for name in tree.under(folder, ends=(".c", ".S")):
            if name.startswith("tests/samples/"):
                continue  # install_test.sh builds all that are there
            base = os.path.basename(name)
            stem = re.sub(r"\.c$", "", base)
            stem = re.sub(r"switch_(x86_64|aarch64)\.S", "switch_@0@.S", stem)
            if not re.search(r"['/](" + re.escape(base) + "|" + re.escape(stem) + ")'", listed):
                yield name, 1, f"is not in {folder}/meson.build", name


RULES = {
    "includes point down": includes_point_down,
    "backend.h is seen by io, sim and runtime alone": backend_is_private,
    "the command and the examples see only the public header": programs_use_the_public_header,
    "only io makes socket system calls": only_io_calls_sockets,
    "only fiber/stack.c maps memory": only_stack_maps,
    "the library neither prints nor exits": library_is_silent,
    "the library reads one environment variable, once": one_environment_variable,
    "types inside the library have no typedef": no_typedefs_inside,
    f"a function has at most {LINES_PER_FUNCTION} lines": functions_fit_a_screen,
    f"statements nest at most {NESTING} deep": statements_nest_three_deep,
    f"a file has at most {LINES_PER_FILE} lines": files_are_short,
    f"lines have at most {COLUMNS} columns, no tabs and no blanks at the end": lines_are_clean,
    "a file opens with its name and what it is": files_open_with_their_name,
    "nothing is left to do": nothing_is_left_undone,
    "ARCHITECTURE.md draws the tree as it is": every_file_is_drawn,
    "every source file is built": every_file_is_built,
}


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    tree = Tree(sys.argv[1] if len(sys.argv) > 1 else here)
    exceptions = {} if "--no-exceptions" in sys.argv else EXCEPTIONS
    passed = failed = 0
    used = set()
    for promise, rule in RULES.items():
        wrong = []
        for name, line, text, word in rule(tree):
            if (rule.__name__, name, word) in exceptions:
                used.add((rule.__name__, name, word))
            else:
                wrong.append(f"FAIL {promise}: {name}:{line}: {text}")
        print("\n".join(wrong) if wrong else f"ok - {promise}")
        passed += not wrong
        failed += bool(wrong)
    stale = [key for key in exceptions if key not in used]
    for rule, name, word in stale:
        print(f"FAIL every exception is needed: {rule}: {name}: {word}")
    if not stale:
        print("ok - every exception is needed")
    passed, failed = passed + (not stale), failed + bool(stale)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""harness.py -- promises about the command and the programs, kept against real processes.

A promise is a function with its words: @promise("..."). It runs in this process with a limit in
time; what it starts with start() is ended by its process id when the promise is over, and a
process that is left behind breaks the promise. Nothing sleeps: a server is ready when its first
line has come, and everything else is waited for as itself.
"""
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback

LIMIT_SECONDS = 20
PR_SET_CHILD_SUBREAPER = 36

WEIR = os.environ.get("WEIR_COMMAND", "build/release/tool/weir")
EXAMPLES = os.environ.get("WEIR_EXAMPLES", "build/release/examples")
SAMPLES = os.environ.get("WEIR_SAMPLES", "build/release/tests")


# ThreadSanitizer sleeps for a second at the end of each process, unless told otherwise.
if "TSAN_OPTIONS" in os.environ:
    os.environ["TSAN_OPTIONS"] += ":atexit_sleep_ms=0"


def slowness():
    """A sanitizer makes everything slower; check.py gives its options only where there is one."""
    return 5 if "TSAN_OPTIONS" in os.environ else 1


class Broken(Exception):
    """A promise that is not kept; the text says how."""


class Skipped(Exception):
    """What this machine truly cannot do."""


promises = []


def promise(words, seconds=LIMIT_SECONDS):
    def add(function):
        promises.append((words, function, seconds))
        return function
    return add


def check(claim, otherwise):
    if not claim:
        raise Broken(otherwise)


def check_equal(got, want, what):
    check(got == want, f"{what} is {got!r}, not {want!r}")


def check_in(part, whole, what):
    check(part in whole, f"{what} does not say {part!r}: {whole!r}")


def said(errors):
    """What a program said on stderr, without the library's remark on a busy machine's stalls."""
    lines = errors.decode(errors="replace").splitlines(keepends=True)
    return "".join(line for line in lines if "has not switched" not in line)


# ---- programs ----------------------------------------------------------------------------------

class Program:
    """A process with its output, and everything it says on stderr in a file."""

    def __init__(self, words, **options):
        self.words = words
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=self.errors,
            stdin=options.pop("stdin", subprocess.DEVNULL), **options)
        self.pid = self.process.pid
        self.kept = b""

    def error(self):
        self.errors.seek(0)
        return said(self.errors.read())

    def line(self):
        """The next line of its output, without its end."""
        while b"\n" not in self.kept:
            more = os.read(self.process.stdout.fileno(), 65536)
            check(more, f"{self.words} ended before its line came: {self.error()}")
            self.kept += more
        line, self.kept = self.kept.split(b"\n", 1)
        return line.decode()

    def rest(self):
        return (self.kept + self.process.stdout.read()).decode(errors="replace")

    def send(self, number):
        os.kill(self.pid, number)

    def wait(self):
        return self.process.wait()

    def stop(self, number=signal.SIGTERM):
        """Its exit status after this signal."""
        if self.process.returncode is None:
            self.send(number)
        return self.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


running = []


def start(*words, **options):
    program = Program([str(word) for word in words], **options)
    running.append(program)
    return program


def serve(*words):
    """weir serve echo with these words; its address is in .address."""
    program = start(WEIR, "serve", "echo", *words)
    program.address = program.line()
    return program


def run(*words, stdin=None):
    """Runs a program to its end: status, output, errors. `stdin` is bytes."""
    result = subprocess.run([str(word) for word in words], input=stdin or b"", check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return result.returncode, result.stdout.decode(errors="replace"), said(result.stderr)


def weir(*words):
    return run(WEIR, *words)


def bench(address, *words):
    """A measurement that must succeed, as what its JSON says."""
    status, output, errors = weir("bench", address, "--json", *words)
    check_equal(status, 0, f"the status of bench {' '.join(map(str, words))} ({errors.strip()})")
    return json.loads(output)


def tool(name):
    path = shutil.which(name)
    if not path:
        raise Skipped(f"no {name} here")
    return path


def io_uring_works():
    status, _, errors = weir("bench", "127.0.0.1:1", "--backend", "io_uring", "-c", 1)
    return not (status == 8 and "io_uring" in errors)


# ---- peers -------------------------------------------------------------------------------------

def pair(address):
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def connect(address):
    return socket.create_connection(pair(address))


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        check(more, f"the stream ended after {len(data)} of {count} bytes")
        data += more
    return data


def read_to_end(sock):
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


def readable(sock, seconds):
    return bool(select.select([sock], [], [], seconds)[0])


class Peer:
    """A server of the test's own: `talk` is called with each connection, in a thread of its own."""

    def __init__(self, talk):
        self.talk = talk
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.converse, args=(conn,), daemon=True).start()

    def converse(self, conn):
        with conn:
            try:
                self.talk(conn)
            except OSError:
                pass  # the client's end is judged at the client

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Wakes the accepting thread, which closing alone does not.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


# ---- running -----------------------------------------------------------------------------------

def out_of_time(_signo, _frame):
    raise Broken("it took longer than it may")


def end_all():
    """Ends what was started; the words for a process that nobody started here, or None."""
    while running:
        running.pop().end()
    try:
        pid, _ = os.waitpid(-1, 0)
        return f"left process {pid} behind"
    except ChildProcessError:
        return None


def kept(function, seconds):
    """None, or how the promise was broken."""
    signal.alarm(seconds * slowness())
    problem = None
    try:
        function()
    except Broken as broken:
        problem = str(broken)
    except Skipped:
        raise
    except Exception:  # pylint: disable=broad-except # a test that fails must still clean up
        problem = traceback.format_exc(limit=-3)
    try:
        left = end_all()
        problem = problem or left
    except Broken:
        problem = problem or "left a process that does not end"
    signal.alarm(0)
    return problem


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGALRM, out_of_time)
    passed = failed = skipped = 0
    for words, function, seconds in promises:
        if sys.argv[1:] and not any(word in words for word in sys.argv[1:]):
            continue
        try:
            problem = kept(function, seconds)
        except Skipped as reason:
            end_all()
            print(f"skip - {words}: {reason}")
            skipped += 1
            continue
        print(f"FAIL {words}: {problem}" if problem else f"ok - {words}", flush=True)
        passed += not problem
        failed += bool(problem)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not passed + skipped else 0)

#!/usr/bin/env python3
"""check.py -- the whole proof, one line per configuration: what ./dev check runs.

A configuration is a compiler, a sanitizer and a choice of tests. Each is built once in
build/<name>, a few at a time, and its tests run one after another. A test is any program whose
last line reads "N passed, N failed, N skipped"; one that ends badly without counting a failure
is a failure. What failed is shown in full, and the very last line sums up.

usage: check.py [NAME...]     only these configurations
"""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
SETUP_SECONDS = 300
TEST_SECONDS = 900

# The longest first; ThreadSanitizer's is in two, for tests that wait leave a processor to others.
# "house" tests look at the tree and the installation, so they run once. The ordinary build with
# clang, whose every test runs in asan-clang, shows that it compiles, and runs the fast tests.
SERVERS = ["serve", "tool-serve_test", "tool-bench_test", "tool-programs_test"]
# The lab waits for the kernel most of the time, and is the same program everywhere: it is run with
# the ordinary build, and with the sanitizer that finds what an experiment does wrong.
LAB = ["tool-lab_test"]
CONFIGURATIONS = {
    "tsan-servers": dict(build="tsan", compiler="clang", sanitizer="thread", only=SERVERS),
    "tsan": dict(build="tsan", compiler="clang", sanitizer="thread", without=SERVERS + LAB),
    "asan-clang": dict(build="asan-clang", compiler="clang", sanitizer="address,undefined"),
    "asan-gcc": dict(
        build="asan-gcc", compiler="gcc", sanitizer="address,undefined", without=LAB),
    "release": dict(build="release", compiler="gcc"),
    "no-io-uring": dict(
        build="release", compiler="gcc", wrapper="tests/deny-uring", without=LAB),
    "clang": dict(build="clang", compiler="clang", only=["unit", "runtime", "net"]),
    "house": dict(build="release", compiler="gcc", house=True),
}

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "strict_string_checks=1:check_initialization_order=1:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    # The tests fork servers from the thread that runs them, and end by the thousand.
    "TSAN_OPTIONS": "second_deadlock_stack=1:die_after_fork=0:atexit_sleep_ms=0",
}


def directory_of(configuration):
    return os.path.join(ROOT, "build", configuration["build"])


class BuildFailed(Exception):
    """A compiler or meson refused; the text is what it said."""


def run(command, seconds, environment=None, directory=ROOT):
    """Runs a command in a process group of its own; returns its status and all it printed."""
    process = subprocess.Popen(
        command, cwd=directory, env={**os.environ, **(environment or {})},
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    try:
        output, _ = process.communicate(timeout=seconds)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return -signal.SIGKILL, output + f"\nstopped: not done within {seconds} s\n"


class Builds:
    """Builds each directory once, whoever asks first; the others wait for it."""

    def __init__(self):
        self.guard = threading.Lock()
        self.locks = {}
        self.done = {}

    def need(self, configuration):
        name = configuration["build"]
        with self.guard:
            lock = self.locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self.done:
                self.done[name] = self.build(configuration)
            if self.done[name]:
                raise BuildFailed(self.done[name])

    @staticmethod
    def build(configuration):
        directory = directory_of(configuration)
        if not os.path.exists(os.path.join(directory, "build.ninja")):
            shutil.rmtree(directory, ignore_errors=True)
            status, output = run(
                ["meson", "setup", directory,
                 "-Db_sanitize=" + configuration.get("sanitizer", "none")],
                SETUP_SECONDS, {"CC": configuration["compiler"]})
            if status != 0:
                return output
        status, output = run(["ninja", "-C", directory], SETUP_SECONDS)
        return output if status != 0 else None


def without_address_randomisation():
    """TSan of clang 14 cannot map its shadow where new kernels may put a program."""
    prefix = ["setarch", "-R"]
    try:
        return prefix if subprocess.run([*prefix, "true"], check=False).returncode == 0 else []
    except FileNotFoundError:
        return []


def commands(configuration):
    """The tests of a configuration: pairs of a name and the words that run it."""
    directory = directory_of(configuration)
    with open(os.path.join(directory, "meson-info", "intro-tests.json"), encoding="utf-8") as file:
        tests = json.load(file)
    prefix = []
    if configuration.get("sanitizer") == "thread":
        prefix = without_address_randomisation()
    if "wrapper" in configuration:
        prefix = [os.path.join(directory, configuration["wrapper"])]
    for test in tests:
        name = test["name"]
        if name in configuration.get("without", []):
            continue
        if name not in configuration.get("only", [name]):
            continue
        if ("weir:house" in test["suite"]) == configuration.get("house", False):
            yield test["name"], prefix + test["cmd"], test["env"]


def judge(status, output):
    """Counts of one test program: passed, failed, skipped."""
    lines = output.rstrip().splitlines()
    match = COUNTS.match(lines[-1]) if lines else None
    passed, failed, skipped = map(int, match.groups()) if match else (0, 0, 0)
    if (status != 0 or not match) and failed == 0:
        failed = 1
    return passed, failed, skipped


def failures(name, status, output):
    """What a failed test program said, without what went well."""
    dull = ("ok - ", "skip - ")
    kept = [line for line in output.splitlines() if not line.startswith(dull)]
    return "\n".join([f"--- {name} (status {status})", *kept, ""])


class Result:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.skips = []
        self.text = ""
        self.seconds = 0.0


def check(configuration, builds):
    result = Result()
    start = time.monotonic()
    try:
        builds.need(configuration)
    except BuildFailed as error:
        result.failed = 1
        result.text = f"--- build\n{error}\n"
        return result
    environment = dict(SANITIZER_OPTIONS) if "sanitizer" in configuration else {}
    for name, command, variables in commands(configuration):
        status, output = run(
            command, TEST_SECONDS, {**environment, **variables}, directory_of(configuration))
        passed, failed, skipped = judge(status, output)
        result.passed += passed
        result.failed += failed
        result.skipped += skipped
        result.skips += [line for line in output.splitlines() if line.startswith("skip - ")]
        if failed:
            result.text += failures(name, status, output)
    result.seconds = time.monotonic() - start
    return result


def main(names):
    unknown = [name for name in names if name not in CONFIGURATIONS]
    if unknown:
        sys.exit(f"check: no configuration {unknown[0]}; there are: {', '.join(CONFIGURATIONS)}")
    chosen = {name: CONFIGURATIONS[name] for name in names or CONFIGURATIONS}
    builds = Builds()
    total = Result()
    lanes = (os.cpu_count() or 2) + 1
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        waiting = {pool.submit(check, what, builds): name for name, what in chosen.items()}
        for future in concurrent.futures.as_completed(waiting):
            result = future.result()
            print(f"{waiting[future]:<13}{result.passed} passed, {result.failed} failed, "
                  f"{result.skipped} skipped ({result.seconds:.0f} s)")
            for line in sorted(set(result.skips)):
                print(f"    {line}")
            print(result.text, end="", flush=True)
            total.passed += result.passed
            total.failed += result.failed
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

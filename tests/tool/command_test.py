#!/usr/bin/env python3
"""command_test.py -- help, usage, messages and exit codes of the command."""
import os
import re
import tempfile

from harness import (WEIR, check, check_equal, check_in, io_uring_works, main, promise, run, weir)


def refused(status, *words, says=()):
    """The command ends with this status, one line of message, and these words in it."""
    got, output, errors = weir(*words)
    check_equal(got, status, f"the status of weir {' '.join(map(str, words))}")
    check_equal(output, "", "its output")
    check_equal(errors.count("\n"), 1, f"the number of lines in {errors!r}")
    check(errors.startswith("weir: "), f"{errors!r} does not begin with the command's name")
    for part in says:
        check_in(part, errors, "the message")


def helped(*words):
    status, output, errors = weir(*words)
    check_equal((status, errors), (0, ""), f"status and errors of weir {' '.join(words)}")
    return output


@promise("weir --help begins with five examples")
def _():
    lines = helped("--help").splitlines()
    examples = lines[2:7]
    check(all(line.startswith("  weir ") for line in examples), f"not examples: {examples}")
    check_equal(lines[7], "", "the line after the fifth example")


@promise("weir, weir help and weir --help say the same, and weir alone ends with status 2")
def _():
    status, output, _ = weir()
    check_equal(status, 2, "the status of weir alone")
    check_equal(output, helped("help"), "what weir alone says")
    check_equal(output, helped("--help"), "what weir --help says")


@promise("weir version and weir --version print the version")
def _():
    check(re.fullmatch(r"weir \d+\.\d+\.\d+\n", helped("version")), "that is no version")
    check_equal(helped("--version"), helped("version"), "what --version says")


@promise("weir help exit lists the codes in order, each once")
def _():
    codes = re.findall(r"^  ([\d+n]+) ", helped("help", "exit"), re.MULTILINE)
    check_equal(codes, ["0", "1", "2", "3", "4", "5", "6", "8", "128+n"], "the list of codes")


@promise("every option that help lists is understood")
def _():
    for command, operands in (("serve", ["echo", "x"]), ("bench", ["x"]), ("lab", ["x"])):
        text = helped("help", command)
        check_equal(text, helped(command, "--help"), f"what weir {command} --help says")
        listed = re.findall(r"^ +(?:-\w, )?--([a-z-]+)(?: ([A-Z]+))? ", text, re.MULTILINE)
        check(len(listed) > 4, f"the help of {command} lists only {listed}")
        for name, argument in listed:
            if name == "help":
                check_equal(helped(command, *operands, "--help"), text, "what --help says")
            elif argument == "WORD":
                refused(2, command, *operands, f"--{name}", "nonsense", says=[f"--{name} takes "])
            else:
                values = [f"--{name}={'1' if argument else ''}".rstrip("=")]
                refused(2, command, *operands, *values, says=[": "])
                errors = weir(command, *operands, *values)[2]
                check("no option" not in errors, f"--{name} is not understood: {errors}")


@promise("the examples in the help are command lines that the command understands")
def _():
    for topic in ("serve", "bench", "lab"):
        for line in helped("help", topic).splitlines()[2:7]:
            words = re.match(r"  weir (.*?)(?:  +| [a-z]{1,4} Unix|$)", line).group(1)
            words = [word.strip("'") for word in words.split()]
            names = {word for word in words if word.startswith("--")}
            known = set(re.findall(r"--[a-z-]+", helped("help", topic)))
            check(names <= known, f"{line!r} uses an option that is not listed")
            check(words[0] == topic, f"{line!r} is not about {topic}")


@promise("what is misspelled is answered with what was probably meant")
def _():
    refused(2, "srve", says=["no command 'srve'", "did you mean 'serve'?"])
    refused(2, "bench", ":1", "--conections", 5, says=["did you mean --connections?"])
    refused(2, "bench", ":1", "--backend", "epol", says=["did you mean 'epoll'?"])
    refused(2, "serve", "ecko", ":0", says=["did you mean 'echo'?"])
    refused(2, "serve", "echo", ":0", "--model", "fibre", says=["did you mean 'fiber'?"])
    refused(2, "help", "benhc", says=["did you mean 'bench'?"])
    refused(2, "bench", "tpc://127.0.0.1:1", says=["did you mean 'tcp'?"])


@promise("a wrong value is refused with what would be right")
def _():
    refused(2, "bench", ":1", "-c", 0, says=["from 1 to"])
    refused(2, "bench", ":1", "-c", "five", says=["a whole number", "'five'"])
    refused(2, "bench", ":1", "-c", "1e999", says=["a whole number"])
    refused(2, "bench", ":1", "-t", "5x", says=["a time", "'5x'"])
    refused(2, "bench", ":1", "-l", "0x10", says=["bytes"])
    refused(2, "bench", ":1", "-l", "0.5", says=["bytes"])
    refused(2, "bench", ":1", "--json=yes", says=["takes no argument"])
    refused(2, "bench", ":1", "-jc", says=["needs an argument"])
    refused(2, "bench", ":1", "--churn", "--depth", 2, says=["--depth"])
    refused(2, "bench", ":1", "--server-pid", 4194303, says=["no such process"])


@promise("options that do not go together are refused with the reason")
def _():
    for model in ("process", "thread", "prefork"):
        refused(2, "serve", "echo", ":0", "--model", model, "--backend", "poll", says=["--backend"])
        refused(2, "serve", "echo", ":0", "--model", model, "--park", says=["--park"])
        refused(2, "serve", "echo", ":0", "--model", model, "--workers", 2, says=["--workers"])


@promise("missing and superfluous words are named")
def _():
    refused(2, "serve", says=["weir serve echo :7000"])
    refused(2, "serve", "echo", says=["where?"])
    refused(2, "bench", says=["weir bench :7000"])
    refused(2, "bench", ":1", ":2", says=["':2' is one too many"])
    refused(2, "-v", says=["no option '-v'"])
    refused(2, "bench", "--", "-x", says=["'-x' has no port"])
    refused(2, "version", "x", says=["'x' is one too many"])
    refused(2, "help", "serve", "x", says=["'x' is one too many"])


@promise("endpoints this version does not speak are refused with those it does")
def _():
    for scheme in ("udp://127.0.0.1:1", "tls://127.0.0.1:1", "vsock:2:1", "exec:cat", "fd:3"):
        refused(2, "bench", scheme, says=["tcp (host:port", "unix (/path"])
    refused(2, "bench", ":70000", says=["0 to 65535", "'70000'"])
    refused(2, "bench", ":http", says=["0 to 65535"])
    refused(2, "bench", ":0", says=["port 0"])
    refused(2, "bench", "*:80", says=["* is for listening"])
    refused(2, "bench", "::1:80", says=["IPv6"])
    refused(2, "bench", "127.0.0.1", says=["no port"])
    refused(2, "bench", "[::1]", says=["'[::1]' has no port; try: [::1]:7000"])
    refused(2, "bench", "127.1:80", says=["neither"])
    refused(2, "bench", ":80,nodelay", says=["%2C"])
    refused(2, "bench", "/tmp/%zz", says=["hexadecimal"])
    refused(2, "bench", "/" + 200 * "x", says=["107"])
    refused(2, "bench", 600 * "x", says=["too long"])


@promise("what cannot be connected to is told with the reason and status 4")
def _():
    refused(4, "bench", "127.0.0.1:1", says=[
        "cannot connect to 127.0.0.1:1: connection refused", "nothing listens there",
        "try: weir serve echo 127.0.0.1:1"])
    refused(4, "bench", "/nowhere/weir.sock", says=["no such file", "there is no such socket"])
    refused(4, "bench", "unix:@weir-test-nobody", says=["connection refused"])


@promise("a name with no address is told with status 3")
def _():
    refused(3, "bench", "a..b:80", says=["cannot find a..b:80"])


@promise("an address that is taken or not here is told with status 8")
def _():
    refused(8, "serve", "echo", "192.0.2.1:7", says=["cannot listen on 192.0.2.1:7"])
    refused(8, "serve", "echo", "/nowhere/weir.sock", says=["the directory is not there"])
    refused(8, "bench", ":1", "-c", 1048576, says=["descriptors", "ulimit -n"])


def refused_with(limit, status, *words):
    """The one line of a command that may have so many descriptors."""
    got, output, errors = run("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", WEIR, *words)
    check_equal((got, output, errors.count("\n")), (status, "", 1), "status, output and lines")
    return errors


@promise("where descriptors run out the message says so, and what can be had")
def _():
    check_in("ulimit -n), or try: -c 5\n", refused_with(85, 8, "bench", ":1"), "the message")
    few = refused_with(8, 8, "bench", ":1", "-c", 1)
    check("try: -c" not in few, f"there is no number to try: {few!r}")
    for backend in ("auto", "epoll"):
        few = refused_with(8, 8, "serve", "echo", ":0", "--workers", 8, "--backend", backend)
        check_in("Too many open files - raise the limit: ulimit -n".lower(), few.lower(), "it")


@promise("a file that is no socket is called that")
def _():
    with tempfile.NamedTemporaryFile() as file:
        refused(8, "serve", "echo", file.name, says=["no socket", "remove it"])
        refused(4, "bench", file.name, says=["no socket"])


@promise("output that cannot be written is a failure with status 8")
def _():
    status, _, errors = run("sh", "-c", '"$1" help exit >/dev/full', "sh", WEIR)
    check_equal(status, 8, "the status")
    check_in("cannot write to stdout: No space left", errors, "the message")


@promise("the demonstration shows a server in three ways, or which of them cannot be had here")
def _():
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tool/demo.sh")
    status, output, errors = run("sh", script, WEIR, "0.1")
    check_equal((status, errors), (0, ""), "status and errors")
    numbers = r" +[\d,]+ +\d+ us +\d+ us +\d+\.\d us +[\d,]+$"
    rows = ["fibers, on epoll", "a process for each connection"]
    if io_uring_works():
        rows.append("fibers, on io_uring")
    else:
        check_in("fibers, on io_uring            not available here", output, "the table")
    for row in rows:
        check(re.search(row + numbers, output, re.MULTILINE), f"no row {row!r}: {output}")


main()

#!/usr/bin/env python3
"""programs_test.py -- the examples and samples, run as their readers would, against other tools."""
import os
import queue
import select
import signal
import socket
import tempfile

from harness import (EXAMPLES, SAMPLES, Peer, bench, check, check_equal, check_in, connect, main,
                     pair, promise, read_exactly, read_to_end, run, start, tool)


def example(name, *words, **options):
    return start(os.path.join(EXAMPLES, f"example-{name}"), *words, **options)


def example_server(name, *words):
    """A server whose first line ends with its address."""
    server = example(name, *words)
    server.address = server.line().split()[-1]
    return server


def sample_server(name, *words):
    server = start(os.path.join(SAMPLES, f"sample-{name}"), *words)
    server.address = server.line()
    return server


def run_example(name, *words, stdin=None):
    return run(os.path.join(EXAMPLES, f"example-{name}"), *words, stdin=stdin)


def run_sample(name, *words, stdin=None):
    return run(os.path.join(SAMPLES, f"sample-{name}"), *words, stdin=stdin)


def netcat(address, stdin):
    """Sends this, half-closes, and returns what came until the other side closed too."""
    status, output, errors = run(tool("nc"), "-N", *map(str, pair(address)), stdin=stdin)
    check_equal((status, errors), (0, ""), "status and errors of nc")
    return output


# ---- examples ----------------------------------------------------------------------------------

@promise("example iterative prints the messages of nc whole, one client after the other")
def _():
    server = example_server("iterative", 0)
    long = b"x" * 10_000  # more than one read, and less than the pipe behind the server takes
    for message in (b"hello", b"two\nlines", long):
        netcat(server.address, message)
        check(server.line().startswith("message from 127.0.0.1:"), "no line tells the client")
        lines = [server.line() for _ in range(message.count(b"\n") + 1)]
        check_equal("\n".join(lines), message.decode(), "the message")
    check_equal(server.stop(), -signal.SIGTERM, "the status: it has no runtime to drain")


@promise("example echo serves nc, socat and its own client at once")
def _():
    server = example_server("echo", 0)
    with connect(server.address) as idle:
        check_equal(netcat(server.address, b"one\n"), "one\n", "what nc got back")
        status, output, errors = run(tool("socat"), "-t5", "-", f"TCP:{server.address}",
                                     stdin=b"two")
        check_equal((status, output, errors), (0, "two", ""), "what socat got back")
        status, output, errors = run_example("echo_client", server.address,
                                             stdin=b"a line\nno end of line")
        check_equal((status, output, errors), (0, "a line\nno end of line\n", ""), "the client's")
        idle.sendall(b"still here")
        check_equal(read_exactly(idle, 10), b"still here", "what the first client got back")
    answer = bench(server.address, "--requests", 1000, "-c", 10, "--warmup", 0)
    check_equal(answer["requests"], 1000, "the number of answers")
    check_equal(server.stop(), 0, "the server's status")


@promise("example echo_client says why when nobody is there, and when the server leaves")
def _():
    status, _, errors = run_example("echo_client", "127.0.0.1:1", stdin=b"x\n")
    check_equal(status, 1, "the status")
    check_in("127.0.0.1:1: connection refused", errors, "the message")
    with Peer(lambda conn: conn.recv(100)) as peer:
        status, output, errors = run_example("echo_client", peer.address, stdin=b"x\ny\n")
    check_equal((status, output), (1, ""), "status and output")
    check_in("no answer", errors, "the message")


@promise("example answer puts server- before what it was sent, zero bytes and all")
def _():
    server = example_server("answer", 0)
    check_equal(netcat(server.address, b"hello"), "server-hello", "what nc got back")
    with connect(server.address) as client:
        for message in (b"q", b"a\0b", b"line\n"):
            client.sendall(message)
            check_equal(read_exactly(client, 7 + len(message)), b"server-" + message, "the answer")
    check_equal(server.stop(), 0, "the server's status")


@promise("example deadline gets its answer, and gives up in time where none comes")
def _():
    server = example_server("echo", 0)
    check_equal(run_example("deadline", server.address), (0, "hello\n", ""), "what it got")
    check_equal(server.stop(), 0, "the server's status")

    def drip(conn):
        while not select.select([conn], [], [], 0.01)[0] or conn.recv(100):
            conn.sendall(b".")
    for talk in (drip, lambda conn: read_to_end(conn) and None):
        with Peer(talk) as peer:
            status, output, errors = run_example("deadline", peer.address, "0.2")
        check_equal((status, output, errors), (1, "", "no answer within 0.2 s\n"), "what it said")


@promise("example unix_server answers unix_client and socat in capitals, and removes its file")
def _():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "capitals")
        server = example_server("unix_server", path)
        check_equal(run_example("unix_client", path), (0, "HELLO\n", ""), "without words")
        check_equal(run_example("unix_client", path, "one", "two"), (0, "ONE\nTWO\n", ""),
                    "with two words")
        status, output, _ = run(tool("socat"), "-t5", "-", f"UNIX:{path}", stdin=b"mixed Case\n")
        check_equal((status, output), (0, "MIXED CASE\n"), "what socat got")
        check_equal(server.stop(), 0, "the server's status")
        check_equal(os.listdir(directory), [], "what is left in the directory")
        check_equal(run_example("unix_client", path)[0], 1, "the client's status without a server")


@promise("example oob_receive shows the urgent byte in its place: 123ab<c>123")
def _():
    server = example_server("oob_receive", 0)
    check_equal(run_example("oob_send", server.address), (0, "", ""), "what the sender said")
    check_equal(server.rest(), "123ab<c>123\n", "what the receiver printed")
    check_equal(server.wait(), 0, "the receiver's status")


@promise("example oob_receive sees an urgent byte that comes alone, and one that comes last")
def _():
    for ordinary in (b"", b"ordinary"):
        server = example_server("oob_receive", 0)
        with connect(server.address) as client:
            client.sendall(ordinary)
            client.send(b"!", socket.MSG_OOB)
        check_equal(server.rest(), ordinary.decode() + "<!>\n", "what it printed")
        check_equal(server.wait(), 0, "its status")


# ---- samples -----------------------------------------------------------------------------------

@promise("sample echo serves sample client, nc and a crowd")
def _():
    server = sample_server("echo", 0)
    check_equal(run_sample("client", f"tcp://{server.address}"), (0, "hello\n", ""), "the client's")
    check_equal(netcat(server.address, b"x\ny\n"), "x\ny\n", "what nc got back")
    answer = bench(server.address, "--requests", 2000, "-c", 20, "--warmup", 0)
    check_equal(answer["requests"], 2000, "the number of answers")
    check_equal(server.stop(), -signal.SIGTERM, "the status: nothing in it listens for signals")


@promise("sample client lists what it tried, and gives up in time")
def _():
    status, _, errors = run_sample("client", "tcp://localhost:1")
    check_equal(status, 1, "the status")
    check_in("127.0.0.1:1: connection refused", errors, "the message")
    with Peer(read_to_end) as peer:
        status, _, errors = run_sample("client", f"tcp://{peer.address}", 0)
        check_equal(status, 1, "the status")
        check(errors.startswith("client: "), f"it said {errors!r}")


def promise_echo2(way):
    @promise(f"sample echo2 {way} serves a crowd, lets an idle client go at SIGTERM, ends with 0")
    def _():
        server = sample_server("echo2", 0, way)
        check_equal(run_sample("client", f"tcp://{server.address}"), (0, "hello\n", ""),
                    "what the client said")
        answer = bench(server.address, "--requests", 2000, "-c", 20, "--warmup", 0)
        check_equal(answer["requests"], 2000, "the number of answers")
        with connect(server.address) as idle:
            idle.sendall(b"x")
            check_equal(read_exactly(idle, 1), b"x", "what came back")
            server.send(signal.SIGTERM)
            if way != "park":  # the others wait for their client, within their grace
                idle.shutdown(socket.SHUT_WR)
            check_equal(read_to_end(idle), b"", "what came after SIGTERM")
        check_equal(server.wait(), 0, "the server's status")


for each in ("fiber", "park", "fork"):
    promise_echo2(each)


def join_chat(server, receive_buffer=None):
    member = socket.socket()
    if receive_buffer:
        member.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    member.connect(pair(server.address))
    return member


def await_seats(speaker, others):
    """Speaks until all the others have heard something: members are seated after they came.

    The last words are heard by all of them, and nothing is left to be heard.
    """
    waiting = set(others)
    while waiting:
        speaker.sendall(b"anybody here?\n")
        waiting -= set(select.select(list(waiting), [], [], 0.01)[0])
    speaker.sendall(b"all here\n")
    for member in others:
        heard = b""
        while not heard.endswith(b"all here\n"):
            heard += read_exactly(member, 1)


@promise("sample chat: what one says, all others hear, and not the speaker")
def _():
    server = sample_server("chat", 0)
    members = [join_chat(server) for _ in range(3)]
    await_seats(members[0], members[1:])
    await_seats(members[1], [members[0], members[2]])
    members[2].sendall(b"good evening\r\nand good bye\n")
    for member in members[:2]:
        check_equal(read_exactly(member, 26), b"good evening\nand good bye\n", "what they heard")
    server.send(signal.SIGTERM)
    for member in members:
        check_equal(read_to_end(member), b"", "what a member heard besides")
        member.close()
    check_equal(server.wait(), 0, "the server's status")


@promise("sample chat: a slow reader is put out, and the others hear every line")
def _():
    server = sample_server("chat", 0)
    slow, good, speaker = join_chat(server, 4096), join_chat(server), join_chat(server)
    await_seats(speaker, [slow, good])
    ended = select.poll()
    ended.register(slow, 0)  # tells of the end alone
    line = b"x" * 999 + b"\n"
    lines = 0
    while not ended.poll(0):
        check(lines < 64_000, "64 MB were said, and the slow reader is still there")
        speaker.sendall(line * 64)
        check_equal(read_exactly(good, 64_000), line * 64, "what the good reader heard")
        lines += 64
    check(lines * 1000 > 256 << 10, f"the slow reader was put out after {lines * 1000} bytes")
    speaker.sendall(b"last\n")
    check_equal(read_exactly(good, 5), b"last\n", "what the good reader heard at the end")
    check_equal(server.stop(), 0, "the server's status")
    for member in (slow, good, speaker):
        member.close()


@promise("sample proxy passes on the end of each direction alone")
def _():
    def answer_at_end(conn):
        conn.sendall(b"got " + read_to_end(conn))

    def end_first(conn):
        conn.sendall(b"all I have")
        conn.shutdown(socket.SHUT_WR)
        heard.put(read_to_end(conn))
    heard = queue.SimpleQueue()
    with Peer(answer_at_end) as peer:
        server = sample_server("proxy", 0, f"tcp://{peer.address}")
        check_equal(netcat(server.address, b"a question"), "got a question", "what came back")
        check_equal(server.stop(), 0, "the proxy's status")
    with Peer(end_first) as peer:
        server = sample_server("proxy", 0, f"tcp://{peer.address}")
        with connect(server.address) as client:
            check_equal(read_to_end(client), b"all I have", "what came before the end")
            client.sendall(b"still talking")
            client.shutdown(socket.SHUT_WR)
        check_equal(heard.get(), b"still talking", "what the server heard after its end")
        check_equal(server.stop(), 0, "the proxy's status")


@promise("sample proxy carries a crowd, and resets who comes when the server is gone")
def _():
    upstream = sample_server("echo2", 0)
    server = sample_server("proxy", 0, f"tcp://{upstream.address}")
    answer = bench(server.address, "--requests", 1000, "-c", 10, "-l", 5000, "--warmup", 0)
    check_equal(answer["requests"], 1000, "the number of answers")
    check_equal(upstream.stop(), 0, "the server's status")
    with connect(server.address) as client:
        try:
            check(False, f"{client.recv(1)!r} came where a reset should")
        except ConnectionResetError:
            pass
    check_equal(server.stop(), 0, "the proxy's status")


main()

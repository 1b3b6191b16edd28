#!/usr/bin/env python3
"""bench_test.py -- weir bench: what it measures, and what it finds out about wrong servers."""
import json
import select
import signal
import socket
import struct
import threading

from harness import (Peer, WEIR, bench, check, check_equal, check_in, main, promise, read_exactly,
                     serve, slowness, start, weir)


def echo(conn):
    while data := conn.recv(65536):
        conn.sendall(data)


def blamed(status, talk, *words, says):
    """A bench of a server that talks like this ends with this status and these words."""
    with Peer(talk) as peer:
        got, output, errors = weir("bench", peer.address, "--duration", "5s", "--warmup", 0, *words)
        check_equal(got, status, f"the status ({errors.strip()})")
        check_equal(output, "", "its output")
        for part in says:
            check_in(part, errors, "the message")


@promise("exactly as many requests are measured as were asked for")
def _():
    with Peer(echo) as peer:
        for count, options in ((1, ["-c", 1]), (1000, ["-c", 7]), (777, ["-c", 3, "--depth", 5])):
            answer = bench(peer.address, "--requests", count, "--warmup", 0, *options)
            check_equal(answer["requests"], count, f"the number with {options}")
            check(answer["verified"] >= count, "fewer were verified than measured")


@promise("requests of any size come back whole: a byte, a prime number of bytes, a megabyte")
def _():
    server = serve(":0")
    for size, depth, count in (("1", 64, 5000), ("8191", 3, 500), ("1m", 2, 8), ("64k", 1, 50)):
        answer = bench(server.address, "--size", size, "--depth", depth, "-c", 3, "--requests",
                       count, "--warmup", 0)
        check_equal(answer["requests"], count, f"the number of requests of {size}")
        check_equal(answer["verified_bytes"], answer["verified"] * answer["size"], "the bytes")
        check_equal(answer["bytes"], count * answer["size"], "the bytes measured")
    check_equal(server.stop(), 0, "the server's status")


@promise("the figures are in proportion: quantiles rise, rate times time is the number")
def _():
    server = serve(":0")
    answer = bench(server.address, "-c", 4, "--duration", "200ms", "--warmup", "50ms",
                   "--server-pid", server.pid)
    latency = answer["latency_us"]
    quantiles = [latency[name] for name in ("p50", "p99", "p999", "max")]
    check_equal(quantiles, sorted(quantiles), "the quantiles")
    check(quantiles[0] > 0, "half of the requests took no time")
    check(0.19 < answer["seconds"] < 0.2 + 2 * slowness(), f"it took {answer['seconds']} s")
    check(abs(answer["requests_per_s"] * answer["seconds"] - answer["requests"]) < 1,
          f"the rate does not fit: {answer}")
    check(0 < answer["client_busy"] < 1.5, f"the client was {answer['client_busy']} busy")
    check(answer["server_cpu_us"] > 0 and answer["client_cpu_us"] > 0, "processor time is missing")
    check(answer["verified"] > answer["requests"], "the warm-up was not verified, or was measured")
    check_equal(server.stop(), 0, "the server's status")


@promise("the report for people has the rate, the latency, the cost and what was verified")
def _():
    server = serve(":0")
    status, output, errors = weir("bench", server.address, "-c", 2, "--requests", 100, "--warmup",
                                  0, "--server-pid", server.pid)
    check_equal((status, errors), (0, ""), "status and errors")
    for part in ("2 connections, requests of 64 bytes", "requests/s", "p50", "p99", "p99.9",
                 "us client", "us server", "verified"):
        check_in(part, output, "the report")
    check_equal(server.stop(), 0, "the server's status")


@promise("a byte that comes back changed is found where it is, with status 6")
def _():
    def talk(conn):
        data = bytearray(read_exactly(conn, 10000))
        data[5000] ^= 1
        conn.sendall(data)
        conn.recv(1)
    blamed(6, talk, "-c", 1, "-l", 10000, says=["offset 5000 of connection 0", "other bytes"])


@promise("answers that go to the wrong connection are found")
def _():
    conns = []

    def talk(conn):
        conns.append((conn, read_exactly(conn, 64)))
        if len(conns) == 2:
            conns[0][0].sendall(conns[1][1])
            conns[1][0].sendall(conns[0][1])
        conn.recv(1)
    blamed(6, talk, "-c", 2, says=["other bytes", "offset 0 of connection "])


@promise("bytes that come back twice are found")
def _():
    def talk(conn):
        data = read_exactly(conn, 64)
        conn.sendall(data + data)
        conn.recv(1)
    blamed(6, talk, "-c", 1, "--requests", 1, says=["connection 0"])


@promise("a byte too many is found even when it is the one that would come next")
def _():
    def talk(conn):
        data = read_exactly(conn, 65536)
        conn.sendall(data + data[65536 - 65521:][:1])  # the stream repeats after 65521 bytes
        conn.recv(1)
    blamed(6, talk, "-c", 1, "-l", 65536, "--requests", 1, says=["sent more back than it was sent"])


@promise("bytes nobody asked for are found, even after the last answer")
def _():
    def talk(conn):
        echo(conn)
        conn.sendall(b"PS")
    blamed(6, talk, "-c", 1, "--requests", 5, says=["sent more back than it was sent"])


@promise("a server that closes before it has answered is told with status 6")
def _():
    def talk(conn):
        conn.sendall(read_exactly(conn, 64)[:10])
        conn.shutdown(socket.SHUT_WR)
        conn.recv(1)
    blamed(6, talk, "-c", 1, says=["closed connection 0 and owes 54 of 64 bytes"])


@promise("a server that resets is told with status 6")
def _():
    def talk(conn):
        conn.sendall(read_exactly(conn, 64))
        conn.recv(1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    blamed(6, talk, "-c", 1, says=["connection 0 after 64 bytes: Connection reset by peer"])


@promise("a server that does not answer is told with status 5, in the time that was given")
def _():
    def talk(conn):
        while conn.recv(65536):
            pass
    blamed(5, talk, "-c", 3, "--timeout", "200ms", says=["has not answered connection", "0.2 s"])


@promise("a server that never accepts is told with status 5")
def _():
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        status, _, errors = weir("bench", address, "-c", 10, "--timeout", "300ms", "-t", "1s")
        check_equal(status, 5, f"the status ({errors.strip()})")


@promise("requests that are not done in time end with status 5, and so does a whole run")
def _():
    with Peer(echo) as peer:
        status, _, errors = weir("bench", peer.address, "-c", 1, "--requests", 10 ** 9,
                                 "--duration", "100ms", "--warmup", 0)
        check_equal(status, 5, f"the status ({errors.strip()})")
        check_in("of 1000000000 requests", errors, "the message")


@promise("a failure is a line of JSON as well")
def _():
    status, output, errors = weir("bench", "127.0.0.1:1", "--json")
    event = json.loads(output)
    check_equal((status, event["event"], event["code"]), (4, "error", 4), "status and event")
    check_in(event["text"], errors, "the message")


@promise("a server that leaves its side open is noted, not blamed")
def _():
    open_ends = []

    def talk(conn):
        echo(conn)
        open_ends.append(conn.dup())
    with Peer(talk) as peer:
        answer = bench(peer.address, "-c", 2, "--requests", 10, "--warmup", 0, "--timeout", "200ms")
        check_equal(answer["unclosed"], 2, "the number of connections left open")


def interrupted(number, status, *words):
    """Sends the signal when the server has answered, and so while the bench runs."""
    answered = []

    def talk(conn):
        while data := conn.recv(65536):
            conn.sendall(data)
            answered.append(len(data))
            if len(answered) == 100:
                program.send(number)
    with Peer(talk) as peer:
        program = start(WEIR, "bench", peer.address, "-c", 1, "-t", "600s", *words)
        check_equal(program.wait(), status, "the status")
        return program.rest(), program.error()


@promise("a signal ends it early, in order, with what was measured until then")
def _():
    report, errors = interrupted(signal.SIGINT, 130, "--warmup", 0)
    check_in("ended early by a signal", report, "the report")
    check_equal(errors, "", "the errors")
    _, errors = interrupted(signal.SIGTERM, 143, "--warmup", "600s")
    check_in("before anything was measured", errors, "the message")


@promise("a second signal does not wait for answers")
def _():
    asked = threading.Event()

    def talk(conn):
        conn.recv(65536)
        asked.set()
        conn.recv(65536)
    with Peer(talk) as peer:
        program = start(WEIR, "bench", peer.address, "-c", 1, "--timeout", "600s")
        asked.wait()
        program.send(signal.SIGINT)
        program.send(signal.SIGTERM)
        check_equal(program.wait(), 130, "the status")


@promise("a server that drips is waited for, but not for ever")
def _():
    def talk(conn):
        for byte in read_exactly(conn, 2000):
            conn.sendall(bytes([byte]))
            select.select([], [], [conn], 0.02)  # slowness is what this server is for
    blamed(5, talk, "-c", 1, "--size", "1m", "--timeout", "100ms", "-t", "1ms", says=["waiting"])


@promise("the client waits by any backend, with several workers")
def _():
    server = serve(":0", "--backend", "epoll")
    for backend in ("epoll", "poll", "select"):
        answer = bench(server.address, "--backend", backend, "--workers", 2, "-c", 9, "--requests",
                       500, "--warmup", 0)
        check_equal(answer["requests"], 500, f"the number by {backend}")
    check_equal(server.stop(), 0, "the server's status")


main()

#!/usr/bin/env python3
"""serve_test.py -- weir serve: every model on every backend, its addresses, and how it stops."""
import os
import signal
import socket
import stat
import tempfile

from harness import (WEIR, Skipped, bench, check, check_equal, check_in, connect, io_uring_works,
                     main, pair, promise, read_exactly, read_to_end, readable, serve, slowness,
                     start, weir)

BACKENDS = ("io_uring", "epoll", "poll", "select")
# Of those that hold one client per process, as many clients as processes.
BLOCKING = {"thread": ([], 20), "process": ([], 20), "prefork": (["-m", 4], 4)}


def stops(server, status=0, number=signal.SIGTERM):
    check_equal(server.stop(number), status, f"the exit status ({server.error().strip()})")


def serves(server, clients):
    answer = bench(server.address, "-c", clients, "-l", 1000, "--depth", 4, "--requests", 3000,
                   "--warmup", 0, "--server-pid", server.pid)
    check_equal(answer["requests"], 3000, "the number of answers measured")
    check(answer["verified"] >= 3000, f"only {answer['verified']} answers were verified")
    check_equal(answer["verified_bytes"], answer["verified"] * 1000, "the bytes verified")
    check_equal(answer["unclosed"], 0, "the connections that did not close")
    check(answer["server_cpu_us"] > 0, "the server used no processor time")
    stops(server)


def promise_model(model, backend):
    @promise(f"model {model} on {backend} sends every byte back, and drains at SIGTERM")
    def _():
        if backend == "io_uring" and not io_uring_works():
            raise Skipped("io_uring is not to be had")
        clients = 1 if model == "iterative" else 20
        serves(serve(":0", "--model", model, "--backend", backend), clients)


for each in BACKENDS:
    promise_model("fiber", each)
    promise_model("iterative", each)


def promise_blocking(model, options, clients):
    @promise(f"model {model} sends every byte back, and drains at SIGTERM")
    def _():
        serves(serve(":0", "--model", model, *options), clients)


for each, (its_options, its_clients) in BLOCKING.items():
    promise_blocking(each, its_options, its_clients)


@promise("a server that parks its connections sends every byte back")
def _():
    serves(serve(":0", "--park"), 20)


@promise("a backend that is not to be had is told with status 8 and another to try")
def _():
    if io_uring_works():
        raise Skipped("io_uring works here")
    status, _, errors = weir("serve", "echo", ":0", "--backend", "io_uring")
    check_equal(status, 8, "the status")
    check_in("--backend epoll", errors, "the message")


@promise("an endpoint without a host is this machine's alone, and the message says so")
def _():
    server = serve(":0")
    check_equal(pair(server.address)[0], "127.0.0.1", "the host")
    check(pair(server.address)[1] > 0, "the port is still 0")
    connect(server.address).close()
    stops(server)
    check_in(f"listening on {server.address} (this machine only; use *:", server.error(), "it")


@promise("a star listens on every address of both families")
def _():
    server = serve("*:0")
    port = pair(server.address)[1]
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port)) as client:
            client.sendall(b"both")
            check_equal(read_exactly(client, 4), b"both", f"what came back from {host}")
    stops(server)
    check("this machine only" not in server.error(), "it claims to be for this machine only")


@promise("--ready-fd gets the address and is closed")
def _():
    reader, writer = os.pipe()
    server = start(WEIR, "serve", "echo", ":0", "--ready-fd", writer, pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader) as ready:
        check_equal(ready.read(), server.line() + "\n", "what came on the descriptor")
    stops(server)


@promise("--ready-fd that is not open is a mistake, told with status 2")
def _():
    status, _, errors = weir("serve", "echo", ":0", "--ready-fd", 99)
    check_equal(status, 2, "the status")
    check_in("99 is not open", errors, "the message")


@promise("an address in use is told with status 8, and the server there is undisturbed")
def _():
    server = serve(":0")
    status, output, errors = weir("serve", "echo", server.address)
    check_equal((status, output), (8, ""), "status and output")
    check_in(f"cannot listen on {server.address}: address already in use", errors, "the message")
    check_in("another program listens there", errors, "the message")
    serves(server, 1)


@promise("a Unix socket's file is made, served, and gone at the end")
def _():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "echo%sock")
        server = serve(path.replace("%", "%25"), "--model", "thread")
        check(stat.S_ISSOCK(os.stat(path).st_mode), "there is no socket at the path")
        check_equal(server.address, f"unix:{path}", "the address")
        status, _, errors = weir("serve", "echo", path.replace("%", "%25"))
        check_equal(status, 8, f"the status of a second server ({errors})")
        answer = bench(path.replace("%", "%25"), "--requests", 1000, "-c", 5, "--warmup", 0)
        check_equal(answer["requests"], 1000, "the number of answers")
        stops(server)
        check(not os.path.exists(path), "the file is still there")


def await_refusal(path):
    """The kernel takes a ring apart after its process has ended, and its sockets live as long."""
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
        except ConnectionRefusedError:
            return


@promise("the file that a killed server left behind does not stop the next one")
def _():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "echo.sock")
        check_equal(serve(path).stop(signal.SIGKILL), -signal.SIGKILL, "the status")
        check(os.path.exists(path), "the killed server left no file, so this proves nothing")
        await_refusal(path)
        server = serve(path)
        bench(path, "--requests", 10, "-c", 1, "--warmup", 0)
        stops(server)


@promise("an abstract Unix socket serves without a file")
def _():
    server = serve(f"unix:@weir-test-{os.getpid()}")
    bench(server.address, "--requests", 10, "-c", 1, "--warmup", 0)
    stops(server)


@promise("--max-conns lets the next client in when one leaves")
def _():
    server = serve(":0", "--max-conns", 2)
    clients = [connect(server.address) for _ in range(3)]
    for client in clients[:2]:
        client.sendall(b"x")
        check_equal(read_exactly(client, 1), b"x", "what came back")
    clients[2].sendall(b"y")
    check(not readable(clients[2], 0), "the third client was served as well")
    clients[0].close()
    check_equal(read_exactly(clients[2], 1), b"y", "what came back to the third client")
    stops(server)


def promise_drain(words, *options):
    @promise(f"{words}: at SIGTERM an idle client is let go in order, newcomers are refused")
    def _():
        server = serve(":0", *options)
        with connect(server.address) as client:
            client.sendall(b"before")
            check_equal(read_exactly(client, 6), b"before", "what came back")
            server.send(signal.SIGTERM)
            check_equal(read_to_end(client), b"", "what came after SIGTERM")
        check_equal(server.wait(), 0, "the exit status")
        try:
            connect(server.address).close()
        except ConnectionRefusedError:
            return
        check(False, "a newcomer was not refused")


promise_drain("fibers", "--backend", "epoll")
promise_drain("parked fibers", "--park")
for each in ("iterative", *BLOCKING):
    promise_drain(f"model {each}", "--model", each)


def stuck_client(address):
    """Sends more than what comes back has room for, and reads nothing of it.

    The buffers of a Unix socket have a fixed size, so once all is sent there is no way for the
    server to pass all of it on.
    """
    with open("/proc/sys/net/core/wmem_default", encoding="ascii") as file:
        room = int(file.read())
    client = socket.socket(socket.AF_UNIX)
    client.connect(address.removeprefix("unix:").replace("@", "\0"))
    client.sendall(bytes(room * 3 // 2))
    return client


def promise_cut(words, *options):
    @promise(f"{words}: a client that never reads is cut off when the time to finish is over")
    def _():
        server = serve(f"unix:@weir-test-{os.getpid()}", "--drain", "100ms", *options)
        with stuck_client(server.address):
            stops(server, 6)
        check_in("1 connection was cut off", server.error(), "the message")


promise_cut("fibers")
for each in ("iterative", *BLOCKING):
    promise_cut(f"model {each}", "--model", each)


@promise("a second signal does not wait for the time to finish")
def _():
    server = serve(f"unix:@weir-test-{os.getpid()}", "--drain", "600s")
    with stuck_client(server.address), socket.socket(socket.AF_UNIX) as idle:
        idle.connect(server.address.removeprefix("unix:").replace("@", "\0"))
        server.send(signal.SIGINT)
        check_equal(read_to_end(idle), b"", "what came to the idle client")
        server.send(signal.SIGINT)
        check_equal(server.wait(), 6, "the exit status")


@promise("a flood of short connections is served")
def _():
    server = serve(":0")
    count = 2000 // slowness()
    answer = bench(server.address, "--churn", "-c", 20, "--requests", count, "--warmup", 0)
    check_equal(answer["mode"], "churn", "the mode")
    check_equal(answer["requests"], count, "the number of connections")
    stops(server)


main()

#!/usr/bin/env python3
"""lab_test.py -- weir lab: that every experiment runs, can fail, and leaves nothing behind.

Nothing observed is stored here: what an experiment expects is written beside it, and a promise
says that it ran, that it expected something, and that what it saw was so.
"""
import concurrent.futures
import glob
import json
import os
import re
import resource
import signal
import subprocess
import tempfile

from harness import Skipped, WEIR, check, check_equal, check_in, main, promise, run, start, weir
from page import contrast, is_whole_page, width
from schema import Schema

HERE = os.path.dirname(os.path.abspath(__file__))
SABOTAGED = os.environ["WEIR_SABOTAGED"]
DENIER = os.environ["WEIR_NAMESPACE_DENIER"]
NOBODY = 65534
VERDICTS = ("confirmed", "refined", "contradicted", "changed", "added")

with open(os.path.join(HERE, "../../docs/lab.schema.json"), encoding="utf-8") as file:
    SCHEMA = Schema(json.load(file))


# Experiments put their files here, whoever runs them, and nobody else does.
SCRATCH = tempfile.TemporaryDirectory(prefix="wl")
os.chmod(SCRATCH.name, 0o1777)
os.environ["TMPDIR"] = SCRATCH.name


def lines_of(output):
    return [json.loads(line) for line in output.splitlines()]


def experiments_in(output):
    found = [line for line in lines_of(output) if line["event"] == "experiment"]
    return {line["id"]: line for line in found}


# A whole run takes as long as all experiments wait, but most of them only wait. Those in networks
# of their own do not meet, so a few may run at a time; each group is one command.
LANES = 4
WHOLE_RUN_SECONDS = 200
kept_runs = {}


def run_group(command, group):
    status, output, errors = run(*command, "lab", group, "--json")
    check_equal(errors, "", f"what the group {group} says on stderr")
    return status, output


def whole_run(*command, lanes=LANES):
    """Every quick experiment, run once by each command for all promises: lines by id, status."""
    if command not in kept_runs:
        groups = sorted({group_of(entry) for entry in listed()})
        with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
            ends = list(pool.map(lambda group: run_group(command, group), groups))
        kept_runs[command] = max(status for status, _ in ends), "".join(out for _, out in ends)
    status, output = kept_runs[command]
    return experiments_in(output), status


def group_of(entry):
    return entry["id"].rsplit("-", 1)[0]


def listed():
    status, output, errors = weir("lab", "list", "--json")
    check_equal((status, errors), (0, ""), "the status and the errors of weir lab list")
    return lines_of(output)


def as_nobody():
    """The words that run a command without any rights."""
    if os.geteuid() != 0:
        raise Skipped("only root can become somebody else")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def wait_for_orphans():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def is_sound(name, line):
    """It was run, or skipped with a reason; and what it saw was expected."""
    check(line["verdict"] != "failed", f"{name}: {line['conclusion']}")
    check(line["conclusion"], f"{name} concludes nothing")
    if line["verdict"] == "skipped":
        check(line["slow"] or line.get("remedy") or "IPv6" in line["conclusion"],
              f"{name} is skipped without a remedy: {line['conclusion']}")
        return
    check_in(line["verdict"], VERDICTS, f"the verdict of {name}")
    judged = [row for row in line["observed"] if "holds" in row]
    check(judged, f"{name} expects nothing")
    check(all(row["holds"] for row in judged), f"{name} holds in spite of {judged}")
    check_equal(line["runs"], 1, f"the number of runs of {name}")


# ---- what there is ---------------------------------------------------------------------------

@promise("each experiment has an id and a name of its own, a group, and everything a reader needs")
def _():
    entries = listed()
    check(entries, "there is no experiment")
    status, output, _ = weir("lab", "list")
    check_equal(status, 0, "the status of weir lab list")
    groups = set(re.findall(r"^([a-z-]+)  ", output, re.MULTILINE))
    words = set()
    for entry in entries:
        name = entry["id"]
        check_in(group_of(entry), groups, f"the groups do not have {name}: they")
        for word in (entry["id"], entry["name"]):
            check(word not in words | groups, f"{word} means two things")
            words.add(word)
        for field in ("question", "expect", "reference", "why", "next"):
            check(entry[field], f"{name} has no {field}")
        check(entry["question"].endswith("?"), f"{name} asks no question: {entry['question']}")
        check(bool(entry["claim"]) == bool(entry["source"]), f"{name}: a claim has a source")
        check_in(f"  {name} ", output, "the list")
        check_in(f" {entry['name']} ", output, "the list")


def words_of_the_lab():
    """What may follow weir lab, apart from options."""
    entries = listed()
    words = {entry["id"] for entry in entries} | {entry["name"] for entry in entries}
    return words | {group_of(entry) for entry in entries} | {"all", "list", "report"}


@promise("what an experiment suggests to try next is there")
def _():
    words = words_of_the_lab()
    for entry in listed():
        for command in re.findall(r"weir lab ((?:[a-z0-9-]+ ?)+)", entry["next"]):
            for word in command.split():
                check(word in words or word.startswith("--"),
                      f"{entry['id']} suggests weir lab {word}, which is not there")


@promise("the file of each group has every experiment that it defines in its table")
def _():
    ids = {entry["id"] for entry in listed()}
    for path in glob.glob(os.path.join(HERE, "../../tool/lab/*.c")):
        with open(path, encoding="utf-8") as source:
            defined = re.findall(r'^    \.id = "([^"]+)"', source.read(), re.MULTILINE)
        for name in defined:
            check(name in ids, f"{os.path.basename(path)} defines {name}, which is in no table")


# ---- what it is about ------------------------------------------------------------------------

# How many questions of each group the lab has to answer, numbered from 1; it may answer more.
QUESTIONS = {
    "addr": 11, "port": 8, "hs": 6, "q": 9, "nb": 6, "io": 16, "win": 8, "cl": 11, "tw": 3,
    "oob": 5, "fd": 6, "mux": 6, "udp": 7, "seeds-code": 8,
}
CLAIMS = set(range(1, 38))


@promise("every question of the plan has its experiment, and each of the 37 claims that are wrong")
def _():
    ids = {entry["id"] for entry in listed()}
    wanted = {f"{group}-{n}" for group, last in QUESTIONS.items() for n in range(1, last + 1)}
    check_equal((wanted | {"port-0"}) - ids, set(), "what no experiment is about")
    claims = {claim for entry in listed() for claim in entry["claims"]}
    check_equal(claims, CLAIMS, "the claims that experiments are about")


def document(name):
    with open(os.path.join(HERE, "../..", name), encoding="utf-8") as page:
        return page.read()


def commands_in(text):
    """The words that each command of the lab in a text has, but for the file of a report."""
    text = re.sub(r"(weir lab report) +[\w./-]+", r"\1", text)
    return [words.split() for words in re.findall(r"weir lab((?: +[a-z-][a-z0-9-]*)+)", text)]


@promise("every command of the lab in a document is there")
def _():
    words = words_of_the_lab()
    root = os.path.join(HERE, "../..")
    pages = [name for pattern in ("*.md", "docs/**/*.md", "docs/man/*")
             for name in glob.glob(pattern, root_dir=root, recursive=True)]
    for name in ("README.md", "docs/lab.md", "docs/lab-claims.md", "docs/man/weir.1"):
        check_in(name, pages, "the documents")
    for name in pages:
        for command in commands_in(document(name)):
            for word in command:
                check(word in words or word.startswith("--"),
                      f"{name} has weir lab {word}, which is not there")


@promise("docs/lab.md tells of every experiment, each paragraph with the command that shows it")
def _():
    story = re.sub(r"^## .*$", "", document("docs/lab.md").split("\n## ", 1)[1], flags=re.MULTILINE)
    for paragraph in story.split("\n\n")[1:]:
        check(re.search(r"`weir lab [a-z0-9 -]+`$", paragraph.strip()) or not paragraph.strip(),
              f"a paragraph does not end in a command: {paragraph.strip()}")
    told = {word for command in commands_in(story) for word in command}
    check_equal({entry["id"] for entry in listed()} - told, set(), "what is not told of")


@promise("docs/lab-claims.md has each wrong claim with its place and an experiment about it")
def _():
    by_id = {entry["id"]: entry for entry in listed()}
    found = re.split(r"^### (\d+)\. ", document("docs/lab-claims.md"), flags=re.MULTILINE)[1:]
    numbers = [int(number) for number in found[::2]]
    check_equal(numbers, sorted(CLAIMS), "the numbers of the claims")
    for number, text in zip(numbers, found[1::2]):
        shown = [by_id[word] for command in commands_in(text) for word in command]
        check_in(number, [claim for entry in shown for claim in entry["claims"]],
                 f"the experiments of claim {number} are about others:")
        places = set(re.findall(r"\bS\d:\d+", text))
        check(places, f"claim {number} has no place")
        check_equal(places - {place for entry in shown for place in entry["source"]}, set(),
                    f"places of claim {number} that its experiments do not have")


# ---- running ---------------------------------------------------------------------------------

@promise("every quick experiment runs, and what it sees is what the lab expects", WHOLE_RUN_SECONDS)
def _():
    found, status = whole_run(WEIR)
    for name, line in found.items():
        is_sound(name, line)
    check_equal(status, 0, "the status")
    check_equal(set(found), {entry["id"] for entry in listed()}, "what was run or skipped")


@promise("with its observations falsified, every experiment fails", WHOLE_RUN_SECONDS)
def _():
    honest, _ = whole_run(WEIR)
    found, status = whole_run(SABOTAGED)
    check_equal(status, 1, "the status")
    for name, line in found.items():
        if honest[name]["verdict"] == "skipped":
            continue
        check_equal(line["verdict"], "failed", f"the verdict of {name}")
        check_in("the lab expects", line["conclusion"], f"the conclusion of {name}")


@promise("the summary counts what was run, by verdict")
def _():
    lines = lines_of(weir("lab", "addr", "tw", "--json")[1])
    check_equal([line["event"] for line in lines[:1] + lines[-1:]], ["machine", "summary"], "ends")
    check_equal(lines[-1]["experiments"], len(lines) - 2, "the number in the summary")
    counted = {v: sum(line["verdict"] == v for line in lines[1:-1]) for v in lines[-1]["verdicts"]}
    check_equal(lines[-1]["verdicts"], counted, "the verdicts in the summary")


@promise("slow experiments are skipped among others, and run when they are named",
         WHOLE_RUN_SECONDS)
def _():
    slow = [entry for entry in listed() if entry["slow"]]
    found, _ = whole_run(WEIR)
    for entry in slow:
        line = found[entry["id"]]
        check_equal(line["verdict"], "skipped", f"the verdict of {entry['id']}")
        check_in("--slow", line["remedy"], "the remedy")
    check(slow, "no experiment is slow")
    program = start(WEIR, "lab", slow[0]["name"], "--json")
    check_equal(json.loads(program.line())["event"], "machine", "the first line")
    check(program.process.poll() is None, "it was skipped although it was named")
    program.stop()
    wait_for_orphans()


@promise("each line of JSON is as docs/lab.schema.json says, and a wrong line would not be",
         WHOLE_RUN_SECONDS)
def _():
    whole_run(WEIR)
    lines = lines_of(kept_runs[(WEIR,)][1]) + listed()
    lines += lines_of(weir("lab", "byte-order", "--json", "--repeat", 3)[1])
    for line in lines:
        check_equal(SCHEMA.faults(line), [], f"what is wrong with {line.get('id', line['event'])}")
    right = next(line for line in lines if line["event"] == "experiment" and line["observed"])
    row = right["observed"][0]
    wrong = [{**right, "v": 2}, {**right, "verdict": "maybe"}, {**right, "extra": 1}, [], "x",
             {**right, "observed": [{**row, "holds": "yes"}]}, {**right, "claims": [38]},
             {**right, "source": ["S9:1"]}, {k: v for k, v in right.items() if k != "why"}]
    for line in wrong:
        check(SCHEMA.faults(line), f"the schema allows {line}")


@promise("with --repeat a number has its least, middle and greatest value")
def _():
    status, output, _ = weir("lab", "byte-order", "--repeat", 3, "--json")
    line = experiments_in(output)["addr-6"]
    check_equal((status, line["runs"], line["verdicts"]["confirmed"]), (0, 3, 3), "three runs")
    for row in line["observed"]:
        if row["kind"] == "number":
            check(row["least"] <= row["middle"] <= row["greatest"], f"no order in {row}")
    check_in("3 of 3 runs", weir("lab", "byte-order", "--repeat", 3)[1], "the text")


# ---- which -----------------------------------------------------------------------------------

@promise("an experiment is found by its id, its name and its group, and runs once")
def _():
    for words in (["addr-6"], ["byte-order"], ["addr"], ["addr-6", "byte-order", "addr"]):
        output = weir("lab", *words, "--json")[1]
        ids = [line["id"] for line in lines_of(output) if line["event"] == "experiment"]
        check_equal(ids.count("addr-6"), 1, f"how often {words} means addr-6")


@promise("a word that names no experiment is answered with the one that was meant, and status 2")
def _():
    for words, says in ((["backlg"], "did you mean 'backlog'?"), (["hs-1", "qq-1"], "'qq-1'"),
                        (["list", "x"], "'x' is one too many"), ([], "weir lab list"),
                        (["q-1", "--repeat", "0"], "--repeat"), (["--fast"], "--fast")):
        status, output, errors = weir("lab", *words)
        check_equal((status, output, errors.count("\n")), (2, "", 1), f"the end of {words}")
        check_in(says, errors, "the message")


# ---- what it looks like ------------------------------------------------------------------------

# What names the parts of a picture, by its kind; bars have their unit in the first.
NAMED = {"plot": (True, True), "ladder": (True, True), "boxes": (True, True),
         "tanks": (True, True), "bars": (None, False)}


@promise("pictures have titles, and their axes, ends, rows and vessels names", WHOLE_RUN_SECONDS)
def _():
    for name, line in whole_run(WEIR)[0].items():
        for drawn in line["pictures"]:
            check(drawn["title"], f"a picture of {name} has no title")
            for end, wanted in zip(("left", "right"), NAMED.get(drawn["kind"], (None, None))):
                check(wanted is None or bool(drawn[end]) == wanted,
                      f"the {end} of {drawn['kind']} '{drawn['title']}' of {name}")

@promise("the output fits the screen, in Unicode and in ASCII, and has no colour in a file")
def _():
    for columns, locale in ((40, "C.UTF-8"), (80, "C"), (120, "C.UTF-8"), (40, "C")):
        env = {**os.environ, "COLUMNS": str(columns), "LC_ALL": locale}
        for words in (["lab", "addr", "port", "io-1", "hs-1", "--explain"], ["lab", "list"]):
            output = subprocess.run([WEIR, *words], env=env, stdout=subprocess.PIPE,
                                    check=True).stdout.decode()
            wide = [line for line in output.splitlines() if width(line) > columns]
            check(not wide, f"wider than {columns}: {wide[:3]}")
            check("\033" not in output, "there are colours in a file")
            check(locale != "C" or output.isascii(), f"not ASCII: {output}")


@promise("--explain adds what is expected and where it is written")
def _():
    entry = next(entry for entry in listed() if entry["id"] == "hs-1")
    for words, there in (([], False), (["--explain"], True)):
        output = weir("lab", "hs-1", *words)[1]
        check_equal(entry["reference"] in output, there, f"the reference with {words}")


# ---- without rights ----------------------------------------------------------------------------

@promise("an ordinary user runs every experiment that root runs", WHOLE_RUN_SECONDS)
def _():
    if "TSAN_OPTIONS" in os.environ:
        raise Skipped("a program with ThreadSanitizer's thread may not enter a user namespace")
    honest, _ = whole_run(WEIR)
    found, status = whole_run(*as_nobody(), WEIR)
    check_equal(status, 0, "the status")
    for name, line in found.items():
        is_sound(name, line)
        check_equal(line["verdict"], honest[name]["verdict"], f"the verdict of {name} for nobody")
        check(line["own_network"] or line["verdict"] == "skipped", f"{name} has no own network")


@promise("without namespaces the lab runs what it can, and says why it skips the rest",
         2 * WHOLE_RUN_SECONDS)
def _():
    for prefix in ([], as_nobody() if os.geteuid() == 0 else []):
        found, status = whole_run(*prefix, DENIER, WEIR, lanes=1)
        check_equal(status, 0, "the status")
        for name, line in found.items():
            is_sound(name, line)
            check(not line["own_network"], f"{name} has its own network all the same")
            if line["verdict"] == "skipped" and not line["slow"]:
                check_in("seccomp", line["conclusion"], f"why {name} is skipped")
        check_in("addr-6", [n for n, line in found.items() if line["verdict"] != "skipped"],
                 "what ran")
    check_equal(found["hs-1"]["verdict"], "skipped", "what nobody can capture")


@promise("where few descriptors are allowed, what needs more is skipped and the rest is tried")
def _():
    ended = subprocess.run([WEIR, "lab", "simultaneous", "half-open", "byte-order", "--json"],
                           stdout=subprocess.PIPE, check=False, preexec_fn=lambda:
                           resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    found = experiments_in(ended.stdout.decode())
    check_equal(ended.returncode, 0, "the status")
    check_equal({name: line["verdict"] for name, line in found.items()},
                {"q-2": "skipped", "q-4": "skipped", "addr-6": "confirmed"}, "the verdicts")
    check_in("ulimit -n", found["q-2"]["remedy"], "the remedy")


# ---- nothing is left ---------------------------------------------------------------------------

def leftovers():
    return set(os.listdir(SCRATCH.name))


@promise("killed in the middle of an experiment, the lab leaves no process and no file")
def _():
    for number, words, lines in ((signal.SIGKILL, "two-msl", 1), (signal.SIGINT, "two-msl", 1),
                                 (signal.SIGTERM, "two-msl", 1), (signal.SIGKILL, "all", 5),
                                 (signal.SIGKILL, "all", 20), (signal.SIGKILL, "io", 3)):
        program = start(WEIR, "lab", words, "--json")
        for _ in range(lines):
            program.line()
        check_equal(program.stop(number), -number, f"the status of {words}")
        # That every process ends is what the harness waits for, since they become its own.
        wait_for_orphans()
        check_equal(leftovers(), set(), f"the files that {words} leaves")


@promise("no experiment leaves a file behind", WHOLE_RUN_SECONDS)
def _():
    whole_run(WEIR)
    check_equal(leftovers(), set(), "the files that are left")


# ---- the report --------------------------------------------------------------------------------

def report_of(command, *words):
    path = os.path.join(SCRATCH.name, "lab.html")
    status, _, errors = run(command, "lab", "report", path, *words)
    check_equal(errors, "", f"what the report of {words} says on stderr")
    with open(path, encoding="utf-8") as page:
        source = page.read()
    os.unlink(path)
    return status, source


@promise("a report is one page with each experiment once, all its words and pictures, and nothing"
         " outside it", WHOLE_RUN_SECONDS)
def _():
    entries = listed()
    kept, _ = whole_run(WEIR)
    status, source = report_of(WEIR)
    check_equal(status, 0, "the status")
    page = is_whole_page(source)
    check_equal(sorted(name for name in page.ids if not name.startswith("group-")),
                sorted(entry["id"] for entry in entries), "the experiments in the report")
    check_equal(page.names.count("svg"), sum(len(line["pictures"]) for line in kept.values()),
                "the number of pictures")
    for entry in entries:
        for field in ("question", "original", "claim", "expect", "reference", "why", "next"):
            check_in(entry[field] or "", page.words, f"the {field} of {entry['id']}: the page")


@promise("a report can be read in the light, in the dark, on a phone and on paper")
def _():
    source = report_of(WEIR, "addr-6")[1]
    style = source.split("<style>")[1].split("</style>")[0]
    for words in ('name="viewport" content="width=device-width', "color-scheme:light dark",
                  "@media screen and (prefers-color-scheme:dark)", "@media print",
                  "break-inside:avoid", "svg{display:block;width:100%"):
        check_in(words, source, "the page")
    light, dark = re.findall(r":root{([^}]*)}", style)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--(\w+):#([0-9a-f]+)", scheme))
        for name in ("ink", "dim", "link", "green", "amber", "red", "blue", "full", "c3", "c5"):
            check(contrast(colours[name], colours["paper"]) >= 4.5, f"{name} is pale in {scheme}")
        for name in ("mark", "wash"):
            check(contrast(colours["ink"], colours[name]) >= 4.5, f"text on {name} is pale")


@promise("a report tells the verdicts, in words, and its exit code is the lab's")
def _():
    for command, code, verdict in ((WEIR, 0, "CONFIRMED"), (SABOTAGED, 1, "FAILED")):
        status, source = report_of(command, "addr-6")
        page = is_whole_page(source)
        check_equal(status, code, "the status")
        check_in(os.uname().release, page.words, "the page")
        check_in("net.ipv4.tcp_rmem", page.words, "the page")
        check_equal(source.count(f">{verdict}<"), 3, f"how often the page says {verdict}")


def no_larger_than(size, is_fatal):
    """Lets a program write files so large; one byte more ends it by a signal, or is an error."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if is_fatal else signal.SIG_IGN)
    return limit


@promise("a command that ends while it writes a report leaves what was there, and nothing else")
def _():
    path = os.path.join(SCRATCH.name, "cut.html")
    with open(path, "w", encoding="utf-8") as file:
        file.write("before")
    for is_fatal, status in ((True, -signal.SIGXFSZ), (False, 8)):
        ended = subprocess.run([WEIR, "lab", "report", path, "addr-6"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, check=False,
                               preexec_fn=no_larger_than(100, is_fatal))
        check_equal(ended.returncode, status, "the status")
        check_equal(leftovers(), {"cut.html"}, "the files that are left")
        with open(path, encoding="utf-8") as file:
            check_equal(file.read(), "before", "the file")
    os.unlink(path)


@promise("a report that cannot be written is an error, and leaves what was there")
def _():
    there = os.path.join(SCRATCH.name, "there.html")
    with open(there, "w", encoding="utf-8") as file:
        file.write("before")
    os.chmod(there, 0o444)
    for path, reason in (("/nowhere/x.html", "No such file"), (SCRATCH.name, "is a directory"),
                         ("/dev/null", "not an ordinary file"), ("/proc/x.html", "No such file")):
        status, output, errors = weir("lab", "report", path, "addr-6")
        check_equal((status, output, errors.count("\n")), (8, "", 1), f"the end of {path}")
        check_in(path, errors, "the message")
        check_in(reason, errors, "the message")
    if os.geteuid() == 0:
        status, _, errors = run(*as_nobody(), WEIR, "lab", "report", there, "addr-6")
        check_equal(status, 8, "the status for who may not write")
        check_in("Permission denied", errors, "the message")
    for words in (["addr-6x"], ["addr-6", "--json"]):
        check_equal(weir("lab", "report", there, *words)[0], 2, f"the status of {words}")
    with open(there, encoding="utf-8") as file:
        check_equal(file.read(), "before", "the file after errors")
    os.chmod(there, 0o644)
    check_equal(weir("lab", "report")[0], 2, "the status without a file")
    check_equal(weir("lab", "report", there, "addr-6")[0], 0, "the status of what can be written")
    with open(there, encoding="utf-8") as file:
        check_in("</html>", file.read(), "the page that took its place")
    os.unlink(there)
    check_equal(leftovers(), set(), "the files that are left")


main()

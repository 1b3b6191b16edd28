#!/usr/bin/env python3
"""man_test.py -- the manual is complete, correct and true to weir.h.

usage: man_test.py SOURCE BUILD
Each page is a promise or two: mandoc finds nothing to warn about, and its example compiles as
it stands. For all of them together: every function of weir.h has a name to be found by.
"""
import os
import re
import subprocess
import sys
import tempfile

COMPILER = ["cc", "-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def promise(self, words, faults):
        """A promise is kept when there are no faults to print."""
        if faults:
            self.failed += 1
            print(f"FAIL {words}")
            print("\n".join(f"    {fault}" for fault in faults))
        else:
            self.passed += 1
            print(f"ok - {words}")

    def skip(self, words, reason):
        self.skipped += 1
        print(f"skip - {words}: {reason}")

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed else 0)


def run(command, **more):
    """What it printed, line by line, if it failed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, **more)
    return (done.stdout.splitlines() or [f"exit {done.returncode}"]) if done.returncode else []


# ---- what the sources say --------------------------------------------------------------------

def declared(header):
    """The functions and the macros for users that weir.h declares."""
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    statements = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", "", code, flags=re.MULTILINE)
    names = set(re.findall(r"\b(weir_\w*[a-z0-9])\(", re.sub(r"typedef[^;{]*;", "", statements)))
    guards = re.findall(r"^#define (WEIR_\w*[A-Z])(?:\(\w+\))? WEIR_GUARD_", code, re.MULTILINE)
    return names | set(guards)


def names_of(page):
    """The NAME section, as it tells what the page is about."""
    section = re.search(r"^\.Sh NAME\n(.*?)^\.Nd", page, re.DOTALL | re.MULTILINE).group(1)
    return re.findall(r"^\.Nm (\w+)", section, re.MULTILINE)


def links_in(meson):
    """The lists of docs/meson.build: page, names that lead to it."""
    lists = re.findall(r"^  '(\w+)': \[(.*?)\]", meson, re.DOTALL | re.MULTILINE)
    return {page: re.findall(r"'(\w+)'", names) for page, names in lists}


def examples_in(page):
    """The C programs of a page, as a reader would copy them."""
    found = []
    for section in re.findall(r"^\.Sh EXAMPLES\n(.*?)(?=^\.Sh|\Z)", page, re.DOTALL | re.MULTILINE):
        found += re.findall(r"^\.Bd -literal\n(.*?)^\.Ed", section, re.DOTALL | re.MULTILINE)
    return [re.sub(r"^\\&", "", e, flags=re.MULTILINE).replace("\\e", "\\") for e in found]


# ---- promises --------------------------------------------------------------------------------

def check_page(count, folder, name, text):
    if has_mandoc():
        path = os.path.join(folder, name)
        count.promise(f"mandoc has nothing against {name}",
                      run(["mandoc", "-T", "lint", "-W", "warning", path]))
    else:
        count.skip(f"mandoc has nothing against {name}", "no mandoc here")


def check_example(count, include, name, text):
    examples = examples_in(text)
    faults = [] if len(examples) == 1 else [f"there are {len(examples)}"]
    with tempfile.TemporaryDirectory() as work:
        for example in examples:
            source = os.path.join(work, "example.c")
            with open(source, "w") as file:
                file.write(example)
            faults += run(COMPILER + ["-I", include, "-c", source, "-o", source + ".o"])
    count.promise(f"the example of {name} compiles", faults)


def check_names(count, header, pages, links):
    named = {}
    for name, text in pages.items():
        if name.endswith(".3"):
            for function in names_of(text):
                named.setdefault(function, []).append(name[:-2])
    wanted = declared(header)
    faults = [f"{n} is on no page" for n in sorted(wanted - set(named))]
    faults += [f"{n} is not in weir.h" for n in sorted(set(named) - wanted)]
    faults += [f"{n} is on {' and '.join(p)}" for n, p in sorted(named.items()) if len(p) > 1]
    count.promise("every function of weir.h is explained on one page, and nothing else is", faults)

    faults = []
    for page in sorted({p for found in named.values() for p in found} | set(links)):
        there = {n for n, found in named.items() if page in found and n != page}
        faults += [f"{n} does not lead to {page}" for n in sorted(there - set(links.get(page, [])))]
        faults += [f"{n} leads to {page} in vain" for n in sorted(set(links.get(page, [])) - there)]
    faults += [f"{p} is not installed" for p in
               sorted({p[:-2] for p in pages if p.endswith(".3")} - set(links))]
    count.promise("the links of docs/meson.build are the names on the pages", faults)


def check_references(count, pages, links):
    known = {("weir", "1"), ("weir", "7")}
    known |= {(n, "3") for page, names in links.items() for n in [page] + names}
    faults = []
    for name, text in pages.items():
        for target, section in re.findall(r"^\.Xr (?:\( )?(\w+) (\d)", text, re.MULTILINE):
            if target.lower().startswith("weir") and (target, section) not in known:
                faults.append(f"{name}: there is no {target}({section})")
    count.promise("no page refers to one of ours that is not there", faults)


def check_header_words(count, header):
    """A function's comment ends with what it says about waiting."""
    faults = []
    for comment, code in re.findall(r"/\*((?:[^*]|\*(?!/))*)\*/\n((?:[\w].*\n)+)", header):
        function = re.search(r"^[^#(]*?\b(weir_\w*[a-z0-9])\(", code)
        if function and "typedef" not in code and "@" not in comment:
            if not re.search(r"[Pp]arks|Blocks the|[Aa]s weir_(read|write)", comment):
                faults.append(f"{function.group(1)} does not say whether it parks")
            if comment.count("\n") >= 8:
                faults.append(f"{function.group(1)} has {comment.count(chr(10)) + 1} lines")
    count.promise("weir.h says of each function whether it parks, in at most eight lines", faults)


def check_command(count, build, page):
    command = os.path.join(build, "tool", "weir")
    if not os.path.exists(command):
        count.skip("weir.1 has the options of the command", "the command is not built")
        return
    spelt = page.replace("\\-", "-")
    faults = []
    for topic in ("serve", "bench"):
        text = subprocess.run([command, "help", topic], capture_output=True, text=True,
                              timeout=10, check=True).stdout
        options = set(re.findall(r"^ *(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))
        faults += [f"weir {topic}: {o} is missing" for o in sorted(options)
                   if not re.search(r"Fl " + o[1:] + r"\b", spelt)]
    count.promise("weir.1 has the options of the command", faults)


def check_decisions(count, source):
    folder = os.path.join(source, "docs", "decisions")
    there = {n for n in os.listdir(folder) if n.endswith(".md")} - {"README.md"}
    listed = set(re.findall(r"^\| \[[^]]*\]\(([^)]*)\)", read(folder, "README.md"), re.MULTILINE))
    count.promise("docs/decisions/README.md lists the decisions",
                  [f"{n} is not listed" for n in sorted(there - listed)] +
                  [f"{n} is not there" for n in sorted(listed - there)])


def check_installed(count, build, links):
    with tempfile.TemporaryDirectory() as work:
        faults = run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", work])
        there = {f for folder, _, files in os.walk(work) for f in files
                 if os.path.isfile(os.path.join(folder, f))}
        wanted = {f"{n}.3" for page, names in links.items() for n in [page] + names} | {"weir.7"}
        faults += [f"{n} is not installed, or leads nowhere" for n in sorted(wanted - there)]
    count.promise("each function's page is installed under its name", faults)


def has_mandoc():
    return any(os.access(os.path.join(p, "mandoc"), os.X_OK)
               for p in os.environ.get("PATH", "").split(":"))


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def main():
    source, build = sys.argv[1:]
    count = Count()
    folder = os.path.join(source, "docs", "man")
    pages = {name: read(folder, name) for name in sorted(os.listdir(folder))}
    header = read(source, "include", "weir.h")
    links = links_in(read(source, "docs", "meson.build"))
    for name, text in pages.items():
        check_page(count, folder, name, text)
        if not name.endswith(".1"):
            check_example(count, os.path.join(source, "include"), name, text)
    check_names(count, header, pages, links)
    check_references(count, pages, links)
    check_header_words(count, header)
    check_command(count, build, pages["weir.1"])
    check_decisions(count, source)
    check_installed(count, build, links)
    count.end()


main()

#!/usr/bin/env python3
"""Holds README.md, ARCHITECTURE.md and docs/*.md against the sources.

usage: check-docs.py [--run] [--shim FILE] [--simgpu DIR] [--python FILE] [--command FILE]

* relative links lead somewhere;
* each `gpucompat:` message that docs/troubleshooting.md quotes is in the sources, and each warning and refusal of the
  sources is quoted there ("…" in a quotation stands for what differs);
* each variable that is named exists: in src/config.rs, or in scripts/;
* each command line names files of the sources that exist, and options that the command's --help knows.

With --run, blocks of commands after a line `<!--run-->` are run on the simulated GPU, with `python` being --python,
`gpucompat` being --command, and /path/to/ the folder of --shim. Each must end with status 0.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
TROUBLES = ROOT / "docs/troubleshooting.md"

# Read by scripts/ and the tests, not by the library.
SCRIPT_VARIABLES = {"GPU_COMPAT_TORCH", "GPU_COMPAT_VENVS", "GPU_COMPAT_SHIM", "GPU_COMPAT_AUDIT", "GPU_COMPAT_SIMGPU",
                    "GPU_COMPAT_LAUNCHER", "GPU_COMPAT_TORCH_SITE"}
# How the command lines begin that are looked at.
STARTS = ("scripts/", "gpucompat ", "LD_PRELOAD=", "LD_AUDIT=", "pip ", "python ")

complaints = []


def complain(page, what):
    complaints.append(f"{page.relative_to(ROOT)}: {what}")


# -- Links -------------------------------------------------------------------------------------------------------------


def check_links(page, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target) and not (page.parent / target.split("#")[0]).exists():
            complain(page, f"the link {target} leads nowhere")


# -- Messages ----------------------------------------------------------------------------------------------------------


def read_sources():
    """The sources with each text in one piece: lines that go on, and literals side by side, are joined."""
    files = [file for suffix in ("rs", "py") for file in (ROOT / "src").rglob(f"*.{suffix}")]
    files += [file for file in (ROOT / "packaging/gpucompat").glob("*.py")]
    return {file.relative_to(ROOT): joined(file.read_text(encoding="utf-8")) for file in sorted(files)}


def joined(text):
    text = re.sub(r"\\\n\s*", "", text)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def plain(message):
    """A message with what differs as "…", and without the parts of the line that the log adds."""
    message = re.sub(r"\{[^{}]*\}", "…", message).replace("\\\"", '"')
    return re.sub(r"^(?:[\w.]+: )?gpucompat: (?:warning: )?", "", message).strip()


def pattern(quoted):
    """Matches what a quotation stands for: "…" is anything within a text."""
    return re.compile(".*".join(re.escape(piece) for piece in plain(quoted).split("…")))


def spoken(sources):
    """The library's own warnings and refusals. What the command says, it says to somebody who has just typed it."""
    for file, text in sources.items():
        if file.parts[:2] in (("src", "launcher"), ("src", "report")):
            continue
        said = re.findall(r'warn_once\(\s*format_args!\(\s*"((?:[^"\\]|\\.)*)"', text)
        said += re.findall(r'f?"(gpucompat: (?!warning: |active |idle |\{line)(?:[^"\\]|\\.){9,})"', text)
        said += re.findall(r'complaints\s*\.push\(format!\(\s*"((?:[^"\\]|\\.)*)"', text)
        yield from ((file, plain(message)) for message in said if plain(message).strip("…"))


def check_messages(text):
    sources = read_sources()
    quoted = re.findall(r"^#+ (.*gpucompat: .*|….*)$", text, re.MULTILINE)
    quoted += re.findall(r"^ {4}(gpucompat: .*)$", text, re.MULTILINE)
    quoted += re.findall(r"`(gpucompat: [^`]*)`", text)
    everything = [plain(line) for source in sources.values() for line in source.splitlines()]
    for message in quoted:
        # Lines of key=value are put together of many pieces; their first words are what can be looked for.
        start = re.match(r"gpucompat: (active|idle) ", message)
        found = pattern(start[0] + "…" if start else message)
        if not any(found.search(line) for line in everything):
            complain(TROUBLES, f"nothing in the sources says {message!r}")
    known = [pattern(message) for message in quoted if len(plain(message).replace("…", "").strip()) > 8]
    for file, message in spoken(sources):
        if not any(one.fullmatch(message) for one in known):
            complain(TROUBLES, f"not explained: {message!r} of {file}")
    layer = (ROOT / "src/operators/fallback/layer.py").read_text(encoding="utf-8")
    for instead in set(re.findall(r'^    \("\w*", "[^"]+", "([^"]+)"\),$', layer, re.MULTILINE)):
        if instead not in text.replace("`", ""):
            complain(TROUBLES, f"not explained: the advice {instead!r} of _REFUSALS")


# -- Variables ---------------------------------------------------------------------------------------------------------


def check_variables(page, text):
    config = (ROOT / "src/config.rs").read_text(encoding="utf-8")
    known = set(re.findall(r'name: "(\w+)"', config)) | SCRIPT_VARIABLES
    for name in sorted(set(re.findall(r"\b(?:FORCE_)?GPU_COMPAT_[A-Z_]*[A-Z]\b", text)) - known):
        complain(page, f"the variable {name} does not exist")


# -- Commands ----------------------------------------------------------------------------------------------------------


def blocks(text):
    """Indented and fenced blocks: the lines, and whether the block is marked to be run."""
    marked, fenced, block = False, False, []
    for line in [*text.splitlines(), ""]:
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            block.append(line if fenced else line[4:])
            continue
        if block and not fenced:
            yield block, marked
            block, marked = [], False
        if line.strip():
            marked = line.strip() == "<!--run-->"


def check_commands(page, text, helps):
    for block, _ in blocks(text):
        for line in block:
            line = line.split("  #")[0].strip()
            if line.startswith(STARTS):
                check_command(page, line, helps)


def check_command(page, line, helps):
    words = [word for word in shlex.split(re.sub(r"[\[\]]", "", line)) if not re.match(r"[A-Z_]+=", word)]
    if not words:
        return
    for word in words:
        if re.match(r"(scripts|examples|shim-tests)/", word) and not (ROOT / word).is_file():
            complain(page, f"{word} does not exist")
    command = words[:2] if words[0] == "gpucompat" else words[:1]
    known = helps(tuple(command))
    own = words[len(command) : words.index("--") if "--" in words else None]
    for option in (word.split("=")[0] for word in own if word.startswith("--")):
        if known is not None and not re.search(rf"{re.escape(option)}\b", known):
            complain(page, f"{' '.join(command)} --help does not know {option}")


def helper(launcher):
    """What a command's --help prints, asked once each; None for commands of others, and for scripts without one."""
    known = {}

    def ask(command):
        if command not in known:
            known[command] = None
            path = launcher if command[0] == "gpucompat" else ROOT / command[0]
            if path.is_file() and (path == launcher or "--help" in path.read_text(encoding="utf-8")):
                done = subprocess.run([path, *command[1:], "--help"], capture_output=True, text=True, timeout=60)
                if done.returncode:
                    complaints.append(f"{' '.join(command)} --help ends with status {done.returncode}")
                known[command] = done.stdout
        return known[command]

    return ask


def put_program(folder, name, line):
    """A program of this name in the folder, which runs a line of shell with its arguments."""
    (folder / name).write_text(f'#!/bin/sh\n{line} "$@"\n')
    (folder / name).chmod(0o755)


def run_marked(page, text, options):
    """Runs the marked blocks: those of an app.py or train.py in a folder that has one, the others in the root of the
    sources."""
    runtime = next(options.simgpu.glob("libcudart.so.*"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # Scripts and not links: Python finds its environment by the path that it is called by.
        for name in ("python", "python3") if options.python else ():
            put_program(folder, name, f"exec {shlex.quote(str(options.python))}")
        put_program(folder, "torchrun", f"exec {folder}/python -m torch.distributed.run")
        put_program(folder, "gpucompat", f"exec {shlex.quote(str(options.command))}")
        # What is installed goes into an environment of its own, and is not built once more.
        put_program(folder, "pip", f"[ -d {folder}/venv ] || {sys.executable} -m venv {folder}/venv\nexec {folder}/venv/bin/pip")
        program = folder / "program"
        program.mkdir()
        for name in ("app.py", "train.py"):
            (program / name).symlink_to(ROOT / "examples/linear.py")
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(options.simgpu),
                       "GPUCOMPAT_PREBUILT": str(options.shim.parent)}
        for block in (block for block, marked in blocks(text) if marked):
            lines = re.sub(r" \[[^]]*\]", "", "\n".join(block)).replace("/path/to/", f"{options.shim.parent}/")
            # The simulator's runtime stands behind the library, as an installed driver's would.
            lines = re.sub(r"LD_PRELOAD=(\S+)", rf'LD_PRELOAD="\1 {runtime}"', lines)
            by_command = {"LD_PRELOAD": str(runtime)} if lines.startswith("gpucompat ") else {}
            done = subprocess.run(["bash", "-e", "-c", lines], cwd=program if re.search(r"\b(app|train)\.py", lines) else ROOT,
                                  env={**environment, **by_command}, capture_output=True, text=True, timeout=1200)
            print("ran:", "; ".join(block))
            if done.returncode:
                complain(page, f"status {done.returncode} of\n{lines}\n{done.stdout}{done.stderr}")


def main():
    release = ROOT / "target/release"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the marked blocks")
    parser.add_argument("--shim", type=Path, default=release / "libgpucompat.so")
    parser.add_argument("--simgpu", type=Path, default=ROOT / "target/simgpu-12")
    parser.add_argument("--python", type=Path, default=None, help="a Python with torch")
    parser.add_argument("--command", type=Path, default=release / "gpucompat", help="the built launcher")
    options = parser.parse_args()
    if not options.command.is_file():
        sys.exit(f"{options.command} is not there: cargo build --release -p gpucompat-launcher")
    helps = helper(options.command)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        check_links(page, text)
        check_variables(page, text)
        check_commands(page, text, helps)
        if page == TROUBLES:
            check_messages(text)
        if options.run:
            run_marked(page, text, options)
    if complaints:
        sys.exit("\n".join(complaints))
    print(f"{len(PAGES)} pages agree with the sources")


if __name__ == "__main__":
    main()

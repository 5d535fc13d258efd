"""The report at the end of a process (`GPU_COMPAT_STATS`) and the trace (`GPU_COMPAT_TRACE`)."""

import json
import os
import pathlib
import shutil
import subprocess
import time

import jsonschema
import pytest

SCHEMA = json.loads((pathlib.Path(__file__).parents[2] / "docs/report.schema.json").read_text())

ADDS = """
import torch
x, y = torch.ones(1000, device="cuda"), torch.ones(1000, device="cuda")
for _ in range(3):
    x = x + y
print(x.sum().item())
"""


def report_of(on_simgpu, tmp_path, script, **environment):
    path = tmp_path / "report.json"
    result = on_simgpu(script, GPU_COMPAT_STATS=str(path), **environment)
    assert result.status == 0, result
    report = json.loads(path.read_text())
    jsonschema.validate(report, SCHEMA)
    return report, result


def row(report, name):
    return next(row for row in report["rows"] if row["name"] == name)


def seconds(row):
    return row["copy_in"] + row["compute"] + row["copy_out"]


def test_the_table_goes_to_standard_error_alone(on_simgpu):
    result = on_simgpu(ADDS, GPU_COMPAT_STATS="1")
    assert result.status == 0 and result.out == "4000.0\n", result
    table = result.err[result.err.index("gpucompat: report of process"):]
    assert "operators          compat" in table and "aten::add.Tensor" in table and "peak host memory" in table, result
    line = next(line for line in table.splitlines() if "aten::add.Tensor" in line)
    assert line.split()[1] == "3", line


def test_calls_and_bytes_are_counted(on_simgpu, tmp_path):
    report, _ = report_of(on_simgpu, tmp_path, ADDS, GPU_COMPAT_MEMORY="device")
    add = row(report, "aten::add.Tensor")
    assert (add["kind"], add["calls"]) == ("operator", 3)
    assert (add["bytes_in"], add["bytes_out"]) == (3 * 2 * 4000, 3 * 4000), add
    assert add["copy_in"] > 0 and add["compute"] > 0 and add["copy_out"] > 0, add
    assert report["memory"] == "device" and report["schema"] == 1 and report["peak_host_bytes"] > 100 << 20
    assert ["operators", "compat"] in [[verdict["library"], verdict["mode"]] for verdict in report["verdicts"]]
    for way in ("bytes_in", "bytes_out"):
        assert sum(report["timeline"][way]) == sum(row[way] for row in report["rows"])
    times = [seconds(row) for row in report["rows"]]
    assert times == sorted(times, reverse=True) and sum(times) <= report["seconds"]


def test_where_memory_lies_on_the_host_nothing_is_fetched(on_simgpu, tmp_path):
    report, _ = report_of(on_simgpu, tmp_path, ADDS)
    assert report["memory"] == "host" and row(report, "aten::add.Tensor")["bytes_in"] == 0


@pytest.mark.parametrize("asynchronous", ["never", "always"])
def test_library_calls_count_once_and_not_as_their_operators_time(on_simgpu, tmp_path, asynchronous):
    script = """
    import torch
    a = torch.ones(600, 600, device="cuda")
    out = torch.empty_like(a)
    for _ in range(5):
        torch.add(torch.mm(a, a), 1, out=out)
    torch.cuda.synchronize()
    """
    report, _ = report_of(on_simgpu, tmp_path, script, GPU_COMPAT_PRODUCTS="library", GPU_COMPAT_MEMORY="device",
                          GPU_COMPAT_ASYNC=asynchronous)
    gemm, mm = row(report, "cublasSgemm_v2"), row(report, "aten::mm")
    assert (gemm["kind"], gemm["calls"], mm["calls"]) == ("library", 5, 5), report
    assert gemm["bytes_in"] == 5 * 2 * 600 * 600 * 4 and gemm["bytes_out"] == 5 * 600 * 600 * 4
    assert seconds(mm) < seconds(gemm), (mm, gemm)


def test_a_process_without_a_gpu_leaves_nothing(on_simgpu, tmp_path):
    path = tmp_path / "report.json"
    result = on_simgpu("print(1)", GPU_COMPAT_STATS=str(path), GPU_COMPAT_TRACE=str(tmp_path / "trace.json"))
    assert result.out == "1\n" and result.err == "" and not any(tmp_path.iterdir()), result


def test_a_forked_child_leaves_its_parents_report_alone(on_simgpu, tmp_path):
    script = ADDS + """
import os, sys
if os.fork() == 0:
    sys.exit()
os.wait()
print(os.getpid())
"""
    report, result = report_of(on_simgpu, tmp_path, script)
    assert report["pid"] == int(result.out.split()[-1]) and row(report, "aten::add.Tensor")["calls"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_processes_have_files_of_their_own_by_number(on_simgpu, tmp_path):
    result = on_simgpu(ADDS + "import os; print(os.getpid())", GPU_COMPAT_STATS=str(tmp_path / "r-%p.json"))
    report = json.loads((tmp_path / f"r-{result.out.split()[-1]}.json").read_text())
    assert report["pid"] == int(result.out.split()[-1])


def test_what_another_process_has_written_is_not_overwritten(on_simgpu, tmp_path):
    """Children, forked and executed, write beside their parent, whoever ends first."""
    path, trace = tmp_path / "report.json", tmp_path / "trace.json"
    script = """
    import os, subprocess, sys
    child = os.fork()
    import torch
    (torch.ones(10, device="cuda") + 1).sum().item()
    if child:
        os.wait()
        if len(sys.argv) == 1:
            subprocess.run([sys.executable, "-c", "import torch; (torch.ones(5, device='cuda') * 2).sum().item()"], check=True)
    """
    result = on_simgpu(script, GPU_COMPAT_STATS=str(path), GPU_COMPAT_TRACE=str(trace))
    assert result.status == 0, result
    reports = [json.loads(file.read_text()) for file in tmp_path.glob("report*.json")]
    assert len(reports) == 3 and len({report["pid"] for report in reports}) == 3
    assert sorted("aten::mul.Tensor" in str(report["rows"]) for report in reports) == [False, False, True]
    traces = list(tmp_path.glob("trace*.json"))
    assert len(traces) == 3 and all(len({event["pid"] for event in events_of(file)}) == 1 for file in traces)
    # A later run takes the place of an earlier one.
    report_of(on_simgpu, tmp_path, ADDS)
    assert len(list(tmp_path.glob("report*.json"))) == 3


def test_relative_names_are_meant_from_where_the_program_began(on_simgpu, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = f"import os; os.chdir({str(elsewhere)!r})" + ADDS
    name = os.path.relpath(tmp_path / "r.json")
    assert on_simgpu(script, GPU_COMPAT_STATS=name, GPU_COMPAT_TRACE=name.replace("r.json", "t.json")).status == 0
    assert (tmp_path / "r.json").exists() and (tmp_path / "t.json").exists() and not any(elsewhere.iterdir())


def test_a_pipe_in_the_place_of_a_file_is_refused_and_does_not_hang(on_simgpu, tmp_path):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    result = on_simgpu(ADDS, GPU_COMPAT_STATS=str(pipe), GPU_COMPAT_LOG=str(pipe))
    assert result.status == 0 and "could not be written" in result.err, result
    assert [file.name for file in tmp_path.iterdir()] == ["pipe.json"]


def test_replays_of_a_graph_count_and_its_recording_does_not(on_simgpu, tmp_path):
    script = """
    import torch
    x = torch.ones(1000, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = torch.atan(x)
    for _ in range(7):
        graph.replay()
    print(y.sum().item())
    """
    report, _ = report_of(on_simgpu, tmp_path, script, GPU_COMPAT_MEMORY="device")
    atan = row(report, "aten::atan")
    assert atan["calls"] == 7 and atan["bytes_in"] == 7 * 4000, atan


def test_products_that_gpucompat_measures_are_not_the_programs(on_simgpu, tmp_path):
    script = """
    import torch
    a = torch.ones(300, 300, device="cuda")
    print(torch.mm(a, a).sum().item())
    """
    report, _ = report_of(on_simgpu, tmp_path, script, GPU_COMPAT_MEMORY="device")
    counted = {row["name"]: row["calls"] for row in report["rows"]}
    assert counted["aten::mm"] == 1 and counted.get("cublasSgemm_v2", 0) <= 1, counted
    assert counted["aten::fill_.Scalar"] == 1, counted


def test_files_are_private_and_links_are_not_followed(on_simgpu, tmp_path):
    report_of(on_simgpu, tmp_path, ADDS)
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "report.json").chmod(0o666)
    report_of(on_simgpu, tmp_path, ADDS)
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600
    target, link = tmp_path / "precious", tmp_path / "link.json"
    target.write_text("mine")
    link.symlink_to(target)
    result = on_simgpu(ADDS, GPU_COMPAT_STATS=str(link))
    assert result.status == 0 and "could not be written" in result.err and target.read_text() == "mine", result
    result = on_simgpu(ADDS, GPU_COMPAT_TRACE=str(link))
    assert result.status == 0 and "could not be written" in result.err and target.read_text() == "mine", result


def events_of(path):
    text = path.read_text()
    assert text.startswith("[\n") and text.endswith(",\n")
    return json.loads(text.rstrip().rstrip(",") + "]")


def test_the_trace_holds_calls_and_their_copies_in_the_order_of_time(on_simgpu, tmp_path):
    path, before = tmp_path / "trace.json", time.time()
    result = on_simgpu(ADDS + "torch.mm(x.view(10, 100), y.view(100, 10))\n", GPU_COMPAT_TRACE=str(path),
                       GPU_COMPAT_MEMORY="device", GPU_COMPAT_PRODUCTS="library")
    assert result.status == 0, result
    events = events_of(path)
    names = [event["name"] for event in events]
    assert names.count("aten::add.Tensor") == 3 and names.count("cublasSgemm_v2") == 1, names
    calls = [event for event in events if event["cat"] != "gpucompat,copy"]
    for event in events:
        assert event["ph"] == "X" and event["dur"] >= 0 and before * 1e6 <= event["ts"] <= time.time() * 1e6
        if event["cat"] == "gpucompat,copy":
            assert any(
                call["tid"] == event["tid"] and call["ts"] <= event["ts"] + 1
                and event["ts"] + event["dur"] <= call["ts"] + call["dur"] + 1
                for call in calls
            ), event
    product = next(event for event in events if event["name"] == "cublasSgemm_v2")
    outer = next(event for event in events if event["name"] == "aten::mm")
    assert outer["ts"] <= product["ts"] and product["ts"] + product["dur"] <= outer["ts"] + outer["dur"] + 1
    assert "m=10 n=10 k=100" in product["args"]["detail"], product


def test_the_trace_lies_beside_that_of_pytorchs_profiler(on_simgpu, tmp_path):
    """The same call has the same place in time in both."""
    script = """
    import sys, torch
    x = torch.ones(1000, device="cuda")
    x.sum()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        torch.cumsum(x, 0)
    profile.export_chrome_trace(sys.argv[1])
    """
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    result = on_simgpu(script, str(theirs), GPU_COMPAT_TRACE=str(ours))
    assert result.status == 0, result
    document = json.loads(theirs.read_text())
    base = document.get("baseTimeNanoseconds", 0) / 1e3
    operator = next(event for event in document["traceEvents"] if event["name"] == "aten::cumsum")
    event = next(event for event in events_of(ours) if event["name"] == "aten::cumsum")
    starts, ends = float(operator["ts"]) + base, float(operator["ts"]) + float(operator["dur"]) + base
    assert starts - 1000 <= event["ts"] <= ends + 1000, (starts, event, ends)


@pytest.fixture
def browser():
    """Chromium without a window and without a network."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
                     "disable-background-networking", "disable-component-update", "window-size=1200,900"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The browser's libraries are not to be replaced.
    service = webdriver.ChromeService(shutil.which("chromedriver"), env={"PATH": os.environ["PATH"]})
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def test_the_page_shows_its_plots_in_a_browser(on_simgpu, tmp_path, browser):
    path = tmp_path / "report.html"
    result = on_simgpu(ADDS, GPU_COMPAT_STATS=str(path), GPU_COMPAT_MEMORY="device")
    assert result.status == 0, result
    browser.get(path.as_uri())
    assert browser.title == "gpucompat report"
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    drawn = browser.execute_script("""
        const box = item => { const {x, y, width, height} = item.getBoundingClientRect(); return {x, y, width, height} }
        return {
            page: document.documentElement.scrollWidth <= window.innerWidth,
            plot: box(document.querySelector('#times')),
            groups: [...document.querySelectorAll('#times g')].map(group => ({
                name: group.querySelector('text').textContent,
                texts: [...group.querySelectorAll('text')].map(box),
                bars: [...group.querySelectorAll('rect')].map(bar => ({...box(bar), colour: getComputedStyle(bar).fill}))
            })),
            lines: [...document.querySelectorAll('#bytes path:not(.axis)')].map(line => ({...box(line),
                stroke: getComputedStyle(line).stroke})),
            rows: [...document.querySelectorAll('#rows tbody tr')].map(row => row.cells[0].textContent),
            verdicts: [...document.querySelectorAll('#verdicts tbody tr')].map(row => row.innerText),
        }""")
    assert drawn["page"], "the page scrolls sideways"
    names = [group["name"] for group in drawn["groups"]]
    assert "aten::add.Tensor" in names and names == drawn["rows"][: len(names)]
    plot = drawn["plot"]
    lengths = []
    for group in drawn["groups"]:
        assert group["bars"] and all(bar["width"] >= 0 and bar["height"] > 5 for bar in group["bars"]), group
        lengths.append(sum(bar["width"] for bar in group["bars"]))
        for text in group["texts"]:
            assert plot["x"] - 1 <= text["x"] and text["x"] + text["width"] <= plot["x"] + plot["width"] + 1, group
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > 300
    add = next(group for group in drawn["groups"] if group["name"] == "aten::add.Tensor")
    assert len({bar["colour"] for bar in add["bars"]}) == 3, add
    assert len(drawn["lines"]) == 2 and all(line["width"] > 50 and line["height"] > 5 for line in drawn["lines"]), drawn
    assert any("operators" in text and "compat" in text for text in drawn["verdicts"])


def test_the_launcher_shows_a_report_again(on_simgpu, tmp_path):
    launcher = os.environ["GPU_COMPAT_LAUNCHER"]
    report, _ = report_of(on_simgpu, tmp_path, ADDS)
    ask = lambda *arguments: subprocess.run([launcher, "report", *arguments], capture_output=True, text=True)
    path, page = str(tmp_path / "report.json"), tmp_path / "page.html"
    shown = ask(path)
    assert shown.returncode == 0 and f"report of process {report['pid']}" in shown.stdout, shown
    written = ask(path, "--html", str(page))
    assert written.returncode == 0 and written.stdout == "" and "<svg id=\"times\"" in page.read_text(), written
    (tmp_path / "other.json").write_text("{}")
    wrong = ask(str(tmp_path / "other.json"))
    assert wrong.returncode == 1 and "not a report of gpucompat's" in wrong.stderr and wrong.stdout == "", wrong
    missing = ask(str(tmp_path / "absent.json"))
    assert missing.returncode == 1 and "absent.json" in missing.stderr, missing

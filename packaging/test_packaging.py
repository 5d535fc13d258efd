"""The wheel and scripts/install.sh, from the built files to an empty folder after removal.

Needs GPU_COMPAT_SHIM, GPU_COMPAT_AUDIT, GPU_COMPAT_LAUNCHER (the built files) and GPU_COMPAT_SIMGPU (the simulated GPU).
GPU_COMPAT_TORCH_SITE names the site-packages of one or more virtual environments with torch (separated by colons); unset,
that of the Python which runs the tests.
"""

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

import elf

ROOT = Path(__file__).resolve().parent.parent
INSTALL = ROOT / "scripts" / "install.sh"
BUILT = {"libgpucompat.so": "GPU_COMPAT_SHIM", "libgpucompat_audit.so": "GPU_COMPAT_AUDIT", "gpucompat": "GPU_COMPAT_LAUNCHER"}
OURS = ("FORCE_GPU_COMPAT_PATCHES", "GPU_COMPAT_", "SIMGPU_", "LD_", "PYTHON")


def _torch_sites():
    named = os.environ.get("GPU_COMPAT_TORCH_SITE")
    if named:
        return named.split(":")
    spec = importlib.util.find_spec("torch")
    return [str(Path(spec.origin).parent.parent)] if spec else []


def _variable(name):
    if name not in os.environ:
        pytest.fail(f"{name} is not set: see the head of {Path(__file__).name}")
    return Path(os.environ[name]).resolve()


def _environment(**more):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**clean, **{name: str(value) for name, value in more.items()}}


def _run(*command, status=0, **environment):
    done = subprocess.run([str(word) for word in command], env=_environment(**environment), capture_output=True, text=True,
                          timeout=600, cwd="/")
    assert done.returncode == status, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def _files(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A folder with the three built files."""
    folder = tmp_path_factory.mktemp("built")
    for name, variable in BUILT.items():
        shutil.copy(_variable(variable), folder / name)
    return folder


@pytest.fixture(scope="session")
def wheel(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, GPUCOMPAT_PREBUILT=built)
    found, = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def python(wheel, tmp_path_factory):
    """The Python of a fresh virtual environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel)
    return python


@pytest.fixture(params=_torch_sites() or [pytest.param(None, marks=pytest.mark.skip("no torch"))],
                ids=lambda site: Path(site).parents[2].name if site else "none")
def on_simgpu(request, python):
    """Runs a program with torch, gpucompat and, from the moment at which it calls `cuda()`, the simulated GPU.

    The simulator stands for the driver and libcudart, which a real program finds installed. It cannot be preloaded here:
    what is preloaded comes before whatever `enable` loads.
    """
    simgpu = _variable("GPU_COMPAT_SIMGPU")
    cudart, = simgpu.glob("libcudart.so.*")

    def run(program, **environment):
        head = f"import ctypes, os, sys\ncuda = lambda: ctypes.CDLL({str(cudart)!r}, mode=ctypes.RTLD_GLOBAL)\n"
        return _run(python, "-W", "ignore", "-c", head + textwrap.dedent(program), PYTHONPATH=request.param,
                    LD_LIBRARY_PATH=simgpu, **environment)

    return run


# The wheel


def test_the_wheel_states_the_glibc_that_its_files_need(wheel, built):
    tag = re.fullmatch(r"gpucompat-[0-9.]+-py3-none-manylinux_(\d+)_(\d+)_x86_64\.whl", wheel.name)
    assert tag, wheel.name
    stated = (int(tag[1]), int(tag[2]))
    # Read in another way than by the wheel's own reader: every such name anywhere in the files.
    named = set()
    with zipfile.ZipFile(wheel) as packed:
        for name in BUILT:
            data = packed.read(f"gpucompat/_files/{name}")
            named |= {(int(a), int(b)) for a, b in re.findall(rb"GLIBC_(\d+)\.(\d+)", data)}
    assert stated == max(named)
    assert stated == max(elf.needs(built / name).glibc() for name in BUILT)


def test_auditwheel_agrees_with_the_tag(wheel, tmp_path):
    _run(sys.executable, "-m", "venv", tmp_path / "v")
    pip = subprocess.run([tmp_path / "v/bin/pip", "install", "-q", "auditwheel==6.2.0"], capture_output=True, text=True)
    if pip.returncode:
        pytest.skip("auditwheel cannot be installed here")
    said = " ".join(_run(tmp_path / "v/bin/auditwheel", "show", wheel).stdout.split())
    tag = wheel.stem.split("none-")[1]
    assert f'consistent with the following platform tag: "{tag}"' in said, said


def test_the_files_need_nothing_but_the_c_library_and_the_unwinder(built):
    for name in BUILT:
        needed = set(elf.needs(built / name).libraries)
        assert needed <= {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libgcc_s.so.1", "ld-linux-x86-64.so.2"}


def test_the_wheel_holds_the_files_the_licences_and_a_command(wheel):
    version = wheel.name.split("-")[1]
    assert f'version = "{version}"' in (ROOT / "Cargo.toml").read_text()
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        about = f"gpucompat-{version}.dist-info"
        code = {f"gpucompat/{name}" for name in ("__init__.py", "__main__.py", "py.typed", *(f"_files/{f}" for f in BUILT))}
        assert code == {name for name in names if name.startswith("gpucompat/")}
        assert {f"{about}/licenses/LICENSE-MIT", f"{about}/licenses/LICENSE-APACHE"} <= names
        for name in BUILT:
            assert packed.getinfo(f"gpucompat/_files/{name}").external_attr >> 16 & stat.S_IXUSR, name
        assert "gpucompat = gpucompat.__main__:main" in packed.read(f"{about}/entry_points.txt").decode()


def test_a_folder_without_the_files_is_refused_by_name(tmp_path):
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path)
    done = _run(*pip, ROOT, status=1, GPUCOMPAT_PREBUILT=tmp_path)
    assert f"not there: {tmp_path}/libgpucompat.so" in done.stdout + done.stderr


def test_an_editable_installation_is_refused(python, built):
    done = _run(python, "-m", "pip", "install", "--no-deps", "-e", ROOT, status=1, GPUCOMPAT_PREBUILT=built)
    assert "use `pip install .`" in done.stdout + done.stderr


def test_building_leaves_nothing_in_the_source(wheel):
    assert not [name for name in ("build", "gpucompat.egg-info", "packaging/gpucompat.egg-info") if (ROOT / name).exists()]


# The command and the package


def test_the_command_and_the_module_are_the_launcher(python):
    version = _run(python.parent / "gpucompat", "--version").stdout
    assert version.startswith("gpucompat ") and _run(python, "-m", "gpucompat", "--version").stdout == version


def test_a_program_run_by_the_command_has_the_library(python):
    for command in ([python.parent / "gpucompat"], [python, "-m", "gpucompat"]):
        done = _run(*command, "run", "--", python, "-c", "import gpucompat; print(gpucompat.is_active())")
        assert done.stdout == "True\n", done


def test_the_package_knows_its_files_and_loads_nothing_by_itself(python):
    program = """
    import gpucompat
    assert gpucompat.library_path().is_file() and gpucompat.launcher_path().is_file()
    assert not gpucompat.is_active()
    """
    _run(python, "-c", textwrap.dedent(program))
    path = _run(python, "-c", "import gpucompat; print(gpucompat.library_path())").stdout.strip()
    assert _run(python, "-c", "import gpucompat; gpucompat.enable(); print(gpucompat.is_active())",
                LD_PRELOAD=path).stdout == "True\n"


@pytest.mark.parametrize("by", ["auto", "library"])
def test_enabled_before_torch_everything_is_served(on_simgpu, by):
    result = on_simgpu(
        """
        import gpucompat
        gpucompat.enable()
        cuda()
        import torch
        torch.manual_seed(0)
        def agree(function, *shapes):
            operands = [torch.randn(shape) for shape in shapes]
            result = function(*(operand.cuda() for operand in operands))
            assert result.is_cuda
            torch.testing.assert_close(result.cpu(), function(*operands), atol=1e-4, rtol=1e-4)
        agree(lambda x: x + 1, (64, 64))
        agree(lambda x, y: x @ y, (64, 48), (48, 32))
        agree(torch.nn.functional.linear, (8, 100), (50, 100), (50,))
        agree(torch.nn.functional.conv1d, (1, 3, 1000), (10, 3, 3), (10,))
        agree(torch.nn.functional.conv2d, (2, 3, 16, 16), (4, 3, 3, 3))
        # Operators of old versions cannot be left to cuDNN.
        print("ok", hasattr(torch._ops.OpOverload, "redispatch"))
        """,
        GPU_COMPAT_PRODUCTS=by, GPU_COMPAT_CUDNN=by, GPU_COMPAT_DEBUG="1",
    )
    assert result.stdout.startswith("ok "), result
    if by == "library":
        assert "served fn=cublas" in result.stderr, result.stderr
        assert "served fn=cudnn" in result.stderr or result.stdout == "ok False\n", result


def test_without_it_the_same_program_fails(on_simgpu):
    result = on_simgpu(
        """
        cuda()
        import torch
        try:
            torch.ones(3).cuda() + 1
        except RuntimeError as error:
            print(error)
        """
    )
    assert "no kernel image is available" in result.stdout, result


def test_after_torch_it_is_too_late_and_says_what_to_do(on_simgpu):
    result = on_simgpu(
        """
        import torch, gpucompat
        try:
            gpucompat.enable()
        except gpucompat.TooLate as error:
            assert isinstance(error, RuntimeError) and not gpucompat.is_active()
            print(error)
        """
    )
    for words in ("torch is imported", "gpucompat run -- python app.py", "LD_PRELOAD=/", "before the first import"):
        assert words in result.stdout, result


def test_after_the_cuda_runtime_it_is_too_late_and_names_the_library(on_simgpu):
    result = on_simgpu(
        """
        import gpucompat
        cuda()
        try:
            gpucompat.enable()
        except gpucompat.TooLate as error:
            print(error)
        """
    )
    assert re.match(r"gpucompat: /.*/libcudart\.so\.\d+ is loaded", result.stdout), result


def test_programs_started_later_have_it_preloaded_unless_told_otherwise(python):
    program = """
    import os, subprocess, sys, gpucompat
    gpucompat.enable(children={children})
    child = "import gpucompat; print(gpucompat.is_active())"
    print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout, end="")
    """
    for children in (True, False):
        assert _run(python, "-c", textwrap.dedent(program).format(children=children)).stdout == f"{children}\n"


def test_a_path_that_cannot_be_preloaded_warns_of_the_children_only(python, tmp_path):
    package = Path(_run(python, "-c", "import gpucompat; print(gpucompat.__path__[0])").stdout.strip())
    shutil.copytree(package, tmp_path / "with a blank" / "gpucompat")
    program = "import os, gpucompat; gpucompat.enable(); print(gpucompat.is_active(), 'LD_PRELOAD' in os.environ)"
    done = _run(python, "-c", program, PYTHONPATH=tmp_path / "with a blank")
    assert done.stdout == "True False\n" and "cannot preload a path with blanks or colons" in done.stderr, done


def test_uninstalling_leaves_nothing(wheel, tmp_path):
    _run(sys.executable, "-m", "venv", tmp_path)
    before = _files(tmp_path)
    pip = (tmp_path / "bin" / "python", "-m", "pip")
    _run(*pip, "install", "-q", "--no-index", "--no-deps", wheel)
    assert "bin/gpucompat" in _files(tmp_path) - before
    _run(*pip, "uninstall", "-q", "-y", "gpucompat")
    assert _files(tmp_path) == before


# scripts/install.sh


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "prefix"


def install(prefix, *more, **how):
    return _run("bash", INSTALL, "--prefix", prefix, *more, **how)


def test_installed_and_removed_again_nothing_is_left(built, prefix):
    prefix.mkdir()
    install(prefix, "--from", built)
    files = _files(prefix)
    for name in ("bin/gpucompat", "lib/gpucompat/libgpucompat.so", "lib/gpucompat/libgpucompat_audit.so",
                 "share/man/man1/gpucompat.1", "share/doc/gpucompat/README.md", "share/doc/gpucompat/docs/environment.md"):
        assert name in files
    assert _run(prefix / "bin/gpucompat", "--version").stdout.startswith("gpucompat ")
    assert "libgpucompat.so" in _run(prefix / "bin/gpucompat", "run", "--", "sh", "-c", "cat /proc/self/maps").stdout
    assert (prefix / "share/man/man1/gpucompat.1").read_text() == _run(built / "gpucompat", "man").stdout
    install(prefix, "--from", built)
    assert _files(prefix) == files, "a second time is an update"
    install(prefix, "--uninstall")
    assert _files(prefix) == set()


def test_a_file_of_somebody_else_is_not_overwritten(built, prefix):
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/gpucompat").write_text("mine")
    done = install(prefix, "--from", built, status=1)
    assert "was not installed by this script" in done.stderr
    assert _files(prefix) == {"bin", "bin/gpucompat"} and (prefix / "bin/gpucompat").read_text() == "mine"


def test_removing_leaves_what_others_put_there(built, prefix):
    (prefix / "lib").mkdir(parents=True)
    install(prefix, "--from", built)
    (prefix / "lib/gpucompat/notes").write_text("mine")
    install(prefix, "--uninstall")
    assert _files(prefix) == {"lib", "lib/gpucompat", "lib/gpucompat/notes"}
    assert "nothing to remove" in install(prefix, "--uninstall", status=1).stderr


def test_files_of_an_older_version_go_with_the_update(built, prefix):
    install(prefix, "--from", built)
    manifest = prefix / "lib/gpucompat/manifest"
    manifest.write_text(manifest.read_text() + "file share/doc/gpucompat/docs/gone.md\n")
    (prefix / "share/doc/gpucompat/docs/gone.md").write_text("of an older version")
    install(prefix, "--from", built)
    assert not (prefix / "share/doc/gpucompat/docs/gone.md").exists()


def test_a_package_is_staged_in_a_folder_that_stands_for_the_root(built, tmp_path):
    root = tmp_path / "a root with blanks"
    root.mkdir()
    install("/usr", "--destdir", root, "--from", built)
    assert (root / "usr/bin/gpucompat").is_file()
    install("/usr", "--destdir", root, "--uninstall")
    assert _files(root) == {"usr"}


def test_what_is_installed_is_for_all_users(built, prefix):
    _run("bash", "-c", f"umask 077; exec bash '{INSTALL}' --prefix '{prefix}' --from '{built}'")
    for name in _files(prefix):
        mode = (prefix / name).stat().st_mode
        assert mode & 0o044 == 0o044 and (not (prefix / name).is_dir() or mode & 0o011 == 0o011), (name, oct(mode))


def test_a_prefix_that_cannot_be_preloaded_from_is_refused(built, tmp_path):
    for name in ("with blanks", "with:colon"):
        done = install(tmp_path / name, "--from", built, status=1)
        assert "cannot preload" in done.stderr and not (tmp_path / name).exists(), done


def test_help_and_wrong_options(tmp_path):
    assert "--uninstall" in _run("bash", INSTALL, "--help").stdout
    assert "unknown option" in _run("bash", INSTALL, "--prefx", tmp_path, status=1).stderr
    assert "absolute path" in _run("bash", INSTALL, "--prefix", "here", status=1).stderr

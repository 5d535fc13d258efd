"""`gpucompat` and `python -m gpucompat`: the launcher, in place of this process."""

import os
import sys
from typing import NoReturn

from . import launcher_path


def main() -> NoReturn:
    """Becomes the launcher, with the arguments of this process."""
    launcher = str(launcher_path())
    try:
        os.execv(launcher, [launcher, *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"gpucompat: cannot run {launcher}: {error.strerror}")


if __name__ == "__main__":
    main()

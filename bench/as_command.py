"""Another module of the bench as the command `zoudian` starts the product: `python -m bench.as_command MODULE ARGS`."""

import gc
import runpy
import sys

from bot.__main__ import LOOK_FOR_CIRCLES

if __name__ == "__main__":
    gc.set_threshold(*LOOK_FOR_CIRCLES)  # before the rest is imported
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__")

"""``python -m CSRDDenoiseLib.worker`` starts the process."""

import os
import sys

from .serve import main

if __name__ == "__main__":
    main()
    sys.stderr.flush()
    # everything is written; taking the libraries down in order would keep the caller waiting
    os._exit(0)

"""`python -m tfswa_unet` is `tfswa`."""

from __future__ import annotations

import sys

from tfswa_unet.cli import main

sys.exit(main())

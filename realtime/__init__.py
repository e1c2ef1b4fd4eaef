"""From a source's frames to meshes on a screen and in files, live.

Silent by default: what the modules log is printed only where a program asks for it (`common.remarks`).
"""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())

"""From a source's frames to meshes on a screen and in files, live.

Silent by default: what the modules log is printed only where a program asks for it (`common.remarks`).
"""

import logging
import os

logging.getLogger(__name__).addHandler(logging.NullHandler())
# A small file may say that it is an image of a thousand million pixels, and OpenCV would take 3 GB for it. OpenCV reads this
# when it is loaded.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))

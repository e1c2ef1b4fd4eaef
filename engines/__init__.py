"""Networks behind one contract, "named arrays in, named arrays out", and the runtimes that run them.

ONNX Runtime 1.32 keeps a device id and a queue of events in the user's cache folder and looks for its collector on the
network, from the moment its library is loaded. It asks this variable before; no setting of its own comes early enough.

Silent by default: what the modules log is printed only where a program asks for it (`common.remarks`).
"""

import logging
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
logging.getLogger(__name__).addHandler(logging.NullHandler())

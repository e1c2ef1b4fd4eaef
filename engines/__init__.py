"""Networks behind one contract, "named arrays in, named arrays out", and the runtimes that run them.

ONNX Runtime 1.32 keeps a device id and a queue of events in the user's cache folder and looks for its collector on the
network, from the moment its library is loaded. It asks this variable before; no setting of its own comes early enough.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

"""The GPU's driver, behind one small port."""

"""Proofs on this machine: self-test, precision, budget, ahead-of-time builds."""

"""Frozen values: addresses, endpoints, bindings, envelopes. No I/O, no clock."""

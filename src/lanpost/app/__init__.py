"""Wiring: one module per program, the only place that sees both stores and sockets."""

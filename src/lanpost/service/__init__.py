"""Decisions, made on models and ports only: which way a mail goes, when it is tried again, who may bind."""

"""Inglenook: a personal cloud server that shares, and keeps every copy in step."""

__version__ = "0.1.0"

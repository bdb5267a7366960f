"""Measurements of Inglenook beside Syncthing and beside a floor, in one run (docs/performance.md)."""

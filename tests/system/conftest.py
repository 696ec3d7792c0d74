"""Fixtures that several system tests share."""

from tests.system.slurm_cluster import slurm

__all__ = ["slurm"]

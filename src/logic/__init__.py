"""Differentiable logic gate layers, drop-in for difflogic's."""

from src.logic.layer import GroupSum, LogicLayer

__all__ = ["GroupSum", "LogicLayer"]

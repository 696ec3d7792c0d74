"""Differentiable logic gate layers: dense ones, drop-in for difflogic's, and convolutional ones."""

from src.logic.convolution import LogicConvolution
from src.logic.dense import GroupSum, LogicLayer

__all__ = ["GroupSum", "LogicConvolution", "LogicLayer"]

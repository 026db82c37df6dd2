"""The arithmetic of heads: packed recurrence, routing, the Mask and dense layers."""

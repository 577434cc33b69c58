"""The paper executed."""

"""The paper's tables and figures from our own rows and label maps."""

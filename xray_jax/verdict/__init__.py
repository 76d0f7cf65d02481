"""From what the detectors found to a verdict: calibrations, the decision, summaries."""

"""Training, evaluating and predicting: what happens between a data set and a run folder."""

"""Names of the files and folders that one room writes and another reads."""

VOCABULARY = 'vocabulary'  # of pack, train and import: spiece.model and its settings
METRICS = 'metrics.jsonl'  # of train: a row a logged step
PREDICTIONS = 'predictions.jsonl'  # of predict: a row an input
SCORES = 'scores.json'  # of score

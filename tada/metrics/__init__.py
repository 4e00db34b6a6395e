"""How results are scored: accuracies, average precision, recall, the jackknife. Arrays and tables in, numbers out.

Nothing is imported here: accuracies do without pandas, which loads slowly.
"""

"""Names of the files that commands write."""

# In the folder of a run: its result, answers and page, the folder of models, and in that what they are.
RESULT, PREDICTIONS, PAGE = "result.json", "predictions.csv", "report.html"
MODELS, RECORD = "models", "model.json"
# In the folder of several networks or sizes, which has a folder for each.
FRONTIER = "frontier.json"
# Beside an exported model.
CARD = "MODEL_CARD.md"
# In the folder of a learning curve.
CURVE, CURVE_PAGE = "curve.json", "curve.html"

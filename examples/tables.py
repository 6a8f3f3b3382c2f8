"""A table with missing values, text and dates: a model without tuning, intervals, and a file.

    python examples/tables.py

flats.csv holds 600 flats and their rents, made by a formula with some noise.
"""

from pathlib import Path

import pandas as pd

import fastbp
from fastbp.tabular import TabularRegressor

flats = pd.read_csv(Path(__file__).parent / "flats.csv")
flats["advertised"] = pd.to_datetime(flats["advertised"])
X, y = flats.drop(columns="rent"), flats["rent"]
X_train, X_test, y_train, y_test = X[:450], X[450:], y[:450], y[450:]

model = TabularRegressor(random_state=0).fit(X_train, y_train)
print(model.preparation_.summary())
print(f"R^2: {model.validation_score_:.3f} of held-out rows, {model.score(X_test, y_test):.3f} of new ones")

low, high = model.predict_interval(X_test, 0.9).T
print(f"90 % intervals hold {100 * y_test.between(low, high).mean():.0f} % of the new rents")

fastbp.save("rents.fastbp", model)
again = fastbp.load("rents.fastbp")
print("the same after load:", bool((again.predict(X_test) == model.predict(X_test)).all()))

"""A pytest plugin: `from sklearn.neural_network import MLPClassifier` gives fastbp's, in a process of its own."""

import sklearn.neural_network

import fastbp.sklearn

sklearn.neural_network.MLPClassifier = fastbp.sklearn.MLPClassifier
sklearn.neural_network.MLPRegressor = fastbp.sklearn.MLPRegressor

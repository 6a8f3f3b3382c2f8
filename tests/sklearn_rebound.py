"""A pytest plugin for a separate process, where `from sklearn.neural_network import MLPClassifier` gives fastbp's."""

import sklearn.neural_network

import fastbp.sklearn

sklearn.neural_network.MLPClassifier = fastbp.sklearn.MLPClassifier
sklearn.neural_network.MLPRegressor = fastbp.sklearn.MLPRegressor
